"""The messages of the DHT, and the content of values (doc/protocol/dht.md sections 3 and 4)."""

# ruff: noqa: RUF012 - payload classes are declared with plain lists
from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, ClassVar

from ..keyvault.crypto import default_eccrypto
from ..messaging.lazy_payload import VariablePayload, VariablePayloadWID, vp_compile
from ..messaging.serialization import Packer, PackError
from ..reexports import reexports

if TYPE_CHECKING:
    from ..messaging.address import Address
    from ..messaging.serialization import Serializer
    from .routing import Node

__all__ = [
    "ConnectPeerRequestPayload",
    "ConnectPeerResponsePayload",
    "FindRequestPayload",
    "FindResponsePayload",
    "NodePacker",
    "PingRequestPayload",
    "PingResponsePayload",
    "SignedStrPayload",
    "StorePeerRequestPayload",
    "StorePeerResponsePayload",
    "StoreRequestPayload",
    "StoreResponsePayload",
    "StrPayload",
]

_LENGTH = Struct(">H")


class _Message(VariablePayloadWID):
    """The first field of all messages: a number that the requester chooses and the response repeats."""

    names = ["identifier"]
    format_list = ["I"]

    identifier: int


@vp_compile
class PingRequestPayload(_Message):
    """Asks whether the receiver is there."""

    msg_id = 1


@vp_compile
class PingResponsePayload(_Message):
    """Answers a ping-request."""

    msg_id = 2


@vp_compile
class StoreRequestPayload(_Message):
    """Asks to store serialized values under a key of 20 bytes; ``token`` comes from an earlier find-response."""

    msg_id = 3
    names = [*_Message.names, "token", "target", "values"]
    format_list = [*_Message.format_list, "20s", "20s", "varlenH-list"]

    token: bytes
    target: bytes
    values: list[bytes]


@vp_compile
class StoreResponsePayload(_Message):
    """Confirms a store-request."""

    msg_id = 4


@vp_compile
class FindRequestPayload(_Message):
    """Asks for the values of a key, from number ``offset`` on; if there are none, for the nodes nearest to it.

    ``lan_address`` is that of the sender; with ``force_nodes`` nodes are wanted even if there are values.
    """

    msg_id = 5
    names = [*_Message.names, "lan_address", "target", "offset", "force_nodes"]
    format_list = [*_Message.format_list, "ip_address", "20s", "I", "?"]

    lan_address: Address
    target: bytes
    offset: int
    force_nodes: bool


@vp_compile
class FindResponsePayload(_Message):
    """Values or nodes, and a token with which the receiver may store values at the sender."""

    msg_id = 6
    names = [*_Message.names, "token", "values", "nodes"]
    format_list = [*_Message.format_list, "20s", "varlenH-list", "node-list"]

    token: bytes
    values: list[bytes]
    nodes: list[Node]


@vp_compile
class StorePeerRequestPayload(_Message):
    """Asks to store the address of the sender under ``target``, which is the mid of the sender."""

    msg_id = 7
    names = [*_Message.names, "token", "target"]
    format_list = [*_Message.format_list, "20s", "20s"]

    token: bytes
    target: bytes


@vp_compile
class StorePeerResponsePayload(_Message):
    """Confirms a store-peer-request."""

    msg_id = 8


@vp_compile
class ConnectPeerRequestPayload(_Message):
    """Asks for the addresses of the peer with this mid, and to have that peer send a puncture to the sender."""

    msg_id = 9
    names = [*_Message.names, "lan_address", "target"]
    format_list = [*_Message.format_list, "ip_address", "20s"]

    lan_address: Address
    target: bytes


@vp_compile
class ConnectPeerResponsePayload(_Message):
    """The peers that are stored under the mid."""

    msg_id = 10
    names = [*_Message.names, "nodes"]
    format_list = [*_Message.format_list, "node-list"]

    nodes: list[Node]


@vp_compile
class StrPayload(VariablePayload):
    """The content of an unsigned value."""

    names = ["data"]
    format_list = ["raw"]

    data: bytes


@vp_compile
class SignedStrPayload(VariablePayload):
    """The content of a signed value: the signature follows, ``version`` is the Unix time in seconds."""

    names = ["data", "version", "public_key"]
    format_list = ["varlenH", "I", "varlenH"]

    data: bytes
    version: int
    public_key: bytes


class NodePacker(Packer["Node", Any]):
    """An address and a serialized public key."""

    #: The class of what is unpacked; :mod:`ipv8.dht.routing`, which ``ipv8.dht`` imports, sets it.
    node_class: ClassVar[type[Node]]

    def __init__(self, serializer: Serializer) -> None:
        super().__init__()
        self.serializer = serializer

    def pack(self, node: Node) -> bytes:
        """The bytes of ``node``, which never contain private key material."""
        return self.serializer.pack("ip_address", node.address) + self.serializer.pack("varlenH", node.key_bin)

    def unpack(self, data: bytes, offset: int, unpack_list: list[Any], *_: Any) -> int:
        """Append the ``Node`` at ``offset``, or nothing if its key is none, and return the offset behind it.

        :raises PackError: if the data end before, or the address is not an IP address.
        """
        address, offset = self.serializer.unpack("ip_address", data, offset)
        (length,) = _LENGTH.unpack_from(data, offset)
        start = offset + _LENGTH.size
        stop: int = start + length
        if stop > len(data):
            raise PackError(f"the key of a node lacks {stop - len(data)} bytes")
        with suppress(ValueError):  # the length is known, so the entries behind a bad one can be read
            unpack_list.append(self.node_class(default_eccrypto.key_from_network(data[start:stop]), address))
        return stop


if TYPE_CHECKING:  # programs import these from here
    from ..messaging.serialization import Serializer as Serializer
else:
    __getattr__, __dir__ = reexports(__name__, {"..messaging.serialization": "Serializer"})
