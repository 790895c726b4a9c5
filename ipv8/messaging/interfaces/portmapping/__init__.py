"""Asking the gateway of the local network to forward a port: PCP, NAT-PMP and UPnP-IGD."""
