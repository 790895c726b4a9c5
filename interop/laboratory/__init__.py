"""A NAT laboratory: real nodes in network namespaces, behind address translators of the Linux kernel (doc/nat.md).

``python -m interop.laboratory`` lets pairs of nodes meet through every combination of NATs and firewalls, on real
sockets and in the simulator. It needs Linux, root, ``iproute2`` and ``nftables``. It changes nothing outside of its
namespaces, and removes these at the end.
"""
