"""Measurements of the speed, the memory and the resistance of the library, also against another installation."""
