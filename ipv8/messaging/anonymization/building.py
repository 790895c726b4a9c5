"""How this node builds its circuits, hop by hop (doc/protocol/tunnels.md sections 4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import entropy
from ...peer import Peer
from ..address import UDPv4Address, has_network_address
from ..interfaces.network_stats import DropCounter
from .base import unpack_cell
from .build import BLOCK_SIZE, MAX_BUILT_HOPS, Answer, PlannedHop, make_block, open_answer
from .caches import RetryRequestCache
from .crypto import CryptoException, scatter_counters
from .exit_policy import is_reachable_address
from .path import by_trust
from .payload import CreatedPayload, CreatePayload, ExtendedPayload, ExtendPayload
from .removal import TunnelRemoval
from .settings import MAX_HOPS, own_setting
from .tunnel import (
    CIRCUIT_STATE_CLOSING,
    CIRCUIT_STATE_EXTENDING,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_DATA,
    CIRCUIT_TYPE_IP_SEEDER,
    CIRCUIT_TYPE_RP_SEEDER,
    PEER_FLAG_BUILD,
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_EXIT_IPV8,
    PEER_FLAG_RELAY,
    Circuit,
    Hop,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ...keyvault.keys import PrivateKey
    from ..address import Address
    from .handshake import CandidateList
    from .settings import TunnelSettings

__all__ = ["CircuitBuilder", "at_present_address"]

ZERO = ("0.0.0.0", 0)  # noqa: S104 - stands for "no address" on the wire

CIRCUIT_ID_BITS = 32


class CircuitBuilder(TunnelRemoval):
    """Builds the circuits of this node."""

    def __init__(self, settings: TunnelSettings) -> None:
        super().__init__(settings)
        self.add_cell_handler(ExtendedPayload, self.on_extended)

    # Which circuit

    def select_exit(self, exit_flags: Collection[int] | None = None, ctype: str = CIRCUIT_TYPE_DATA) -> Peer | None:
        """A random node that can be the last hop of a circuit, if there is one.

        :param exit_flags: what it must offer; by default what circuits of this type need.
        """
        wanted: tuple[tuple[int, ...], ...]
        if exit_flags:
            wanted = (tuple(exit_flags),)
        elif ctype == CIRCUIT_TYPE_DATA:
            wanted = ((PEER_FLAG_EXIT_BT,),)
        elif ctype == CIRCUIT_TYPE_IP_SEEDER:
            wanted = ((PEER_FLAG_EXIT_BT,), (PEER_FLAG_EXIT_IPV8,), (PEER_FLAG_RELAY,))
        else:
            wanted = ((PEER_FLAG_RELAY,), (PEER_FLAG_EXIT_BT,))
        for flags in wanted:
            compatible = self.compatible_candidates()
            exits = self.path.usable(peer for peer in self.get_candidates(*flags) if peer in compatible)
            if exits:
                return entropy.choice(exits)
        return None

    def create_circuit(self, goal_hops: int, ctype: str = CIRCUIT_TYPE_DATA,
                       exit_flags: Collection[int] | None = None, required_exit: Peer | None = None,
                       info_hash: bytes | None = None) -> Circuit | None:
        """Begin to build a circuit, and return it at once: see :attr:`Circuit.ready`.

        :param goal_hops: how many hops it shall have, 1 to 8.
        :param ctype: ``CIRCUIT_TYPE_*``, or the name of a purpose of the program's own.
        :param exit_flags: what the last hop must offer, as ``PEER_FLAG_*``; this comes before ``required_exit``.
        :param required_exit: the last hop.
        :param info_hash: of the hidden service that the circuit is for.
        :returns: ``None`` if no such circuit can be built now.
        """
        if not 1 <= goal_hops <= MAX_HOPS:
            self.logger.error("A circuit has 1 to %d hops, not %d", MAX_HOPS, goal_hops)
            return None
        if self.is_unloading:
            return None
        if ctype == CIRCUIT_TYPE_IP_SEEDER and required_exit is None:
            required_exit = self.select_exit(ctype=ctype)
        elif exit_flags:
            required_exit = self.select_exit(exit_flags=exit_flags)
            if required_exit is None:
                self.logger.debug("No circuit: no node is known that offers %s", exit_flags)
                return None
        first_hops = self._first_hops(goal_hops, ctype, required_exit)
        if not first_hops:
            self.logger.debug("No circuit: no node is known that can be the first one (hops: %d)", goal_hops)
            return None
        circuit_id = self._generate_circuit_id()
        circuit = Circuit(circuit_id, goal_hops, ctype, required_exit, info_hash)
        self.circuits[circuit_id] = circuit
        self._publish_circuit("created", circuit)
        self.send_initial_create(circuit, first_hops,
                                 int(self.settings.circuit_timeout // self.settings.next_hop_timeout))
        return circuit

    def _first_hops(self, goal_hops: int, ctype: str, required_exit: Peer | None) -> list[Peer]:
        self.guard_file.follow()
        compatible = self.compatible_candidates()
        if goal_hops > 1 or (ctype == CIRCUIT_TYPE_RP_SEEDER and required_exit is None):
            # Strangers can make a service build circuits to rendezvous points, so that they must be few.
            first_hops = self.path.first_hops(compatible, goal_hops, ctype, required_exit)
            self.save_guards()
            return first_hops
        last = required_exit or self.select_exit(ctype=ctype)
        return [] if last is None else [last]

    def compatible_candidates(self) -> dict[Peer, Collection[int]]:
        """The candidates that can be hops, with what they offer. Trust decides too, if it is preferred."""
        compatible = {peer: self.candidates[peer] for peer in self.get_candidates()
                      if has_network_address(peer.address)}
        return by_trust(compatible, self.trust) if self.prefer_trusted and self.trust is not None else compatible

    def _told_address(self, peer: Peer) -> Address:
        """Where another node reaches ``peer``, as far as this node can tell; otherwise no address.

        It is an IPv4 address if one is known, as not all nodes have IPv6.
        """
        address = peer.addresses.get(UDPv4Address, peer.address)
        return address if is_reachable_address(address, self.endpoint) else ZERO

    def save_guards(self) -> None:
        """Write the guards into their file, if they have changed."""
        if self.guard_file.is_due:
            self.guard_file.follow()
        if self.guard_file.is_due and not self.is_pending_task_active("save guards"):
            self.register_executor_task("save guards", self.guard_file.save)

    def _generate_circuit_id(self) -> int:
        """A random number that no circuit on any link of this node has."""
        while True:
            circuit_id = entropy.randbits(CIRCUIT_ID_BITS)
            if circuit_id and not self.is_known_circuit(circuit_id):
                return circuit_id

    # The next hop

    def send_initial_create(self, circuit: Circuit, candidate_peers: list[Peer], max_tries: int) -> None:
        """Ask the first of some nodes to be the first hop; if it does not answer, the others are asked.

        :param max_tries: how many nodes are asked at most.
        """
        self._forget_try(circuit)
        first, *others = candidate_peers
        circuit.unverified_hop = hop = self._new_hop(at_present_address(first))
        block = self._plan(circuit, hop)
        cache = self.request_cache.add(RetryRequestCache(self, circuit, others, max_tries - 1,
                                                         self.send_initial_create, self.settings.next_hop_timeout))
        if cache is not None:
            self.send_cell_and_rest(first.address, CreatePayload(
                circuit.circuit_id, cache.packet_identifier, self.my_peer.public_key.key_to_bin(),
                hop.dh_first_part), block)

    def send_extend(self, circuit: Circuit, candidates: list[bytes], max_tries: int) -> None:
        """Ask the last hop to extend a circuit to one of some nodes, or to the last hop that the circuit must have.

        :param candidates: public keys, the preferred one first.
        :param max_tries: how many nodes are asked at most.
        """
        is_last = circuit.goal_hops - 1 == len(circuit.hops)
        self._forget_try(circuit)
        first_hop = circuit.hop
        if first_hop is None or circuit.state == CIRCUIT_STATE_CLOSING:
            return
        others: list[bytes] = []
        address: Address = ZERO
        peer: Peer | None = None
        if is_last and circuit.required_exit is not None:
            peer = circuit.required_exit
            address = self._told_address(peer)
        else:
            usable = self._can_follow(circuit, candidates)
            if usable:
                peer, *rest = usable
                others = [other.public_key.key_to_bin() for other in rest]
                address = self._told_address(peer)
        if peer is None:
            self.remove_circuit(circuit.circuit_id, "no candidates to extend")
            return
        circuit.unverified_hop = hop = self._new_hop(peer)
        block = self._plan(circuit, hop)
        cache = self.request_cache.add(RetryRequestCache(self, circuit, others, max_tries - 1, self.send_extend,
                                                         self.settings.next_hop_timeout))
        if cache is not None:
            self.send_cell_and_rest(first_hop.address, ExtendPayload(
                circuit.circuit_id, cache.packet_identifier, hop.public_key_bin, hop.dh_first_part, address), block)

    def _can_follow(self, circuit: Circuit, candidates: Iterable[bytes]) -> list[Peer]:
        """The nodes with these public keys that can be the next hop of a circuit, with their addresses if known."""
        known = {peer.public_key.key_to_bin(): peer for peer in self.candidates}
        path = [hop.peer for hop in circuit.hops]
        if circuit.required_exit is not None:
            path.append(circuit.required_exit)
        own = self.my_peer.public_key.key_to_bin()
        usable = []
        for key_bin in candidates:
            peer = known.get(key_bin) or self._stranger(key_bin)
            if peer is not None and key_bin != own and not self.path.conflicts(peer, path):
                usable.append(peer)
        return usable

    def _stranger(self, key_bin: bytes) -> Peer | None:
        """A node that is only known by its public key, which others named; ``None`` if that is no such key."""
        try:
            peer = Peer(key_bin)
        except ValueError:
            return None
        return peer if self.crypto.is_key_compatible(peer.public_key) else None

    def _new_hop(self, peer: Peer) -> Hop:
        secret, half = self.crypto.generate_diffie_secret()
        flags = self.candidates.get(peer)
        return Hop(peer, flags=None if flags is None else list(flags), dh_first_part=half, dh_secret=secret)

    # In one pass

    def _plan(self, circuit: Circuit, hop: Hop) -> bytes:
        """Choose the hops behind ``hop`` that are asked in the same pass; the block that makes it ask them.

        The block is random, which no other node can tell, if there are no such hops, and empty if ``hop`` takes no part
        in this.
        """
        circuit.planned = []
        if not own_setting(self.settings, "single_pass") or not _takes_part(hop):
            return b""
        candidates = self.compatible_candidates()
        path = [*(other.peer for other in circuit.hops), hop.peer]
        while len(path) < circuit.goal_hops and len(circuit.planned) < MAX_BUILT_HOPS - 1:
            if circuit.required_exit is not None and circuit.goal_hops - 1 == len(path):
                following: Peer | None = circuit.required_exit
            else:
                following = next(iter(self.path.next_hops(circuit, candidates, path)), None)
            if following is None:
                # The hop before must propose one, which it does not do if there is a block.
                if not circuit.planned:
                    return b""
                circuit.planned.pop()
                break
            planned = self._new_hop(following)
            if not _takes_part(planned) or self._told_address(following) == ZERO:
                break
            circuit.planned.append(planned)
            path.append(planned.peer)
        self.save_guards()
        filling = entropy.randbytes(BLOCK_SIZE)
        if not circuit.planned:
            return filling
        # Relays count them as cells that extend the circuit.
        circuit.relay_early_count += len(circuit.planned)
        return make_block([PlannedHop(other.public_key_bin, self._told_address(other.peer), other.dh_first_part or b"",
                                      _secret_of(other).diffie_hellman(other.public_key.get_crypt_pk()))
                           for other in (hop, *circuit.planned)], filling)

    def _forget_try(self, circuit: Circuit) -> None:
        if self.request_cache.has("retry", circuit.circuit_id):
            self.request_cache.pop("retry", circuit.circuit_id)

    # Answers

    def on_own_created(self, source_address: Address, payload: CreatedPayload, circuit_id: int) -> None:
        """Complete the first hop of a circuit, if the node that was asked answers."""
        circuit = self.circuits.get(circuit_id)
        if circuit is None or circuit.hops:
            self.drops.count(DropCounter.UNSOLICITED)
        elif self._is_awaited(circuit, source_address, payload.identifier):
            self._ours_on_created_extended(circuit_id, payload)

    @unpack_cell(ExtendedPayload)
    def on_extended(self, source_address: Address, payload: ExtendedPayload, circuit_id: int) -> None:
        """Complete a further hop of a circuit."""
        circuit = self.circuits.get(circuit_id)
        if circuit is None or not circuit.hops:
            self.drops.count(DropCounter.UNSOLICITED)
        elif self._is_awaited(circuit, source_address, payload.identifier):
            self._ours_on_created_extended(circuit_id, payload)

    def _is_awaited(self, circuit: Circuit, source_address: Address, identifier: int) -> bool:
        """Whether an answer is to the present request for a hop of a circuit, and comes from its first hop."""
        cache = self.request_cache.get(RetryRequestCache, circuit.circuit_id)
        hop = circuit.hop
        if (cache is not None and cache.packet_identifier == identifier and cache.circuit is circuit
                and circuit.state == CIRCUIT_STATE_EXTENDING and hop is not None and hop.address == source_address):
            return True
        self.drops.count(DropCounter.UNSOLICITED)
        return False

    def _ours_on_created_extended(self, circuit_id: int, payload: CreatedPayload | ExtendedPayload) -> None:
        """Verify and add the hop that answered, and ask for the next one if one is missing.

        Who answered must have the key of the node that was asked, as its list of candidates can be decrypted. An answer
        without that proof changes nothing.
        """
        circuit = self.circuits[circuit_id]
        hop = circuit.unverified_hop
        if hop is None or hop.dh_secret is None:
            self.logger.debug("The circuit %d waits for no hop", circuit_id)
            return
        try:
            candidates, answer = self._verify(hop, payload.key, payload.auth, payload.candidates_enc)
        except CryptoException as e:
            self.drops.count(e.reason)
            if not circuit.hops:
                return  # anybody can send an answer in clear; the node that was asked may still answer
            self.note_unanswered(circuit)
            self.remove_circuit(circuit_id, "error while verifying shared secret")
            return
        self._add_hop(circuit, hop)
        for planned in circuit.planned:
            try:
                if answer is None:
                    raise CryptoException("the hop before did not answer for it", DropCounter.NOT_AUTHENTIC)
                candidates, answer = self._verify(planned, *answer)
            except CryptoException:  # the hop was not reached: the circuit is extended from the one before
                self._note_not_reached(circuit, planned)
                break
            self._add_hop(circuit, planned)
        circuit.planned = []
        circuit.beat_heart()
        self.circuits.get(circuit_id)  # tells a crypto endpoint outside of this process what has changed
        self._go_on(circuit, candidates)

    def _add_hop(self, circuit: Circuit, hop: Hop) -> None:
        """Add a hop that is verified."""
        if circuit.hops:
            self.path.back_off.note_extended(circuit.hops[-1].public_key_bin)
        self.path.back_off.note_success(hop.public_key_bin)
        circuit.unverified_hop = None
        hop.dh_secret = None
        circuit.add_hop(hop)
        self._publish_circuit("extended", circuit)

    def _verify(self, hop: Hop, key: bytes, auth: bytes, sealed: bytes) -> tuple[CandidateList, Answer | None]:
        """Give a hop its keys, if it proves that it is the one that was asked.

        :param key: what the hop answered: its half of the key agreement, the code for it, and what is sealed.
        :returns: the candidates that the hop proposes, and what the next hop has answered, if it was asked.
        :raises CryptoException: if it is another node.
        """
        secret = self.crypto.verify_and_generate_shared_secret(_secret_of(hop), key, auth,
                                                               hop.public_key.get_crypt_pk())
        keys = self.crypto.generate_session_keys(secret)
        candidates, answer = open_answer(keys, secret, sealed)
        scatter_counters(keys)
        hop.keys = keys
        return candidates, answer

    def _go_on(self, circuit: Circuit, proposed: CandidateList) -> None:
        """Ask for the next hop of a circuit, or note that it has all."""
        if circuit.state == CIRCUIT_STATE_READY:
            self._forget_try(circuit)
            self._publish_circuit("ready", circuit)
            self.on_circuit_ready(circuit)
        elif circuit.state == CIRCUIT_STATE_EXTENDING:
            cache = self.request_cache.get(RetryRequestCache, circuit.circuit_id)
            self.send_extend(circuit, self._next_candidates(circuit, proposed), 1 if cache is None else cache.max_tries)

    def _next_candidates(self, circuit: Circuit, proposed: CandidateList) -> list[bytes]:
        """The public keys of the nodes that can be the next hop: those of this node's own candidates, if there are.

        Otherwise those that the last hop proposes.
        """
        own = [peer.public_key.key_to_bin() for peer in self.path.next_hops(circuit, self.compatible_candidates())]
        self.save_guards()
        if own:
            return own
        if circuit.goal_hops - 1 == len(circuit.hops):
            return proposed.exits
        return proposed.relays or proposed.exits

    def on_circuit_ready(self, circuit: Circuit) -> None:
        """Called when a circuit has all of its hops; for subclasses and parts."""


def at_present_address(peer: Peer) -> Peer:
    """A node as the neighbour on a link, where it stays although it gets to be known by another kind of address.

    Each end of a link takes cells from the host of the other one only.
    """
    return Peer(peer.key, peer.address)


def _takes_part(hop: Hop) -> bool:
    """Whether a node takes part in building circuits in one pass."""
    return PEER_FLAG_BUILD in (hop.flags or ())


def _secret_of(hop: Hop) -> PrivateKey:
    """The key that was made for a hop.

    :raises CryptoException: if there is none, or it was used already.
    """
    if hop.dh_secret is None:
        raise CryptoException("no key agreement was begun", DropCounter.UNSOLICITED)
    return hop.dh_secret
