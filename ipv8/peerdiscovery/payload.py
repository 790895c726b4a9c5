"""The messages of the discovery community (doc/protocol/discovery.md section 8)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ..messaging.payload import IntroductionRequestPayload, decode_connection_type, encode_connection_type
from ..messaging.serializable import FlatPayload
from ..reexports import reexports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..messaging.address import Address

__all__ = [
    "DiscoveryIntroductionRequestPayload",
    "PingPayload",
    "PongPayload",
    "SimilarityRequestPayload",
    "SimilarityResponsePayload",
]

COMMUNITY_ID_SIZE = 20
LEGACY_MARK = b"Y"
"""What the payload of a :class:`DiscoveryIntroductionRequestPayload` starts with."""

_OVERLAP = struct.Struct(">20sI")
_UNUSED_BITS = (0,) * 6


def _cut(data: bytes, size: int) -> list[bytes]:
    """The complete pieces of ``size`` bytes of ``data``; a rest is of no use to anybody."""
    return [data[start:start + size] for start in range(0, len(data) - size + 1, size)]


class SimilarityRequestPayload(FlatPayload):
    """Message 1: which overlays the sender runs, and the question which ones the receiver does.

    :param identifier: comes back in the response; its lower 16 bits count.
    :param lan_address: the IPv4 address of the sender in its own network.
    :param wan_address: the IPv4 address under which others see the sender.
    :param connection_type: see :func:`~ipv8.messaging.payload.encode_connection_type`.
    :param preference_list: the ids of the overlays, 20 bytes each.
    """

    msg_id = 1
    format_list = ["H", "ipv4", "ipv4", "bits", "raw"]  # noqa: RUF012 - never changed

    def __init__(self, identifier: int, lan_address: Address, wan_address: Address, connection_type: str,
                 preference_list: Iterable[bytes]) -> None:
        super().__init__()
        self.identifier = identifier % 65536
        self.lan_address = lan_address
        self.wan_address = wan_address
        self.connection_type = connection_type
        self.preference_list = list(preference_list)

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.identifier, self.lan_address, self.wan_address, *encode_connection_type(self.connection_type),
                *_UNUSED_BITS, b"".join(self.preference_list))

    @classmethod
    def from_unpack_list(cls, identifier: int, lan_address: Address, wan_address: Address,
                         *bits_and_ids: Any) -> SimilarityRequestPayload:
        """The message with these fields; an incomplete last community id is ignored."""
        bit_0, bit_1, *_, ids = bits_and_ids
        return cls(identifier, lan_address, wan_address, decode_connection_type(bit_0, bit_1),
                   _cut(ids, COMMUNITY_ID_SIZE))


class SimilarityResponsePayload(FlatPayload):
    """Message 2: the overlays that the responder runs.

    :param identifier: that of the request; its lower 16 bits count.
    :param preference_list: the ids of the overlays, 20 bytes each.
    :param tb_overlap: pairs of 20 bytes and an unsigned 32-bit number; nobody has sent any for years.
    """

    msg_id = 2
    format_list = ["H", "varlenHx20", "raw"]  # noqa: RUF012 - never changed

    def __init__(self, identifier: int, preference_list: Iterable[bytes],
                 tb_overlap: Iterable[tuple[bytes, int]]) -> None:
        super().__init__()
        self.identifier = identifier % 65536
        self.preference_list = list(preference_list)
        self.tb_overlap = list(tb_overlap)

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.identifier, b"".join(self.preference_list),
                b"".join(_OVERLAP.pack(*overlap) for overlap in self.tb_overlap))

    @classmethod
    def from_unpack_list(cls, identifier: int, preference_list: bytes,
                         tb_overlap: bytes) -> SimilarityResponsePayload:
        """The message with these fields; an incomplete last overlap is ignored."""
        pairs = (_OVERLAP.unpack(piece) for piece in _cut(tb_overlap, _OVERLAP.size))
        return cls(identifier, _cut(preference_list, COMMUNITY_ID_SIZE), pairs)


class PingPayload(FlatPayload):
    """Message 3, unsigned: the question whether somebody is there.

    :param identifier: comes back in the pong; its lower 16 bits count.
    """

    msg_id = 3
    format_list = ["H"]  # noqa: RUF012 - never changed

    def __init__(self, identifier: int) -> None:
        super().__init__()
        self.identifier = identifier % 65536

    def _wire_values(self) -> tuple[Any, ...]:
        return (self.identifier,)

    @classmethod
    def from_unpack_list(cls, identifier: int) -> PingPayload:
        """The message with this identifier."""
        return cls(identifier)


class PongPayload(PingPayload):
    """Message 4, unsigned: the answer."""

    msg_id = 4


class DiscoveryIntroductionRequestPayload(IntroductionRequestPayload):
    """Message 246 as it was sent until 2014: the sender asks to be introduced to somebody. Received only.

    :param introduce_to: the SHA-1 of the public key of that peer (20 bytes). The further arguments are those of
        :class:`~ipv8.messaging.payload.IntroductionRequestPayload`.
    """

    format_list = ["c", "20s", *IntroductionRequestPayload.format_list]  # noqa: RUF012 - never changed

    def __init__(self, introduce_to: bytes, destination_address: Address, source_lan_address: Address,
                 source_wan_address: Address, advice: bool, connection_type: str, identifier: int, extra_bytes: bytes,
                 supports_new_style: bool = True) -> None:
        super().__init__(destination_address, source_lan_address, source_wan_address, advice, connection_type,
                         identifier, extra_bytes, supports_new_style)
        self.introduce_to = introduce_to

    def _wire_values(self) -> tuple[Any, ...]:
        return (LEGACY_MARK, self.introduce_to, *super()._wire_values())

    @classmethod
    def from_unpack_list(cls, _: bytes, introduce_to: bytes,
                         *args: Any) -> DiscoveryIntroductionRequestPayload:
        """The message with these fields."""
        plain = IntroductionRequestPayload.from_unpack_list(*args)
        return cls(introduce_to, plain.destination_address, plain.source_lan_address, plain.source_wan_address,
                   plain.advice, plain.connection_type, plain.identifier, plain.extra_bytes,
                   supports_new_style=plain.supports_new_style)


if TYPE_CHECKING:  # programs import these from here
    from ..messaging.serialization import Payload as Payload
else:
    __getattr__, __dir__ = reexports(__name__, {"..messaging.serialization": "Payload"})
