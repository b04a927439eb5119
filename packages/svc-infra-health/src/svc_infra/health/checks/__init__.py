"""Ready-made checks, one module per kind of dependency."""
