"""A read-only page for people: what an application serves, its rows, its databases. `add` puts it on an application."""
