"""Real database servers for tests: from the environment, from containers, or started here."""
