"""The public bootstrap servers."""

from __future__ import annotations

from typing import Any

__all__ = ["DISPERSY_BOOTSTRAPPER"]

_TRACKER_HOSTS = {  # address -> ports, in the order of the list
    "130.161.119.206": (6421, 6422),
    "131.180.27.155": (6423,),
    "131.180.27.156": (6424,),
    "131.180.27.161": (6427, 6521, 6522),
    "131.180.27.162": (6523, 6524),
    "130.161.119.215": (6525, 6526),
    "130.161.119.201": (6527, 6528),
}
_TRACKER_NAMES = {
    "dispersy1": (6421, ("tribler.org", "st.tudelft.nl")),
    "dispersy2": (6422, ("tribler.org", "st.tudelft.nl")),
    "dispersy3": (6423, ("tribler.org", "st.tudelft.nl")),
    "dispersy4": (6424, ("tribler.org",)),
}

DISPERSY_BOOTSTRAPPER: dict[str, Any] = {
    "class": "DispersyBootstrapper",
    "init": {
        "ip_addresses": [(host, port) for host, ports in _TRACKER_HOSTS.items() for port in ports],
        "dns_addresses": [(f"{name}.{domain}", port) for name, (port, domains) in _TRACKER_NAMES.items()
                          for domain in domains],
        "bootstrap_timeout": 30.0,
    },
}
"""The public bootstrap servers. Programs may change ``DISPERSY_BOOTSTRAPPER["init"]`` in place, for a private network:
that changes it for every overlay that is configured or created afterwards."""
