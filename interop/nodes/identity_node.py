"""A node with a pseudonym that a test commands; it runs with this library and with ``pyipv8``."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from interop.nodes.commanded import CommandedNode
from ipv8.attestation.communication_manager import CommunicationChannel
from ipv8.attestation.identity.community import IdentityCommunity, IdentitySettings
from ipv8.attestation.wallet.community import AttestationCommunity, AttestationSettings
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.peerdiscovery.network import Network


class PacketCounter(EndpointListener):
    """Counts the packets of the identity overlay."""

    def __init__(self, node: Any, endpoint: Any) -> None:
        super().__init__(endpoint)
        self.node = node

    def on_packet(self, packet: Any) -> None:
        """Count one."""
        if packet[1].startswith(self.node.identity.get_prefix()):
            self.node.packets += 1


class Node(CommandedNode):
    """An identity overlay and a wallet on one socket, with a channel over both."""

    def start(self, endpoint: Any) -> list[Any]:
        """Make the overlays."""
        parts: Any = {"my_peer": self.me, "endpoint": endpoint, "network": Network(), "working_directory": ":memory:"}
        self.identity: Any = IdentityCommunity(IdentitySettings(**parts))
        self.wallet: Any = AttestationCommunity(AttestationSettings(**parts))
        self.channel: Any = CommunicationChannel(self.wallet, self.identity)
        self.packets = 0
        endpoint.add_listener(PacketCounter(self, endpoint))
        return [self.wallet, self.identity]

    async def obey(self, do: str, **details: Any) -> Any:  # noqa: C901 - a list of commands
        """Carry out one command; its result is told as an event of the same name."""
        peer: Any = self.peer(details) if "key" in details else None
        if do == "know":
            for overlay in (self.identity, self.wallet):
                overlay.network.add_verified_peer(peer)
                overlay.network.discover_services(peer, [overlay.community_id])
        elif do == "expect":
            self.identity.add_known_hash(bytes.fromhex(details["hash"]), details["name"], bytes.fromhex(details["key"]),
                                         details.get("metadata"))
        elif do == "describe":
            self.identity.self_advertise(bytes.fromhex(details["hash"]), details["name"])
        elif do == "advertise":
            self.identity.request_attestation_advertisement(peer, bytes.fromhex(details["hash"]), details["name"],
                                                            metadata=details.get("metadata"))
        elif do == "disclose":
            # Tells what an authority has attested to somebody else.
            await self._disclose(peer, bytes.fromhex(details["hash"]))
        elif do == "attributes":
            owner = peer or self.me
            found = self.channel.get_attributes(owner)
            return sorted([attribute_hash.hex(), name, sorted(attester.hex() for attester in attesters)]
                          for attribute_hash, (name, _, attesters) in found.items())
        elif do == "tokens":
            pseudonym = self.identity.identity_manager.get_pseudonym(peer.public_key)
            return len(pseudonym.tree.elements)
        elif do == "packets":
            return self.packets
        elif do == "request":
            self.channel.request_attestation(peer, details["name"], "id_metadata", details["metadata"])
        elif do == "requests":
            return [[other.public_key.key_to_bin().hex(), name] for other, name in self.channel.attestation_requests]
        elif do == "attest":
            self.channel.attest(peer, details["name"], bytes.fromhex(details["value"]))
        elif do == "verify":
            self.channel.verify(peer, bytes.fromhex(details["hash"]), [bytes.fromhex(details["value"])], "id_metadata")
        elif do == "verifications":
            return [[other.public_key.key_to_bin().hex(), name] for other, name in self.channel.verify_requests]
        elif do == "allow":
            self.channel.allow_verification(peer, details["name"])
        elif do == "results":
            return [certainty for outputs in self.channel.verification_output.values() for _, certainty in outputs]
        elif do == "ask for a credential":
            exchange = self.identity.credentials
            await exchange.request_credential(peer, "urn:example:test", timeout=details["patience"])
        else:
            raise ValueError(do)
        return None

    async def _disclose(self, peer: Any, attribute_hash: bytes) -> None:
        from ipv8.attestation.identity.payload import DisclosePayload

        manager = self.identity.pseudonym_manager
        for credential in manager.get_credentials():
            if manager.tree.elements[credential.metadata.token_pointer].content_hash == attribute_hash:
                chosen = {attestation.get_hash() for attestation in credential.attestations}
                self.identity.ez_send(peer, DisclosePayload(*manager.disclose_credentials([credential], chosen)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The identity format")
    asyncio.run(Node().run())
