"""The programs of this library: everything that ``python -m ipv8`` can do."""
