"""A market on TrustChain: seven people trade, and one of them sells the same thing twice.

Everybody else detects that from the packets that arrive, tells the others once, and does not deal with the cheater any
more. Run it on real sockets of this machine, or in a simulated network with virtual time::

    python -m examples.market
    python -m examples.market --simulate --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ipv8 import clock
from ipv8.attestation.trustchain.community import TrustChainCommunity
from ipv8.attestation.trustchain.settings import TrustChainSettings
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.messaging.interfaces.endpoint import EndpointListener
from ipv8.messaging.interfaces.udp.endpoint import UDPEndpoint
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.test.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipv8.attestation.trustchain.block import TrustChainBlock

HONEST = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
CHEATER = "mallory"
TRADE = b"trade"
PREFIX_SIZE = 22
BLOCK_MESSAGES = range(1, 8)
PATIENCE = 10.0
"""Seconds for which anything is waited for."""

ROUNDS = 3
SETTINGS: dict[str, Any] = {"working_directory": ":memory:", "trust_graph": True, "trust_walks": 2000}


def bound(honest: int) -> int:
    """The most messages with blocks that arrive between the second sale and the end of all traffic about it.

    Each buyer answers the cheater, and tells everybody of the sale; then each of the honest tells everybody of the
    proof, once. Everybody has at most ``honest`` peers, the cheater among them.
    """
    return 2 + 2 * (1 + honest) + honest * honest


class MessageCounter(EndpointListener):
    """Counts the messages with blocks that arrive at an endpoint."""

    def __init__(self, endpoint: Any) -> None:
        super().__init__(endpoint)
        self.count = 0
        endpoint.add_listener(self)

    def on_packet(self, packet: tuple[Any, bytes]) -> None:
        _, data = packet
        self.count += len(data) > PREFIX_SIZE and data[PREFIX_SIZE] in BLOCK_MESSAGES


class Trader(TrustChainCommunity):
    """Buys whatever is offered, and knows nothing but what arrives in packets."""

    community_id = b"the market of ipv8 ."  # type: ignore[misc]  # that of the base class is a class variable

    def __init__(self, settings: TrustChainSettings) -> None:
        super().__init__(settings)
        self.name = "somebody"
        self.counter = MessageCounter(self.endpoint)
        self.on_block(TRADE, sign=True)(lambda _: None)  # buys, and does nothing else about it
        self.add_fraud_callback(self.on_fraud)
        self.detected = asyncio.Event()
        self.detected_at = 0.0
        self.proof: tuple[TrustChainBlock, TrustChainBlock] | None = None

    def on_fraud(self, _: bytes, block1: TrustChainBlock, block2: TrustChainBlock) -> None:
        self.proof = block1, block2
        self.detected_at = clock.monotonic()
        self.detected.set()

    def as_peer(self, other: Trader) -> Peer:
        """Another trader, as this one has met them."""
        peer = self.network.get_verified_by_public_key_bin(other.my_key_bin)
        assert peer is not None, f"{self.name} has not met {other.name}"
        return peer

    async def sell(self, buyer: Trader, thing: str, price: int, timeout: float = PATIENCE) -> None:
        await self.propose(self.as_peer(buyer), TRADE, {"thing": thing, "price": price}, timeout=timeout)


class Cheater(Trader):
    """Tries to sell one thing to two people."""

    async def sell_twice(self, one: Trader, other: Trader, thing: str, price: int) -> None:
        """Sign two blocks for the same height, each for another buyer, and show neither of them to anybody else."""
        self.settings.block_types_bc_disabled.add(TRADE)
        for buyer in (one, other):
            latest = self.persistence.get_latest(self.my_key_bin)
            if buyer is other and latest is not None:
                self.persistence.remove_block(latest)  # as if nothing had been signed
            signed = self.sign_block(self.as_peer(buyer), buyer.my_key_bin, TRADE, {"thing": thing, "price": price})
            signed.cancel()  # the block is on its way; nobody waits for the answer
            await asyncio.sleep(0)


async def meet(traders: Sequence[Trader], addresses: Sequence[Any]) -> None:
    """Let everybody greet everybody."""
    async def find_the_others(trader: Trader) -> None:
        while len(trader.get_peers()) < len(traders) - 1:
            for address in addresses:
                if address != trader.my_peer.address and trader.network.get_verified_by_address(address) is None:
                    trader.walk_to(address)
            await asyncio.sleep(0.05)

    await asyncio.wait_for(asyncio.gather(*map(find_the_others, traders)), PATIENCE)


async def quiet(traders: Sequence[Trader]) -> None:
    """Wait until no more messages arrive for a while."""
    before = -1
    while before != (before := sum(trader.counter.count for trader in traders)):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.5)


async def refused(action: Any, reason: type[BaseException]) -> bool:
    try:
        await action
    except reason:
        return True
    return False


def view(trader: Trader, traders: Sequence[Trader]) -> str:
    """Whom a trader trusts how far, the most trusted first."""
    scores = {other.name: trader.trust_of(other.my_key_bin) for other in traders if other is not trader}
    return ", ".join(f"{name} {score:.2f}" for name, score in sorted(scores.items(), key=lambda item: -item[1]))


async def story(traders: Sequence[Trader], addresses: Sequence[Any], say: Callable[[str], object]) -> int:
    """Trade, cheat, detect and shun; returns how many messages with blocks the detection took.

    :raises AssertionError: if somebody honest does not detect the cheater, still deals with them, or it takes too many
        messages.
    """
    *honest, cheater = traders
    assert isinstance(cheater, Cheater)
    await meet(traders, addresses)
    say(f"{len(traders)} traders have met: {', '.join(trader.name for trader in traders)}.")

    for turn in range(ROUNDS):
        for place, seller in enumerate(traders):
            await seller.sell(traders[(place + turn + 1) % len(traders)], "bread", 1 + turn)
    await quiet(traders)
    carol = honest[2]
    say(f"Each of them has sold bread {ROUNDS} times, and both sides have signed. "
        f"{carol.name} trusts: {view(carol, traders)}.")

    before = sum(trader.counter.count for trader in traders)
    started = clock.monotonic()
    alice, bob = honest[:2]
    await cheater.sell_twice(alice, bob, "the bicycle", 40)
    say(f"\n{cheater.name} sells the bicycle to {alice.name}, and the same bicycle to {bob.name}: two blocks for one "
        f"height of the chain, each shown to one buyer only.")
    await asyncio.wait_for(asyncio.gather(*(trader.detected.wait() for trader in honest)), PATIENCE)
    for trader in sorted(honest, key=lambda trader: trader.detected_at):
        assert trader.proof is not None
        one, other = trader.proof
        assert one.public_key == other.public_key == cheater.my_key_bin
        assert one.sequence_number == other.sequence_number
        assert one.hash != other.hash
        say(f"  after {1000 * (trader.detected_at - started):6.1f} ms {trader.name:6} has both blocks for height "
            f"{one.sequence_number}, signed by {cheater.name}: a proof")
    await quiet(traders)
    messages = sum(trader.counter.count for trader in traders) - before
    limit = bound(len(honest))
    say(f"All {len(honest)} know. It took {messages} messages; at most {limit} are possible.")
    assert messages <= limit, f"{messages} messages, and {limit} should be the most"

    say(f"\n{cheater.name} tries to go on:")
    offers = await asyncio.gather(*(refused(cheater.sell(trader, "a lamp", 5, timeout=1.0), asyncio.TimeoutError)
                                    for trader in honest))
    for trader, shunned in zip(honest, offers, strict=True):
        shuns = shunned and await refused(trader.sell(cheater, "a lamp", 5), RuntimeError)
        assert shuns, f"{trader.name} still deals with {cheater.name}"
        assert trader.trust_of(cheater.my_key_bin) == 0.0
    say("  nobody signs, and nobody offers anything.")
    await carol.sell(honest[3], "cheese", 3)
    say(f"The others trade on. {carol.name} trusts: {view(carol, traders)}.")
    return messages


def named(traders: Sequence[Trader]) -> Sequence[Trader]:
    for trader, name in zip(traders, (*HONEST, CHEATER), strict=True):
        trader.name = name
    return traders


async def on_sockets(say: Callable[[str], object] = print) -> int:
    """The story on real sockets of this machine."""
    endpoints = []
    traders: list[Trader] = []
    try:
        for name in (*HONEST, CHEATER):
            endpoint = UDPEndpoint(port=0, ip="127.0.0.1")
            await endpoint.open()
            endpoints.append(endpoint)
            me = Peer(default_eccrypto.generate_key("curve25519"), endpoint.get_address())
            trader_class = Cheater if name == CHEATER else Trader
            settings = TrustChainSettings(my_peer=me, endpoint=endpoint, network=Network(), **SETTINGS)
            traders.append(trader_class(settings))
        return await story(named(traders), [endpoint.get_address() for endpoint in endpoints], say)
    finally:
        for trader in traders:
            await trader.unload()
        for endpoint in endpoints:
            endpoint.close()


def simulated(seed: int | str | None = None, say: Callable[[str], object] = print) -> int:
    """The story in a simulated network; the same seed gives the same story."""
    with Simulation(seed=seed) as sim:
        nodes = [sim.add_node(Cheater if name == CHEATER else Trader, name=name, walkers=(), **SETTINGS)
                 for name in (*HONEST, CHEATER)]
        traders: list[Any] = [node.overlays[0] for node in nodes]
        addresses = [node.host.public_address(node.port) for node in nodes]
        return sim.wait_for(story(named(traders), addresses, say))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.market", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", action="store_true", help="use a simulated network and virtual time")
    parser.add_argument("--seed", type=int, help="of the simulation, to repeat it")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # the story says what happens
    try:
        if options.simulate:
            simulated(options.seed)
        else:
            asyncio.run(on_sockets())
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
