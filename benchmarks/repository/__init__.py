"""The repository beside hand-written SQLAlchemy, the driver alone and its peers: a case per method, in one run."""
