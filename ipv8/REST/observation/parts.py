"""The parts of a node that are observed. The node may be an object of a program that has only some of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from ...community import Community
from ...messaging.interfaces.endpoint import Endpoint
from ...messaging.interfaces.routes import PREFIX_LENGTH
from ...messaging.interfaces.wrapping import WrappingEndpoint
from ...sessions import SessionService
from ...trust.graph import TrustGraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ...peerdiscovery.network import Network

__all__ = ["Listening", "all_listeners_of", "communities_of", "drops_of", "endpoint_of", "endpoints_of", "graph_of",
           "listeners_of", "listening_of", "name_of", "networks_of", "overlays_of"]


class Listening(NamedTuple):
    """An overlay, or something else, that listens to a prefix."""

    prefix: bytes
    id: str
    """The id of the overlay; of others, their prefix."""
    name: str
    listener: Any


def overlays_of(node: Any) -> tuple[Any, ...]:
    """The overlays of a node."""
    return tuple(getattr(node, "overlays", ()))


def communities_of(node: Any) -> list[Community]:
    """The overlays of a node that are communities."""
    return [overlay for overlay in overlays_of(node) if isinstance(overlay, Community)]


def endpoint_of(node: Any) -> Endpoint | None:
    """The endpoint of a node; ``None`` if it has none yet, or one that is not of the classes of this library."""
    endpoint = getattr(node, "endpoint", None)
    return endpoint if isinstance(endpoint, Endpoint) else None


def endpoints_of(node: Any) -> list[Endpoint]:
    """The endpoints of a node and of its overlays, each once; that of the node comes first.

    Pseudonyms have endpoints of their own. Of those with the same endpoint inside, one is taken.
    """
    found: dict[int, Endpoint] = {}
    for endpoint in map(endpoint_of, (node, *communities_of(node))):
        if endpoint is not None:
            found.setdefault(id(_innermost(endpoint)), endpoint)
    return list(found.values())


def _innermost(endpoint: Endpoint) -> Endpoint:
    inner = endpoint
    while isinstance(inner, WrappingEndpoint):
        inner = inner.endpoint
    return inner


def networks_of(node: Any) -> list[Network]:
    """The networks of a node and of its overlays, each once; that of the node comes first."""
    found = [getattr(node, "network", None), *(overlay.network for overlay in communities_of(node))]
    return list({id(network): network for network in found if network is not None}.values())


def graph_of(node: Any) -> TrustGraph | None:
    """The trust graph of a node, or that of one of its overlays."""
    trust = getattr(node, "trust", None)
    graphs = [getattr(trust, "graph", None), *(getattr(overlay, "trust", None) for overlay in overlays_of(node))]
    return next((graph for graph in graphs if isinstance(graph, TrustGraph)), None)


def name_of(listener: Any) -> str:
    """What people call an overlay, or something else that listens."""
    return type(listener).__name__


def listening_of(node: Any) -> Iterator[Listening]:
    """The overlays of a node, and what listens to a prefix of one of its endpoints; overlays of the node come twice.

    Pseudonyms have the same prefixes, at endpoints of their own.
    """
    for overlay in communities_of(node):
        yield _listening(overlay.get_prefix(), overlay)
    for endpoint in endpoints_of(node):
        for prefix, entry in endpoint.gate.entries.items():
            if entry.own and len(prefix) == PREFIX_LENGTH:
                yield _listening(prefix, entry[0])


def _listening(prefix: bytes, listener: Any) -> Listening:
    is_of_overlay = isinstance(listener, Community) and listener.get_prefix() == prefix
    number: bytes = listener.community_id if is_of_overlay else prefix
    return Listening(prefix, number.hex(), name_of(listener), listener)


def listeners_of(node: Any) -> list[Listening]:
    """The first of :func:`listening_of` for each prefix."""
    found: dict[bytes, Listening] = {}
    for listening in listening_of(node):
        found.setdefault(listening.prefix, listening)
    return list(found.values())


def all_listeners_of(node: Any) -> list[Any]:
    """The listeners of :func:`listening_of`, each once."""
    return list({id(listening.listener): listening.listener for listening in listening_of(node)}.values())


def drops_of(node: Any) -> Iterator[tuple[Any, Mapping[str, int]]]:
    """What counts the packets that it drops, with its counts by reason."""
    for endpoint in endpoints_of(node):
        yield endpoint, endpoint.drops
    for listener in all_listeners_of(node):
        yield listener, _of_sessions(listener) if isinstance(listener, SessionService) else listener.drops


def _of_sessions(service: SessionService) -> dict[str, int]:
    """What sessions drop, with reasons that are not those of overlays."""
    total = Counter(service.drops)
    total.update(service.machine.drops)
    return {f"session_{reason}": count for reason, count in total.items()}
