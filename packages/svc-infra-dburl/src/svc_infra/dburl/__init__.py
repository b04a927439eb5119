"""Database URLs from any environment: the right driver, TLS and connect arguments, or a clear error."""
