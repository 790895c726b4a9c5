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
from ipv8.service import _BOOTSTRAPPERS, _COMMUNITIES, _WALKERS, IPv8
from ipv8.util import maybe_coroutine as maybe_coroutine

__all__ = ["_BOOTSTRAPPERS", "_COMMUNITIES", "_WALKERS", "IPv8"]

crypto = default_eccrypto
