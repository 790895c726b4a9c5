"""Nodes and endpoints without sockets."""
