"""Measurements against live bootstrap servers: how long it takes to be answered, and to find peers.

They send to the public servers unless ``--tracker HOST:PORT``, which may be repeated, names others. What this library
costs on one machine is measured by ``benchmarks`` instead.
"""
