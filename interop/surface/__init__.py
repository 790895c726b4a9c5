"""Compares what two libraries offer to programs: names, classes, signatures and objects."""
