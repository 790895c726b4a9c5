"""The overlay of the nodes in the tests, and a tracker for any overlay. They run with both libraries."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from interop.nodes.values import Inner, encode, tell
from ipv8.community import Community, CommunitySettings
from ipv8.lazy_community import lazy_wrapper, lazy_wrapper_unsigned, lazy_wrapper_wd
from ipv8.messaging.lazy_payload import VariablePayload, vp_compile
from ipv8.messaging.payload import IntroductionRequestPayload, NewIntroductionRequestPayload
from ipv8.messaging.payload_dataclass import DataClassPayload, type_from_format
from ipv8.messaging.payload_headers import GlobalTimeDistributionPayload
from ipv8.messaging.serialization import Payload
from ipv8.peerdiscovery.network import PeerObserver

FORMATS = [
    "?", "B", "BBH", "BH", "c", "f", "d", "H", "HH", "I", "l", "LL", "q", "Q", "QH", "QL", "QQHHBH", "ccB", "4SH",
    "20s", "32s", "64s", "74s", "c20s", "bits", "ipv4", "ip_address", "address", "raw", "varlenBx2", "varlenH",
    "varlenHutf8", "varlenIutf8", "varlenHx20", "varlenH-list", "varlenI", "doublevarlenH", "payload", "payload-list",
    "arrayH-?", "arrayH-q", "arrayH-d",
]
TAKES_INNER: dict[str, Any] = {"payload": Inner, "payload-list": [Inner]}
varlenI = type_from_format("varlenI")  # noqa: N816 - the name of the format


def _message_of_format(format_name: str, number: int) -> type[Any]:
    """A payload without helpers, which packs the values of one format."""

    class FormatMessage(Payload):
        """A marker and one field of the format."""

        msg_id = number
        format_list = ["B", TAKES_INNER.get(format_name, format_name)]

        def __init__(self, *values: Any) -> None:
            self.values = values

        def to_pack_list(self) -> list[Any]:
            return [("B", 77), (format_name, *self.values)]

        @classmethod
        def from_unpack_list(cls, *args: Any) -> FormatMessage:
            return cls(*args[1:])

    return FormatMessage


@vp_compile
class Compiled(VariablePayload):
    """A compiled payload with a nested payload and a field that is packed in its own way."""

    format_list = ["I", Inner, [Inner], "varlenH"]
    names = ["number", "inner", "inners", "text"]

    def fix_pack_text(self, value: str) -> bytes:
        return value[::-1].encode()

    @classmethod
    def fix_unpack_text(cls, value: bytes) -> str:
        return value.decode()[::-1]


class Plain(VariablePayload):
    """A payload that is not compiled."""

    format_list = ["bits", "Q", "varlenHutf8"]
    names = ["b7", "b6", "b5", "b4", "b3", "b2", "b1", "b0", "number", "text"]


@dataclass
class Part(DataClassPayload):
    """A nested payload of the dataclass payload."""

    number: int
    data: bytes


@dataclass
class Record(DataClassPayload):
    """A payload with a field of every type that dataclass payloads know."""

    number: int
    flag: bool
    data: bytes
    text: str
    real: float
    long: varlenI
    part: Part
    parts: list[Part]
    numbers: list[int]
    flags: list[bool]


Record(0, False, b"", "", 0.0, b"", Part(0, b""), [], [], [])  # pyipv8 analyses such a class at its first instance


def _record(values: list[Any]) -> Record:
    *simple, part, parts, numbers, flags = values
    return Record(*[*simple, Part(*part), [Part(*item) for item in parts], numbers, flags])


def _values_of(payload: Any) -> list[Any]:
    if hasattr(payload, "values"):
        return list(payload.values)
    values = [getattr(payload, name) for name in payload.names]
    return [tuple(_values_of(value)) if isinstance(value, Part)
            else [tuple(_values_of(item)) for item in value] if value and isinstance(value, list)
            and isinstance(value[0], Part) else value for value in values]


STYLES: dict[str, tuple[type[Any], Any]] = {
    "compiled": (Compiled, lambda values: Compiled(*values)),
    "plain": (Plain, lambda values: Plain(*values)),
    "dataclass": (Record, _record),
}
MESSAGES: dict[str, tuple[int, type[Any], Any]] = {}
for _index, _name in enumerate(FORMATS):
    _class = _message_of_format(_name, 2 * _index)
    MESSAGES[_name] = (2 * _index, _class, lambda values, cls=_class: cls(*values))
for _index, (_name, (_class, _make)) in enumerate(STYLES.items(), len(FORMATS)):
    MESSAGES[_name] = (2 * _index, _class, _make)


class InteropCommunity(Community, PeerObserver):
    """Writes an event for everything that it receives. Signed messages have even ids, unsigned ones odd ids."""

    community_id = b"interoperability id."

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.network.add_peer_observer(self)
        for name, (number, payload_class, _) in MESSAGES.items():
            self.add_message_handler(number, self._signed_handler(name, payload_class))
            self.add_message_handler(number + 1, self._unsigned_handler(name, payload_class))

    def _signed_handler(self, name: str, payload_class: type[Any]) -> Any:
        @lazy_wrapper(payload_class)
        def handler(self: InteropCommunity, peer: Any, payload: Any) -> None:
            tell("received", message=name, signed=True, mid=peer.mid.hex(), values=encode(_values_of(payload)))
        return handler.__get__(self)

    def _unsigned_handler(self, name: str, payload_class: type[Any]) -> Any:
        @lazy_wrapper_unsigned(payload_class)
        def handler(self: InteropCommunity, source_address: Any, payload: Any) -> None:
            tell("received", message=name, signed=False, address=list(source_address[:2]),
                      values=encode(_values_of(payload)))
        return handler.__get__(self)

    def send_values(self, address: Any, name: str, values: list[Any], signed: bool) -> None:
        """Send one of ``MESSAGES``."""
        number, _, make = MESSAGES[name]
        packet = self.ezr_pack(number + (not signed), make(values), sig=signed)
        self.endpoint.send(address, packet)

    def on_peer_added(self, peer: Any) -> None:
        tell("peer", mid=peer.mid.hex(), address=list(peer.address[:2]))

    def on_peer_removed(self, peer: Any) -> None:
        tell("lost", mid=peer.mid.hex())

    def introduction_request_callback(self, peer: Any, dist: Any, payload: Any) -> None:
        tell("request", mid=peer.mid.hex(), style=payload.msg_id, extra=payload.extra_bytes.hex())

    def introduction_response_callback(self, peer: Any, dist: Any, payload: Any) -> None:
        tell("response", mid=peer.mid.hex(), style=payload.msg_id,
                  introduced=list(payload.wan_introduction_address[:2]))

    def create_introduction_request(self, socket_address: Any, extra_bytes: bytes = b"", new_style: bool = False,
                                    prefix: bytes | None = None) -> bytes:
        return super().create_introduction_request(socket_address, b"extra", new_style, prefix)

    def create_puncture(self, lan_walker: Any, wan_walker: Any, identifier: int, new_style: bool = False) -> bytes:
        tell("puncture", walker=list(wan_walker[:2]), style="new" if new_style else "old")
        return super().create_puncture(lan_walker, wan_walker, identifier, new_style)


class TrackerCommunity(Community):
    """A tracker: introduces peers of the same overlay to one another, for any overlay."""

    community_id = b"the trackers' own id"

    def __init__(self, settings: CommunitySettings) -> None:
        super().__init__(settings)
        self.endpoint.add_listener(self)
        self.handlers = {IntroductionRequestPayload.msg_id: self.on_old_request,
                         NewIntroductionRequestPayload.msg_id: self.on_new_request}

    def on_packet(self, packet: Any, warn_unknown: bool = False) -> None:
        source_address, data = packet
        if len(data) > 23 and data[22] in self.handlers:
            self.handlers[data[22]](source_address, data)

    def get_peer_for_introduction(self, exclude: Any = None, new_style: bool = False) -> None:
        return None

    @lazy_wrapper_wd(GlobalTimeDistributionPayload, IntroductionRequestPayload)
    def on_old_request(self, peer: Any, dist: Any, payload: Any, data: bytes) -> None:
        self.answer(peer, payload, data[:22], new_style=False)

    @lazy_wrapper_wd(GlobalTimeDistributionPayload, NewIntroductionRequestPayload)
    def on_new_request(self, peer: Any, dist: Any, payload: Any, data: bytes) -> None:
        self.answer(peer, payload, data[:22], new_style=True)

    def answer(self, peer: Any, payload: Any, prefix: bytes, new_style: bool) -> None:
        """Answer with another peer of the overlay with this prefix, if there is one."""
        service = prefix[2:]
        self.network.add_verified_peer(peer)
        self.network.discover_services(peer, [service])
        others = [other for other in self.network.get_peers_for_service(service) if other != peer]
        response = self.create_introduction_response(payload.destination_address, peer.address, payload.identifier,
                                                     introduction=random.choice(others) if others else None,
                                                     prefix=prefix, new_style=new_style)
        self.endpoint.send(peer.address, response)
