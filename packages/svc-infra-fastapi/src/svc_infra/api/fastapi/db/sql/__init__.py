"""SQL databases in a FastAPI application: `add` opens them and generates routes, `session` gives a session to a route."""
