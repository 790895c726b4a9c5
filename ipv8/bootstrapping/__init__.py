"""Ways to find the first peers of an overlay."""
