"""Load the fixtures that start real servers, for the tests of every package."""

pytest_plugins = ["dbservers.plugin"]
