"""The programs of this library: everything that ``python -m ipv8`` can do."""

INTERRUPTED = 130
"""The exit status after Ctrl+C; by convention 128 and the number of SIGINT."""
