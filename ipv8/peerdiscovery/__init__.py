"""The network graph, and ways to find peers and to keep track of them."""
