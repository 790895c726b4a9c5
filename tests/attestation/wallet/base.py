"""Wallets that test cases use."""

from __future__ import annotations

import asyncio
from typing import Any

from ipv8.attestation.wallet.community import AttestationCommunity, AttestationSettings
from ipv8.test.base import TestBase
from ipv8.test.mocking.ipv8 import MockIPv8

from .vectors import SAMPLES

VALUE = bytes.fromhex(SAMPLES["id_metadata"]["value"])
HASH = bytes.fromhex(SAMPLES["id_metadata"]["attestation_hash"])


class WalletTestBase(TestBase[Any]):
    """Node 0 is a subject, node 1 an authority or verifier; further nodes are anybody."""

    count = 2

    def setUp(self) -> None:
        super().setUp()
        self.initialize(AttestationCommunity, self.count)

    def create_node(self, *args: Any) -> MockIPv8:
        return MockIPv8("curve25519", AttestationCommunity, AttestationSettings(working_directory=":memory:"))

    async def deliver_messages(self, timeout: float = 1.5) -> None:
        """Deliver all messages, also on a busy machine, without waiting for what is sent again after two seconds."""
        await super().deliver_messages(timeout)

    def give(self, i: int = 0, id_format: str = "id_metadata") -> bytes:
        """Put the sample attestation of a format into a wallet; its hash."""
        sample, overlay = SAMPLES[id_format], self.overlay(i)
        algorithm = overlay.get_id_algorithm(id_format)
        key = algorithm.load_secret_key(bytes.fromhex(sample["secret_key"]))
        attestation = algorithm.get_attestation_class().unserialize_private(
            key, bytes.fromhex(sample["blob"]), id_format)
        attestation_hash = bytes.fromhex(sample["attestation_hash"])
        overlay.database.insert_attestation(attestation, attestation_hash, key, id_format)
        overlay.attestation_keys[attestation_hash] = key, id_format
        return attestation_hash

    async def until(self, fact: Any) -> None:
        """Wait for a fact, which takes long on a busy machine."""
        for _ in range(2000):
            if fact():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it does not come true")

    def key(self, id_format: str = "id_metadata", i: int = 0) -> Any:
        """A new private key."""
        return self.overlay(i).get_id_algorithm(id_format).generate_secret_key()

    def drops(self, i: int) -> dict[str, int]:
        """What node ``i`` dropped."""
        return dict(self.overlay(i).drops)
