"""Pytest plugin: a fixture for each kind of database."""
