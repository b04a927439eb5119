"""Document databases in a FastAPI application."""
