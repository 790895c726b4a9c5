"""The tables of which a view of the network is made: plain data structures, without a network."""
