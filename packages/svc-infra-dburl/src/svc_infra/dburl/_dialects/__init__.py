"""One module per database: what its URL parameters mean, and how each driver takes them."""
