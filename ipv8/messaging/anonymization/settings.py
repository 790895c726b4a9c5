"""The settings of tunnel communities (doc/anonymity.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from ...checks import shown
from ...community import CommunitySettings
from .tunnel import PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST

if TYPE_CHECKING:
    from ...dht.provider import DHTCommunityProvider

__all__ = ["TunnelSettings"]

DEFAULT_FLAGS = (PEER_FLAG_RELAY, PEER_FLAG_SPEED_TEST)
DEFAULT_MAX_RELAY_EARLY = 8


FLAG_BITS = 16
"""Bits of the field in which introductions carry the flags."""
MAX_HOPS = 8
"""Hops of the longest circuit: as many cells as relays let through that may extend one."""


def own_setting(settings: Any, name: str) -> Any:
    """A setting that only this library has, by its default for settings of other classes, which tests may have."""
    return getattr(settings, name, getattr(TunnelSettings, name))


def check_tunnel_settings(settings: Any) -> None:
    """Check what would make circuits impossible.

    :raises ValueError: if a setting has such a value.
    """
    hops, timeout = own_setting(settings, "anonymous_hops"), own_setting(settings, "next_hop_timeout")
    if hops not in range(1, MAX_HOPS + 1):
        raise ValueError(f"the setting anonymous_hops must be 1 to {MAX_HOPS}, not {hops!r}")
    if not timeout > 0:
        raise ValueError(f"the setting next_hop_timeout must be more than 0 seconds, not {timeout!r}")


def flags_of(value: Any) -> set[int]:
    """Peer flags as a set: ``value`` itself, or one of its elements, as files have lists.

    :raises ValueError: if it is something else.
    """
    flags: Any = value
    if not isinstance(flags, str) and isinstance(flags, Iterable):
        flags = value if isinstance(value, set) else set(value)
        if all(isinstance(flag, int) and 0 < flag < 1 << FLAG_BITS for flag in flags):
            return cast("set[int]", flags)
    raise ValueError(f"peer_flags must be a set of PEER_FLAG_* numbers, such as {{1, 8}}, not {shown(value)}")


class TunnelSettings(CommunitySettings):
    """What a tunnel community is built from. Programs may set further attributes."""

    allow_unknown = True

    #: Circuits that a program keeps at least; not used by the library.
    min_circuits: int = 1
    #: Circuits of each wanted length that are kept.
    max_circuits: int = 8
    #: Places for circuits of others: one that ends here takes one place, one that goes on takes two. There are two, if
    #: there is one.
    max_joined_circuits: int = 100
    #: Seconds after which a circuit is closed.
    max_time: float = 3600
    #: The same for a circuit to an introduction point.
    max_time_ip: float = 86400
    #: Seconds without traffic after which a circuit is closed.
    max_time_inactive: float = 20
    #: Bytes of traffic after which a circuit is closed.
    max_traffic: int = 10 * 1024 ** 3
    #: Seconds for which a circuit is tried to be built.
    circuit_timeout: float = 60
    #: Seconds for which a circuit that was joined may be extended.
    unstable_timeout: float = 60
    #: Seconds that a node has to become a hop.
    next_hop_timeout: float = 10
    #: Seconds between two searches for the introduction points of a hidden service.
    swarm_lookup_interval: float = 30
    #: Connections to a hidden service.
    swarm_connection_limit: int = 15
    #: Seconds between the closing of a tunnel and its removal.
    remove_tunnel_delay: float = 5
    #: Finds peers and introduction points.
    dht_provider: DHTCommunityProvider | None = None
    #: Bytes each second that are passed on for others, and that leave by exits; 0 for any number.
    max_relay_bandwidth: float = 0
    max_exit_bandwidth: float = 0
    #: Whether exits reach addresses that are not on the public Internet; ``None``: only those of a node that is on this
    #: machine only.
    exit_to_private: bool | None = None
    #: Whether nodes of one network, a /16 of IPv4 or a /32 of IPv6, can be in one circuit.
    allow_same_network: bool = False
    #: The file that the guards are kept in; without one, a node has other guards after each start.
    guards_file: str | None = None
    #: Hops of the circuits of anonymous overlays on the same endpoint. With one hop, that hop sees both ends.
    anonymous_hops: int = 1
    #: Whether circuits are built in one pass, as far as their nodes take part in that.
    single_pass: bool = True
    #: Whether messages that build and keep circuits are padded to one size, and data to few sizes.
    pad_control: bool = True
    pad_data: bool = False
    #: Whether the keys of ready circuits are renewed so that computers of the future cannot find them.
    hybrid_keys: bool = True
    #: Circuits that are kept ready, of each length that ``TunnelCommunity.circuit`` was called for lately.
    ready_circuits: int = 1

    def __init__(self, *args: Any, peer_flags: Iterable[int] = DEFAULT_FLAGS,
                 max_relay_early: int = DEFAULT_MAX_RELAY_EARLY, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # In the dictionary of the object, under these names, as programs copy it from one object to another.
        vars(self).setdefault("_peer_flags", set(flags_of(peer_flags)))
        vars(self).setdefault("_max_relay_early", max_relay_early)

    @property
    def peer_flags(self) -> set[int]:
        """What this node does for others, as ``PEER_FLAG_*``. To assign it, also by ``|=``, tells the endpoint.

        :raises ValueError: if something else is assigned.
        """
        flags: set[int] = self._peer_flags
        return flags

    @peer_flags.setter
    def peer_flags(self, value: set[int]) -> None:
        self._peer_flags = flags_of(value)
        self._tell("set_peer_flags", self._peer_flags)

    @property
    def max_relay_early(self) -> int:
        """Cells that may extend circuits and go each way through this node; 0 if it takes part in no such circuits."""
        count: int = self._max_relay_early
        return count

    @max_relay_early.setter
    def max_relay_early(self, value: int) -> None:
        if not isinstance(value, int):
            raise ValueError(f"max_relay_early must be a number of cells, not {shown(value)}")  # noqa: TRY004 - as for all settings
        self._max_relay_early = value
        self._tell("set_max_relay_early", value)

    def _tell(self, method: str, value: Any) -> None:
        """Call a method of the crypto endpoint, which may have been set as ``endpoint``, if it has that method."""
        setter = getattr(getattr(self, "endpoint", None), method, None)
        if setter is not None:
            setter(value)
