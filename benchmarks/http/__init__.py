"""Requests per second of generated routes beside hand-written ones, other libraries and the driver, in one run."""
