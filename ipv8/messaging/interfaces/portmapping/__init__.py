"""Asking the gateway of the local network to forward a port: UPnP-IGD and NAT-PMP."""
