"""The service under the name by which programs of the ecosystem import it; ``python -m ipv8_service`` runs a node."""

from __future__ import annotations

from ipv8.service import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS, IPv8

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "IPv8"]

if __name__ == "__main__":
    from ipv8.cli.service import main

    main()
