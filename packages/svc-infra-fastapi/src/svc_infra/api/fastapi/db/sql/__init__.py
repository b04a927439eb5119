"""SQL databases in FastAPI: `add` opens them and generates routes, `session` gives a session to a route."""
