"""Whatever the messages of hidden services contain, nothing is raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.anonymization import hidden_payload
from ipv8.messaging.anonymization.crypto import TunnelCrypto
from ipv8.messaging.anonymization.end_to_end import accept_connection, open_answer, tunnel_peer
from ipv8.messaging.anonymization.hidden_payload import CreatedE2EPayload, RendezvousInfo
from ipv8.messaging.anonymization.pex import is_service_key
from ipv8.messaging.anonymization.tunnel import FORWARD, Hop
from ipv8.messaging.serialization import PackError, default_serializer
from ipv8.peer import Peer

CRYPTO = TunnelCrypto()
SERVICE = default_eccrypto.generate_key("curve25519")
SECRET, PUBLIC = CRYPTO.generate_diffie_secret()
INFO = RendezvousInfo(("1.2.3.4", 5), SERVICE.pub().key_to_bin(), b"c" * 20)
CLASSES = [getattr(hidden_payload, name) for name in hidden_payload.__all__]


def hop() -> Hop:
    return Hop(Peer(SERVICE.pub()), dh_secret=SECRET, dh_first_part=PUBLIC)


@pytest.mark.parametrize("payload_class", CLASSES, ids=lambda cls: cls.__name__)
@given(data=st.binary(max_size=400))
@settings(max_examples=60)
def test_random_bytes(payload_class: Any, data: bytes) -> None:
    try:
        payload, end = default_serializer.unpack_serializable(payload_class, data)
    except PackError:
        return
    assert default_serializer.pack_serializable(payload) == data[:end]


def test_a_genuine_answer() -> None:
    offer = accept_connection(CRYPTO, default_serializer, SERVICE, PUBLIC, 7, INFO)
    opened = open_answer(CRYPTO, default_serializer, hop(), offer.payload)
    assert opened is not None
    keys, meeting = opened
    assert keys.key_forward == offer.keys.key_forward
    assert (tuple(meeting.address), meeting.key, meeting.cookie) == (("1.2.3.4", 5), INFO.key, INFO.cookie)


@given(sealed=st.binary(max_size=200), key=st.binary(max_size=40), auth=st.binary(min_size=32, max_size=32))
@settings(max_examples=60)
def test_forged_answers(sealed: bytes, key: bytes, auth: bytes) -> None:
    assert open_answer(CRYPTO, default_serializer, hop(), CreatedE2EPayload(1, key, auth, sealed)) is None


@given(content=st.binary(max_size=200))
@settings(max_examples=40)
def test_answers_of_a_dishonest_service(content: bytes) -> None:
    """What it has sealed need not be a rendezvous info."""
    secret, half, auth = CRYPTO.generate_diffie_shared_secret(PUBLIC, SERVICE)
    sealed = CRYPTO.generate_session_keys(secret).encrypt_str(content, FORWARD)
    opened = open_answer(CRYPTO, default_serializer, hop(), CreatedE2EPayload(1, half, auth, sealed))
    assert opened is None or isinstance(opened[1], RendezvousInfo)


@pytest.mark.parametrize("position", range(0, 233, 7))
def test_changed_answers(position: int) -> None:
    offer = accept_connection(CRYPTO, default_serializer, SERVICE, PUBLIC, 7, INFO)
    packed = bytearray(default_serializer.pack_serializable(offer.payload))
    if position < 2:
        position = 4  # the identifier is not protected: it only finds the request
    packed[position % len(packed)] ^= 1
    try:
        changed, _ = default_serializer.unpack_serializable(CreatedE2EPayload, bytes(packed))
    except PackError:
        return
    if changed.identifier == 7:
        assert open_answer(CRYPTO, default_serializer, hop(), changed) is None


@given(key=st.binary(max_size=80))
@settings(max_examples=60)
def test_keys(key: bytes) -> None:
    is_service_key(key)
    tunnel_peer(key, ("1.2.3.4", 5))
    assert is_service_key(key + SERVICE.pub().key_to_bin()) == (not key)
