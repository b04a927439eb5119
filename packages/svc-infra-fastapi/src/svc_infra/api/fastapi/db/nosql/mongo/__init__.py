"""MongoDB in a FastAPI application: `add` opens the client and generates routes."""
