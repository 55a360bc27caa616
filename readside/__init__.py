"""The front door: the command line, ``up`` with its supervisor, and the embedded databases."""
