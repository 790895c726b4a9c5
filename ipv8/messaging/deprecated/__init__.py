"""Formats of earlier times, which running networks still speak."""
