"""A recorded connection to a hidden service (tests/vectors/tunnels.json): all keys and messages are derived again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization import hidden_payload, payload as tunnel_payload
from ipv8.messaging.anonymization.cells import CellPayload, peel
from ipv8.messaging.anonymization.crypto import TunnelCrypto
from ipv8.messaging.anonymization.end_to_end import accept_connection, open_answer
from ipv8.messaging.anonymization.handshake import open_candidates
from ipv8.messaging.anonymization.hidden_payload import CreatedE2EPayload, CreateE2EPayload, RendezvousInfo
from ipv8.messaging.anonymization.hidden_services import HiddenTunnelCommunity
from ipv8.messaging.anonymization.payload import CreatedPayload, CreatePayload, DataPayload, Flags
from ipv8.messaging.anonymization.session_keys import SessionKeys
from ipv8.messaging.anonymization.tunnel import Hop
from ipv8.messaging.serialization import Serializer
from ipv8.peer import Peer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tunnels.json").read_text())
TRANSCRIPT = VECTORS["transcript_e2e"]
PACKETS = TRANSCRIPT["packets"]
PREFIX = bytes.fromhex(PACKETS[0]["packet"])[:22]
CLASSES = {cls.msg_id: cls for module in (tunnel_payload, hidden_payload) for cls in vars(module).values()
           if isinstance(cls, type) and hasattr(cls, "msg_id") and cls.__module__ == module.__name__}
CLASSES |= {cls.msg_id: cls for cls in (getattr(hidden_payload, name) for name in hidden_payload.__all__)
            if hasattr(cls, "msg_id")}

COMMUNITY: Any = None  # for methods that need none

CREATES = {"service": (1, 3), "introduction": (7, 9), "data": (19, 21), "meeting": (33, 35), "first": (47, 49),
           "rendezvous": (53, 55)}
"""For each agreement on keys, where the messages create and created were handled."""

JOINERS = {"service": "rendezvous", "introduction": "intro", "data": "exit", "meeting": "rendezvous", "first": "exit",
           "rendezvous": "rendezvous"}

FORWARD, BACKWARD = "forward", "backward"
LAYERS: dict[int, tuple[list[tuple[str, str]], int]] = {
    4: ([("service", FORWARD)], 5),
    10: ([("service", BACKWARD)], 11),
    12: ([("service", FORWARD), ("introduction", FORWARD)], 14),
    13: ([("introduction", FORWARD)], 14),
    15: ([("introduction", BACKWARD)], 17),
    16: ([("service", BACKWARD), ("introduction", BACKWARD)], 17),
    22: ([("data", FORWARD)], 23),
    24: ([("data", BACKWARD)], 25),
    26: ([("data", FORWARD)], 27),
    28: ([("introduction", BACKWARD)], 30),
    29: ([("service", BACKWARD), ("introduction", BACKWARD)], 30),
    36: ([("meeting", FORWARD)], 37),
    38: ([("meeting", BACKWARD)], 39),
    40: ([("service", FORWARD), ("introduction", FORWARD)], 42),
    41: ([("introduction", FORWARD)], 42),
    43: ([("data", BACKWARD)], 44),
    50: ([("first", FORWARD)], 51),
    56: ([("first", BACKWARD)], 57),
    58: ([("first", FORWARD), ("rendezvous", FORWARD)], 60),
    59: ([("rendezvous", FORWARD)], 60),
    61: ([("rendezvous", BACKWARD)], 63),
    62: ([("first", BACKWARD), ("rendezvous", BACKWARD)], 63),
    64: ([("first", FORWARD), ("rendezvous", FORWARD), ("end to end", BACKWARD)], 67),
    65: ([("rendezvous", FORWARD), ("end to end", BACKWARD)], 67),
    66: ([("meeting", BACKWARD), ("end to end", BACKWARD)], 67),
}
"""For each encrypted packet, its layers, the outermost first, and where the message in it was handled."""


def serializer() -> Serializer:
    made = Serializer()
    made.add_packer("flags", Flags())
    return made


def identity(name: str) -> Any:
    return default_eccrypto.key_from_private_bin(bytes.fromhex(TRANSCRIPT["identities"][name]["private_bin"]))


def handled(index: int, cls: type[Any]) -> Any:
    message = bytes.fromhex(PACKETS[index]["message"])
    assert message[22] == cls.msg_id == PACKETS[index]["msg_id"]
    return serializer().unpack_serializable(cls, message, 23)[0]


class Replay(TunnelCrypto):
    """Generates the keys of the transcript, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = [default_eccrypto.key_from_private_bin(bytes.fromhex(key["private_bin"]))
                     for key in TRANSCRIPT["generated_keys_in_order"]]

    def generate_key(self, security_level: Any) -> Any:
        return self.keys.pop(0)


