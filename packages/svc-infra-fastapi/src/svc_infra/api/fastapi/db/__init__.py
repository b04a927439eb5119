"""Databases in a FastAPI application."""
