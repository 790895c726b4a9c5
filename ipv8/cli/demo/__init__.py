"""A network of nodes on this machine, as a demonstration: ``ipv8 demo``, and ``quickstart.py`` of the repository."""