def agree(crypto: Replay, name: str) -> SessionKeys:
    """Agree on keys as both sides did; those of the builder."""
    create, created = handled(CREATES[name][0], CreatePayload), handled(CREATES[name][1], CreatedPayload)
    joiner = identity(JOINERS[name])
    secret, public = crypto.generate_diffie_secret()
    assert public == create.key
    shared, half, auth = crypto.generate_diffie_shared_secret(create.key, joiner)
    assert (half, auth) == (created.key, created.auth)
    assert crypto.verify_and_generate_shared_secret(secret, half, auth, joiner.pub().get_crypt_pk()) == shared
    keys = crypto.generate_session_keys(shared)
    open_candidates(keys, created.candidates_enc)
    return keys


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    """The keys of all circuits, and of the connection."""
    crypto = Replay()
    service = crypto.generate_key("curve25519")
    found: dict[str, Any] = {name: agree(crypto, name) for name in ("service", "introduction", "data")}
    request = handled(31, CreateE2EPayload)
    secret, public = crypto.generate_diffie_secret()
    assert (request.key, request.node_public_key) == (public, service.pub().key_to_bin())
    found["meeting"] = agree(crypto, "meeting")
    answer = handled(45, CreatedE2EPayload)
    opened = open_answer(crypto, serializer(), Hop(Peer(service.pub()), dh_secret=secret, dh_first_part=public), answer)
    assert opened is not None
    found["end to end"], meeting = opened
    found["answer"] = accept_connection(crypto, serializer(), service, request.key, request.identifier, meeting)
    found["info"] = meeting
    found |= {name: agree(crypto, name) for name in ("first", "rendezvous")}
    assert not crypto.keys
    return found


def test_the_answer_of_the_service(keys: dict[str, Any]) -> None:
    recorded = handled(45, CreatedE2EPayload)
    offer = keys["answer"]
    assert (offer.payload.identifier, offer.payload.key, offer.payload.auth, offer.payload.rp_info_enc) == (
        recorded.identifier, recorded.key, recorded.auth, recorded.rp_info_enc)
    assert offer.keys.key_forward == keys["end to end"].key_forward
    info: RendezvousInfo = keys["info"]
    assert tuple(info.address) == tuple(TRANSCRIPT["addresses"]["rendezvous"])
    assert info.key.hex() == TRANSCRIPT["identities"]["rendezvous"]["public_bin"]
    assert info.cookie == bytes.fromhex(PACKETS[37]["message"])[29:]


@pytest.mark.parametrize("index", sorted(LAYERS))
def test_packets(keys: dict[str, Any], index: int) -> None:
    layers, where = LAYERS[index]
    cell = CellPayload.from_bin(bytes.fromhex(PACKETS[index]["packet"]))
    assert not cell.plaintext
    # Each layer is opened with fresh keys, as those that have opened a packet once take it for a replay.
    opening = [getattr(fresh(keys[name]), direction) for name, direction in layers]
    expected = bytes.fromhex(PACKETS[where]["message"])
    assert peel(cell.message, opening) == expected[22:23] + expected[27:]
    name, direction = layers[0]
    inner = peel(cell.message, [getattr(fresh(keys[name]), direction)])
    sealing = fresh(keys[name])
    setattr(sealing, f"salt_explicit_{direction}", int.from_bytes(cell.message[:8], "big") - 1)
    assert sealing.encrypt_str(inner, int(direction == BACKWARD)) == cell.message


def fresh(keys: SessionKeys) -> SessionKeys:
    return SessionKeys(key_backward=keys.key_backward, key_forward=keys.key_forward, salt_backward=keys.salt_backward,
                       salt_forward=keys.salt_forward)


@pytest.mark.parametrize("index", [index for index, entry in enumerate(PACKETS) if "message" in entry])
def test_messages(index: int) -> None:
    message = bytes.fromhex(PACKETS[index]["message"])
    read: Any
    read, end = serializer().unpack_serializable(CLASSES[message[22]], message, 23)
    assert end == len(message)
    assert message[:22] == PREFIX
    assert serializer().pack_serializable(read) == message[23:]


def test_data_of_the_client() -> None:
    data = handled(67, DataPayload)
    assert (tuple(data.dest_address), tuple(data.org_address)) == (("0.0.0.0", 0), ("0.0.0.0", 0))
    assert [data.data.hex()] == TRANSCRIPT["received_by_seeder"]


@pytest.mark.parametrize("vector", VECTORS["circuit_ip"])
def test_pseudo_addresses(vector: dict[str, Any]) -> None:
    assert HiddenTunnelCommunity.circuit_id_to_ip(COMMUNITY, vector["circuit_id"]) == vector["ip"]
    assert HiddenTunnelCommunity.ip_to_circuit_id(COMMUNITY, vector["ip"]) == vector["circuit_id"]


def test_the_address_of_the_connection() -> None:
    ip, port = TRANSCRIPT["callback_address"]
    assert port == 1024
    assert HiddenTunnelCommunity.ip_to_circuit_id(COMMUNITY, ip) == PACKETS[47]["circuit_id"]
