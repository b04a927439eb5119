"""Whose request is it: the tenant of the current request, as the application says."""
