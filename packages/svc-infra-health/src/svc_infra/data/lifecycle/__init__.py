"""Health checks that stay bounded when the dependency hangs, and backup verification."""
