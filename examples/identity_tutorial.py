"""An authority, a holder and a verifier, each in a process of its own, on this machine only.

The authority issues a credential. The holder shows a part of it to the verifier, and proves to be an adult without
telling an age. Then the authority attests an attribute in a historic format, which the verifier lets itself be proved.
At last the authority revokes the credential.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

from ipv8.attestation.communication_manager import CommunicationManager
from ipv8.attestation.credentials.errors import CredentialError
from ipv8.attestation.credentials.exchange import IssueOrder, PresentationRequest
from ipv8.attestation.credentials.policy import Policy
from ipv8.attestation.credentials.ranges import Bound, Range
from ipv8.attestation.credentials.store import Held
from ipv8.configuration import ConfigBuilder
from ipv8.messaging.interfaces.udp.endpoint import UDPv4Address
from ipv8.peer import Peer
from ipv8.service import IPv8
from ipv8.util import strip_sha1_padding

ROLES = ("authority", "holder", "verifier")
PERSON = "https://example.org/credentials/person"


def issue(_: Peer, credential_type: str, details: dict[str, Any]) -> IssueOrder | None:
    """What the authority issues to somebody who asks."""
    if credential_type != PERSON or details.get("number") != 1234:
        return None
    return IssueOrder({"given_name": "Ann", "city": "Delft"}, ranges={"age": (Range(0, 150), 34)})


def tell(**message: Any) -> None:
    """Send a message to the process that has started this one."""
    print(json.dumps(message), flush=True)


def say(text: str) -> None:
    tell(say=text)


async def until(fact: Callable[[], Any]) -> None:
    while not fact():  # noqa: ASYNC110 - facts of several kinds
        await asyncio.sleep(0.05)


class Node:
    """One of the three processes."""

    async def hear(self, what: str) -> Any:
        """Wait for a message that says ``what``."""
        loop = asyncio.get_running_loop()
        while what not in self.heard:
            self.heard.update(json.loads(await loop.run_in_executor(None, sys.stdin.readline)))
        return self.heard[what]

    async def run(self, role: str) -> None:
        self.heard: dict[str, Any] = {}
        builder = ConfigBuilder().clear_keys().clear_overlays().set_address("127.0.0.1").set_port(0)
        with tempfile.TemporaryDirectory() as directory:
            async with IPv8(builder.finalize()) as ipv8:
                manager = CommunicationManager(ipv8, f"{directory}/pseudonyms", directory, bootstrappers=[])
                self.channel = await manager.load(role)
                self.credentials = self.channel.credentials
                if role == "authority":
                    self.credentials.set_issue_callback(issue)  # before anybody can ask
                overlay = self.channel.identity_overlay
                tell(role=role, key=self.channel.public_key_bin.hex(), port=overlay.endpoint.get_address()[1])

                nodes = await self.hear("nodes")
                keys = {name: bytes.fromhex(node["key"]) for name, node in nodes.items()}
                for name, node in nodes.items():
                    if name != role:
                        overlay.walk_to(UDPv4Address("127.0.0.1", node["port"]))
                await until(lambda: len(overlay.get_peers()) == len(nodes) - 1)
                self.peers = {peer_role: peer for peer in overlay.get_peers() for peer_role, key in keys.items()
                              if peer.key_bin == key}
                await getattr(self, role)()
                await self.hear("end")
                await manager.shutdown()

    # The three roles

    async def authority(self) -> None:
        say("waits for those who ask for credentials")
        await until(lambda: self.channel.attestation_requests)
        peer, name = next(iter(self.channel.attestation_requests))
        say(f"attests the {name} of the holder, in a historic format")
        self.channel.attest(peer, name, b"red")
        await self.hear("revoke")
        (issued,) = self.credentials.store.issued_by(self.channel.identity_overlay.my_peer.public_key)
        self.credentials.revoke(issued.id)
        # Others ask for a new list when theirs has expired, after an hour. Here it is sent to them.
        number = self.credentials.own_status_list(issued.status // 4096)
        say("has revoked the credential")
        tell(status=number.to_bytes().hex())

    async def holder(self) -> None:
        held = await self.credentials.request_credential(self.peers["authority"], PERSON, {"number": 1234})
        say(f"has a credential with the claims {sorted(held.values)}, and ranges for {sorted(held.ranges)}")
        say(f"can export it as an SD-JWT of {len(self.credentials.export(held.id))} characters")

        def choose(_: Peer, request: PresentationRequest) -> Held | None:
            say(f"is asked for {list(request.claims)} and {', '.join(map(str, request.bounds))}: {request.purpose}")
            return next(iter(self.credentials.find(request)), None)

        self.credentials.set_presentation_callback(choose)

        self.channel.request_attestation(self.peers["authority"], "favourite colour", "id_metadata", {})
        await until(lambda: any(attesters for _, _, attesters in self.channel.get_my_attributes().values()))
        (attribute_hash,) = self.channel.get_my_attributes()
        tell(ready=strip_sha1_padding(attribute_hash).hex())
        await until(lambda: self.channel.verify_requests)
        peer, name = next(iter(self.channel.verify_requests))
        say(f"lets its {name} be verified")
        self.channel.allow_verification(peer, name)

    async def verifier(self) -> None:
        attribute_hash = bytes.fromhex(await self.hear("ready"))
        request = PresentationRequest(types=[PERSON], claims=["given_name"], bounds=[Bound("age", True, 18)],
                                      purpose="only adults may enter")
        policy = Policy(issuers=[self.peers["authority"].public_key])
        proven = await self.credentials.request_presentation(self.peers["holder"], request, policy)
        say(f"knows by the authority: {dict(proven.claims)} and {', '.join(map(str, proven.bounds))}")

        self.channel.verify(self.peers["holder"], attribute_hash, [b"red", b"blue"], "id_metadata")
        await until(lambda: all(match is not None
                                for _, match in self.channel.verification_output[attribute_hash]))
        for value, match in self.channel.verification_output[attribute_hash]:
            say(f"is {match or 0:.0%} certain that the colour is {value.decode()}")

        tell(revoke=True)
        self.credentials.remember_status(bytes.fromhex(await self.hear("status")))
        try:
            await self.credentials.request_presentation(self.peers["holder"], request, policy)
        except CredentialError as e:
            say(f"refuses: {e}")
        tell(end=True)


async def main() -> int:
    """Start the three processes, and pass on what they tell."""
    processes = [await asyncio.create_subprocess_exec(sys.executable, __file__, role, stdin=asyncio.subprocess.PIPE,
                                                      stdout=asyncio.subprocess.PIPE) for role in ROLES]
    nodes: dict[str, Any] = {}

    def pass_on(message: dict[str, Any]) -> None:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(message).encode() + b"\n")

    async def listen(role: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            message = json.loads(line)
            if "say" in message:
                print(f"The {role} {message['say']}.", flush=True)
            elif "role" in message:
                nodes[message["role"]] = message
                if len(nodes) == len(ROLES):
                    pass_on({"nodes": nodes})
            else:
                pass_on(message)

    await asyncio.gather(*map(listen, ROLES, processes))
    return max([await process.wait() for process in processes])


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The identity format")  # of the historic format
    parser = argparse.ArgumentParser(description="An authority, a holder and a verifier exchange credentials.")
    parser.add_argument("role", nargs="?", choices=ROLES, help="be only this one, as the program starts itself")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(Node().run(arguments.role) if arguments.role else main()))
