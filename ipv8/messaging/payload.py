"""The messages of the base protocol: introductions and punctures (doc/protocol/discovery.md section 3).

The first four are written by hand and have only IPv4 addresses. The last four can also have IPv6 addresses.
"""

# ruff: noqa: RUF012 - the lists that describe a payload are never changed

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .lazy_payload import VariablePayloadWID, vp_compile
from .serializable import FlatPayload, Payload

if TYPE_CHECKING:
    from .address import Address

__all__ = [
    "IntroductionRequestPayload",
    "IntroductionResponsePayload",
    "NewIntroductionRequestPayload",
    "NewIntroductionResponsePayload",
    "NewPuncturePayload",
    "NewPunctureRequestPayload",
    "Payload",
    "PuncturePayload",
    "PunctureRequestPayload",
    "VariablePayloadWID",
    "decode_connection_type",
    "encode_connection_type",
    "vp_compile",
]

_CONNECTION_TYPES = {(0, 0): "unknown", (0, 1): "N/A", (1, 0): "public", (1, 1): "symmetric-NAT"}
_CONNECTION_BITS = {"public": (1, 0), "symmetric-NAT": (1, 1)}


def encode_connection_type(conn_type: str) -> tuple[int, int]:
    """Two bits for a type of connection; (0, 0) for names that have none."""
    return _CONNECTION_BITS.get(conn_type, (0, 0))


def decode_connection_type(bit_0: int, bit_1: int) -> str:
    """The name of a type of connection for two bits."""
    return _CONNECTION_TYPES[bool(bit_0), bool(bit_1)]


class IntroductionRequestPayload(FlatPayload):
    """Asks a peer for the address of another peer.

    :param destination_address: the address that the request is sent to, as the sender sees it.
    :param source_lan_address: the address of the sender in its own network.
    :param source_wan_address: the address of the sender on the Internet.
    :param advice: whether an introduction is wanted. For compatibility, the flag is inverted in payloads that were
        received. Do not rely on it.
    :param connection_type: "unknown", "public" or "symmetric-NAT".
    :param identifier: is repeated in the response; taken modulo 65536.
    :param extra_bytes: what the overlay adds.
    :param supports_new_style: whether the sender understands the messages with IPv6 addresses.
    """

    msg_id = 246
    format_list = ["ipv4", "ipv4", "ipv4", "bits", "H", "raw"]

    #: Whether the sender answers encrypted sessions (doc/protocol/sessions.md section 3.2).
    supports_sessions: bool = False

    def __init__(
        self,
        destination_address: Address,
        source_lan_address: Address,
        source_wan_address: Address,
        advice: bool,
        connection_type: str,
        identifier: int,
        extra_bytes: bytes,
        supports_new_style: bool = True,
    ) -> None:
        self.destination_address = destination_address
        self.source_lan_address = source_lan_address
        self.source_wan_address = source_wan_address
        self.advice = advice
        self.connection_type = connection_type
        self.identifier = identifier % 65536
        self.extra_bytes = extra_bytes
        self.supports_new_style = supports_new_style

    def _wire_values(self) -> tuple[Any, ...]:
        addresses = self.destination_address, self.source_lan_address, self.source_wan_address
        kind = encode_connection_type(self.connection_type)
        flags = *kind, self.supports_new_style, self.supports_sessions, 0, 0, 0, self.advice
        return *addresses, *flags, self.identifier, self.extra_bytes

    @classmethod
    def from_unpack_list(cls, *args: Any) -> IntroductionRequestPayload:
        """Make the payload of three addresses, eight flags, the identifier and the extra bytes."""
        to, lan, wan, kind_0, kind_1, new_style, sessions, _, _, _, advice, identifier, extra = args
        payload = cls(to, lan, wan, not advice, _CONNECTION_TYPES[kind_0, kind_1], identifier, extra, new_style)
        if sessions:
            payload.supports_sessions = True
        return payload


class IntroductionResponsePayload(FlatPayload):
    """Answers a request with the addresses of another peer.

    :param destination_address: the address that the response is sent to.
    :param source_lan_address: the address of the sender in its own network.
    :param source_wan_address: the address of the sender on the Internet.
    :param lan_introduction_address: the address of the introduced peer in its own network; ``0.0.0.0:0`` for none.
    :param wan_introduction_address: the address of the introduced peer on the Internet; ``0.0.0.0:0`` for none.
    :param connection_type: "unknown", "public" or "symmetric-NAT".
    :param identifier: that of the request; taken modulo 65536.
    :param extra_bytes: what the overlay adds.
    :param supports_new_style: whether the sender understands the messages with IPv6 addresses.
    :param intro_supports_new_style: whether the introduced peer understands them.
    :param peer_limit_reached: whether the sender has as many peers as it wants.
    """

    msg_id = 245
    format_list = ["ipv4", "ipv4", "ipv4", "ipv4", "ipv4", "bits", "H", "raw"]

    #: Whether the sender answers encrypted sessions (doc/protocol/sessions.md section 3.2).
    supports_sessions: bool = False

    def __init__(
        self,
        destination_address: Address,
        source_lan_address: Address,
        source_wan_address: Address,
        lan_introduction_address: Address,
        wan_introduction_address: Address,
        connection_type: str,
        identifier: int,
        extra_bytes: bytes,
        supports_new_style: bool = True,
        intro_supports_new_style: bool = False,
        peer_limit_reached: bool = False,
    ) -> None:
        self.destination_address = destination_address
        self.source_lan_address = source_lan_address
        self.source_wan_address = source_wan_address
        self.lan_introduction_address = lan_introduction_address
        self.wan_introduction_address = wan_introduction_address
        self.connection_type = connection_type
        self.identifier = identifier % 65536
        self.extra_bytes = extra_bytes
        self.supports_new_style = supports_new_style
        self.intro_supports_new_style = intro_supports_new_style
        self.peer_limit_reached = peer_limit_reached

    def _wire_values(self) -> tuple[Any, ...]:
        own = self.destination_address, self.source_lan_address, self.source_wan_address
        introduced = self.lan_introduction_address, self.wan_introduction_address
        styles = self.supports_new_style, self.intro_supports_new_style
        kind = encode_connection_type(self.connection_type)
        flags = *kind, self.supports_sessions, *styles, self.peer_limit_reached, 0, 0
        return *own, *introduced, *flags, self.identifier, self.extra_bytes

    @classmethod
    def from_unpack_list(cls, *args: Any) -> IntroductionResponsePayload:
        """Make the payload of five addresses, eight flags, the identifier and the extra bytes."""
        kind_0, kind_1, sessions, new_style, introduced_new_style, limit, _, _, identifier, extra = args[5:]
        kind = _CONNECTION_TYPES[kind_0, kind_1]
        to, lan, wan, lan_introduction, wan_introduction = args[:5]
        addresses = to, lan, wan, lan_introduction, wan_introduction
        payload = cls(*addresses, kind, identifier, extra, new_style, introduced_new_style, limit)
        if sessions:
            payload.supports_sessions = True
        return payload


