"""A NAT laboratory: real nodes in network namespaces, behind address translators of the Linux kernel (doc/nat.md).

``python -m interop.laboratory`` lets pairs of nodes meet through every two kinds of NAT and firewall, on real sockets,
and lets the simulator do the same. It needs Linux, root, ``iproute2`` and ``nftables``; nothing of it is seen outside
of its namespaces, and nothing of it remains.
"""
