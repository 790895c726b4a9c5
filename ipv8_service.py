"""The service under the name by which programs of the ecosystem import it; ``python -m ipv8_service`` runs a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if not TYPE_CHECKING and __package__:  # some programs have this repository inside a package of theirs
    from .ipv8.reexports import reexports
    from .ipv8.service import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS, IPv8
else:
    from ipv8.reexports import reexports
    from ipv8.service import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS, IPv8

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "IPv8"]

if TYPE_CHECKING:  # programs import these from here
    from ipv8.attestation.identity.community import IdentityCommunity as IdentityCommunity
    from ipv8.attestation.wallet.community import AttestationCommunity as AttestationCommunity
    from ipv8.bootstrapping.dispersy.bootstrapper import DispersyBootstrapper as DispersyBootstrapper
    from ipv8.bootstrapping.udpbroadcast.bootstrapper import UDPBroadcastBootstrapper as UDPBroadcastBootstrapper
    from ipv8.community import Community as Community
    from ipv8.dht.discovery import DHTDiscoveryCommunity as DHTDiscoveryCommunity
    from ipv8.keyvault.crypto import default_eccrypto
    from ipv8.messaging.anonymization.community import TunnelCommunity as TunnelCommunity
    from ipv8.messaging.anonymization.endpoint import TunnelEndpoint as TunnelEndpoint
    from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity as HiddenTunnelCommunity
    from ipv8.messaging.interfaces.dispatcher.endpoint import DispatcherEndpoint as DispatcherEndpoint
    from ipv8.messaging.interfaces.statistics_endpoint import StatisticsEndpoint as StatisticsEndpoint
    from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint as UDPEndpoint
    from ipv8.overlay import Overlay as Overlay
    from ipv8.peer import Peer as Peer
    from ipv8.peerdiscovery.community import DiscoveryCommunity as DiscoveryCommunity
    from ipv8.peerdiscovery.discovery import (
        DiscoveryStrategy as DiscoveryStrategy,
        EdgeWalk as EdgeWalk,
        OverlayType as OverlayType,
        RandomWalk as RandomWalk,
    )
    from ipv8.peerdiscovery.network import Network as Network
    from ipv8.util import maybe_coroutine as maybe_coroutine

    crypto = default_eccrypto
else:
    __getattr__, __dir__ = reexports(__name__, {
        "ipv8.attestation.identity.community": "IdentityCommunity",
        "ipv8.attestation.wallet.community": "AttestationCommunity",
        "ipv8.bootstrapping.dispersy.bootstrapper": "DispersyBootstrapper",
        "ipv8.bootstrapping.udpbroadcast.bootstrapper": "UDPBroadcastBootstrapper",
        "ipv8.community": "Community",
        "ipv8.dht.discovery": "DHTDiscoveryCommunity",
        "ipv8.keyvault.crypto": "crypto=default_eccrypto",
        "ipv8.messaging.anonymization.community": "TunnelCommunity",
        "ipv8.messaging.anonymization.endpoint": "TunnelEndpoint",
        "ipv8.messaging.anonymization.hidden_services": "HiddenTunnelCommunity",
        "ipv8.messaging.interfaces.dispatcher.endpoint": "DispatcherEndpoint",
        "ipv8.messaging.interfaces.statistics_endpoint": "StatisticsEndpoint",
        "ipv8.messaging.interfaces.udp.endpoint": "UDPEndpoint",
        "ipv8.overlay": "Overlay",
        "ipv8.peer": "Peer",
        "ipv8.peerdiscovery.community": "DiscoveryCommunity",
        "ipv8.peerdiscovery.discovery": "DiscoveryStrategy EdgeWalk OverlayType RandomWalk",
        "ipv8.peerdiscovery.network": "Network",
        "ipv8.util": "maybe_coroutine",
    })

if __name__ == "__main__":
    if not TYPE_CHECKING and __package__:
        from .ipv8.cli.service import main
    else:
        from ipv8.cli.service import main

    main()
