"""MongoDB for asyncio services: one client per loop, settings from the environment, repositories and services."""