class PunctureRequestPayload(FlatPayload):
    """Asks a peer to open its NAT for another peer.

    :param lan_walker_address: the address of the other peer in its own network.
    :param wan_walker_address: the address of the other peer on the Internet.
    :param identifier: that of the introduction request of the other peer; taken modulo 65536.
    """

    msg_id = 250
    format_list = ["ipv4", "ipv4", "H"]

    def __init__(self, lan_walker_address: Address, wan_walker_address: Address, identifier: int) -> None:
        self.lan_walker_address = lan_walker_address
        self.wan_walker_address = wan_walker_address
        self.identifier = identifier % 65536

    def _wire_values(self) -> tuple[Any, ...]:
        return self.lan_walker_address, self.wan_walker_address, self.identifier


class PuncturePayload(FlatPayload):
    """Opens the NAT of the sender for the receiver.

    :param source_lan_address: the address of the sender in its own network.
    :param source_wan_address: the address of the sender on the Internet.
    :param identifier: that of the puncture request; taken modulo 65536.
    """

    msg_id = 249
    format_list = ["ipv4", "ipv4", "H"]

    def __init__(self, source_lan_address: Address, source_wan_address: Address, identifier: int) -> None:
        self.source_lan_address = source_lan_address
        self.source_wan_address = source_wan_address
        self.identifier = identifier % 65536

    def _wire_values(self) -> tuple[Any, ...]:
        return self.source_lan_address, self.source_wan_address, self.identifier


@vp_compile
class NewIntroductionRequestPayload(VariablePayloadWID):
    """An introduction request with IPv4 or IPv6 addresses."""

    msg_id = 234
    format_list = ["ip_address", "ip_address", "ip_address", "H", "bits", "raw"]
    names = [
        *("destination_address", "source_lan_address", "source_wan_address", "identifier"),
        *("connection_type_0", "connection_type_1", "supports_new_style"),
        *("dflag1", "dflag2", "tunnel", "sync", "advice"),
        "extra_bytes",
    ]

    destination_address: Address
    source_lan_address: Address
    source_wan_address: Address
    identifier: int
    connection_type_0: int
    connection_type_1: int
    supports_new_style: int
    dflag1: int
    dflag2: int
    tunnel: int
    sync: int
    advice: int
    extra_bytes: bytes

    @property
    def supports_sessions(self) -> bool:
        """Whether the sender answers encrypted sessions (doc/protocol/sessions.md section 3.2)."""
        return bool(self.dflag1)


@vp_compile
class NewIntroductionResponsePayload(VariablePayloadWID):
    """An introduction response with IPv4 or IPv6 addresses."""

    msg_id = 233
    format_list = ["ip_address", "ip_address", "ip_address", "ip_address", "ip_address", "H", "bits", "raw"]
    names = [
        *("destination_address", "source_lan_address", "source_wan_address"),
        *("lan_introduction_address", "wan_introduction_address", "identifier", "intro_supports_new_style"),
        *(f"flag{number}" for number in range(1, 8)),
        "extra_bytes",
    ]

    destination_address: Address
    source_lan_address: Address
    source_wan_address: Address
    lan_introduction_address: Address
    wan_introduction_address: Address
    identifier: int
    intro_supports_new_style: int
    flag1: int
    flag2: int
    flag3: int
    flag4: int
    flag5: int
    flag6: int
    flag7: int
    extra_bytes: bytes

    @property
    def supports_sessions(self) -> bool:
        """Whether the sender answers encrypted sessions (doc/protocol/sessions.md section 3.2)."""
        return bool(self.flag1)


@vp_compile
class NewPunctureRequestPayload(VariablePayloadWID):
    """A puncture request with IPv4 or IPv6 addresses."""

    msg_id = 232
    format_list = ["ip_address", "ip_address", "H"]
    names = ["lan_walker_address", "wan_walker_address", "identifier"]

    lan_walker_address: Address
    wan_walker_address: Address
    identifier: int


@vp_compile
class NewPuncturePayload(VariablePayloadWID):
    """A puncture with IPv4 or IPv6 addresses."""

    msg_id = 231
    format_list = ["ip_address", "ip_address", "H"]
    names = ["source_lan_address", "source_wan_address", "identifier"]

    source_lan_address: Address
    source_wan_address: Address
    identifier: int
