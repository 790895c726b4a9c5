"""What this node does in the circuits of others: it joins them, extends them and lets their data leave.

See doc/protocol/tunnels.md section 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...peer import Peer
from ..interfaces.network_stats import DropCounter
from .base import unpack_cell
from .build import CONTROL_SIZE, TAIL_SIZE, Answer, block_of, read_block, seal_answer
from .building import CircuitBuilder, at_present_address
from .caches import BuildRequestCache, CreatedRequestCache, CreateRequestCache
from .crypto import CryptoException, scatter_counters
from .exit_policy import is_reachable_address
from .exit_socket import TunnelExitSocket
from .handshake import MAX_CANDIDATES, CandidateList, seal_candidates
from .joining import PLACES_OF_A_RELAY, PROOF_TIME, Extensions, Joins, candidates_in_answer
from .payload import CreatedPayload, CreatePayload, ExtendedPayload, ExtendPayload
from .tunnel import (
    BACKWARD,
    DESTROY_REASON_UNKNOWN,
    DESTROY_REASON_UNNEEDED,
    FORWARD,
    PEER_FLAG_EXIT_BT,
    PEER_FLAG_RELAY,
    Hop,
    RelayRoute,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from ..address import Address
    from .settings import TunnelSettings

__all__ = ["CircuitServing"]

FRESH = 57.5
"""Seconds since a node was last heard of, after which it is looked up before a circuit is extended to it."""

SHORTEST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds for which the next node is waited for, whatever the block says."""

CANDIDATES_SEALED = 63
"""Random bits of the counter of a list of candidates."""


class CircuitServing(CircuitBuilder):
    """Takes part in the circuits of others."""

    def __init__(self, settings: TunnelSettings) -> None:
        super().__init__(settings)
        self.joins = Joins()
        self.extensions = Extensions()
        self.add_cell_handler(CreatePayload, self.on_create)
        self.add_cell_handler(CreatedPayload, self.on_created)
        self.add_cell_handler(ExtendPayload, self.on_extend)

    # Joining

    async def should_join_circuit(self, create_payload: CreatePayload, previous_node_address: Address) -> bool:
        """Whether to join a circuit; for subclasses. By default, there must be room for it."""
        return self._has_places()

    def on_create(self, source_address: Address, data: bytes,
                  circuit_id: int | None = None) -> Coroutine[Any, Any, None] | None:
        """Join a circuit, if this node serves others, the circuit id is free, and the budgets allow it."""
        payload, rest = self.read_cell_and_rest(CreatePayload, data)
        if payload is None or not self.settings.peer_flags:
            return None
        if not circuit_id or self.is_known_circuit(circuit_id):
            self.drops.count(DropCounter.NOT_ADMITTED)
            return None
        now = clock.monotonic()
        if not self.joins.admits(source_address, now):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        if not self._has_places():
            self._evict(self._victim(now))
        unproven = (entry.hop.address for entry, places in self._unproven() for _ in range(places))
        if self.joins.takes_too_many(source_address, unproven, self.settings.max_joined_circuits):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        return self._join_if_wanted(source_address, payload, len(data), block_of(rest))

    async def _join_if_wanted(self, source_address: Address, payload: CreatePayload, size: int, block: bytes) -> None:
        is_wanted = await self.should_join_circuit(payload, source_address)
        if is_wanted and not self.is_known_circuit(payload.circuit_id) and not self.is_unloading:
            self.join_circuit(payload, source_address, size, block)
        else:
            self.logger.debug("Not joining the circuit %d", payload.circuit_id)
            if block:
                # Whoever takes part in this knows what to do about it; others would wait for the time to be over.
                self.send_destroy(source_address, payload.circuit_id, DESTROY_REASON_UNKNOWN)

    def on_refused(self, peer: Peer, circuit_id: int) -> bool:
        """Do not wait for a node any longer that was asked to be the next hop, and says that it will not be."""
        number = self.extensions.pending.get(circuit_id)
        cache = None if number is None else self.request_cache.get(CreateRequestCache, number)
        if cache is None or cache.to_circuit_id != circuit_id or cache.to_peer != peer:
            return False
        self.request_cache.pop(CreateRequestCache, cache.number)
        if isinstance(cache, BuildRequestCache):
            cache.reply(cache, None)
        return True

    def _unproven(self) -> Iterator[tuple[TunnelExitSocket | RelayRoute, int]]:
        """The joined circuits by which nothing came that only their origin can make.

        :returns: for each circuit its entry in a table, whose hop is the node that it came from, and how many places
            it takes.
        """
        for exit_socket in self.exit_sockets.values():
            if not exit_socket.proven:
                yield exit_socket, 1
        for route in self.relay_from_to.values():
            back = self.relay_from_to.get(route.circuit_id)
            if (route.direction == FORWARD and back is not None and not back.proven
                    and not back.bytes_down  # only the origin can make what is counted as received from there
                    and self.relay_from_to.get(back.circuit_id) is route):
                yield back, 2

    def _has_places(self, least: int = 0) -> bool:
        """Whether ``max_joined_circuits`` leave a place: a circuit that ends here takes one, others take two.

        :param least: how many places there are at least, whatever the settings say.
        """
        taken = len({*self.relay_from_to, *self.exit_sockets})  # what has just been extended is still in both
        return taken < max(least, self.settings.max_joined_circuits)

    def _can_grow(self, exit_socket: TunnelExitSocket) -> bool:
        """Whether there is a second place for a circuit that ends here, or another one that makes room.

        A node that joins circuits at all can pass one on.
        """
        return self._has_places(PLACES_OF_A_RELAY) or self._victim(clock.monotonic(), exit_socket) is not None

    def _victim(self, now: float, growing: TunnelExitSocket | None = None) -> TunnelExitSocket | RelayRoute | None:
        """The circuit that makes room for a new one, or for ``growing`` to go on: one that has not proved itself."""
        unproven = (entry for entry, _ in self._unproven() if entry is not growing)
        return self.joins.victim(unproven, now, 0.0 if growing is not None and growing.proven else PROOF_TIME)

    def _evict(self, victim: TunnelExitSocket | RelayRoute | None) -> None:
        """Remove a joined circuit at once."""
        why = "made room for another circuit"
        if isinstance(victim, RelayRoute):
            route = self.relay_from_to[victim.circuit_id]
            self.destroy_relay(victim.circuit_id, DESTROY_REASON_UNNEEDED)
            for circuit_id, entry in ((victim.circuit_id, route), (route.circuit_id, victim)):
                self.remove_relay(circuit_id, why, remove_now=True)
                self._pop(self.relay_from_to, circuit_id, entry)
        elif victim is not None:
            if self.request_cache.has("created", victim.circuit_id):
                self.request_cache.pop("created", victim.circuit_id)
            self.remove_exit_socket(victim.circuit_id, why, remove_now=True)
            self._pop(self.exit_sockets, victim.circuit_id, victim)

    def join_circuit(self, create_payload: CreatePayload, previous_node_address: Address,
                     request_size: int | None = None, block: bytes = b"") -> None:
        """Become the last hop of a circuit, and answer.

        :param request_size: bytes of the message; the answer to a short one from an unknown address is short as well.
        :param block: what tells this node which one to ask next, before it answers.
        """
        circuit_id = create_payload.circuit_id
        try:
            peer = Peer(create_payload.node_public_key, previous_node_address)
            secret, half, auth = self.crypto.generate_diffie_shared_secret(create_payload.key)
        except (ValueError, CryptoException):
            self.drops.count(DropCounter.UNDECODABLE)
            return
        relays, exits = self._candidates_to_propose(peer, request_size)
        proposed = {other.public_key.key_to_bin(): other for other in (*relays, *exits)}
        keys = self.crypto.generate_session_keys(secret)
        if self.request_cache.add(CreatedRequestCache(self, circuit_id, peer, proposed,
                                                      self.settings.unstable_timeout)) is None:
            return
        self.exit_sockets[circuit_id] = TunnelExitSocket(circuit_id, Hop(peer, keys), self)
        self.logger.info("Joined the circuit %d", circuit_id)
        chance = entropy.randbits(CANDIDATES_SEALED)
        if not block:
            listed = CandidateList.of([other.public_key.key_to_bin() for other in relays],
                                      [other.public_key.key_to_bin() for other in exits])
            sealed = seal_candidates(keys, chance, listed)
            scatter_counters(keys)
            self.send_cell(previous_node_address,
                           CreatedPayload(circuit_id, create_payload.identifier, half, auth, sealed))
            return
        scatter_counters(keys)

        def reply(following: Answer | None) -> None:
            filling = entropy.randbytes(max(TAIL_SIZE, CONTROL_SIZE))
            created = CreatedPayload(circuit_id, create_payload.identifier, half, auth,
                                     seal_answer(keys, secret, chance, following, filling[:TAIL_SIZE]))
            self.send_cell_and_rest(previous_node_address, created, filling[:1])

        self._follow_block(create_payload, circuit_id, peer, block, reply)

    def _follow_block(self, create_payload: CreatePayload, circuit_id: int, previous: Peer, block: bytes,
                      reply: Callable[[Answer | None], None]) -> None:
        """Ask the node that a block names, if it names one, and reply with its answer; otherwise reply at once."""
        own: Any = self.my_peer.key
        step = read_block(own.diffie_hellman(create_payload.key), create_payload.key,
                          self.my_peer.public_key.key_to_bin(), block)
        target = None
        if step is not None and PEER_FLAG_RELAY in self.settings.peer_flags:
            if step.wait <= self.settings.max_relay_early and self.extensions.admits_block(block, clock.monotonic()):
                target = self._extension_target(previous, {}, step.public_key, step.address)
            if target is not None and not self._can_grow(self.exit_sockets[circuit_id]):
                target = None
            if target is None:
                self.drops.count(DropCounter.BAD_TARGET)
        if step is None or target is None:
            reply(None)
            return

        def on_answer(cache: BuildRequestCache, payload: CreatedPayload | None) -> None:
            if payload is None or not self._become_relay(cache):
                reply(None)
            else:
                self.relay_from_to[circuit_id].relay_early_count = max(1, int(step.wait))
                reply(Answer(payload.key, payload.auth, payload.candidates_enc))

        to_circuit_id = self._generate_circuit_id()
        wait = min(max(step.wait, SHORTEST_WAIT), LONGEST_WAIT)
        target = at_present_address(target)
        request = self.request_cache.add(BuildRequestCache(self, create_payload.identifier, to_circuit_id, circuit_id,
                                                           previous, target, wait, on_answer))
        if request is None:
            reply(None)
            return
        self.extensions.pending[to_circuit_id] = request.number
        self.send_cell_and_rest(target.address, CreatePayload(
            to_circuit_id, request.number, self.my_peer.public_key.key_to_bin(), step.half), step.block)

    def _candidates_to_propose(self, previous: Peer, request_size: int | None) -> tuple[list[Peer], list[Peer]]:
        """Relays and exits that this node knows; no more than the answer to a message of that size may have."""
        exits = [peer for peer in self.get_candidates(PEER_FLAG_EXIT_BT, PEER_FLAG_RELAY) if peer != previous]
        relays = [peer for peer in self.get_candidates(PEER_FLAG_RELAY)
                  if PEER_FLAG_EXIT_BT not in self.candidates[peer] and peer != previous]
        relays, exits = relays[:MAX_CANDIDATES], exits[:MAX_CANDIDATES]
        if request_size is not None:
            known = self.network.get_verified_by_address(previous.address)
            room = candidates_in_answer(request_size, known is not None and known.proven, 2 * MAX_CANDIDATES + 1)
            exits = exits[:max(0, room - min(len(relays), 1) - 1)]
            relays = relays[:room - (len(exits) + 1 if exits else 0)]
        return relays, exits

    # Extending

    def on_extend(self, source_address: Address, data: bytes,
                  circuit_id: int | None = None) -> Coroutine[Any, Any, None] | None:
        """Ask another node to be the next hop of a circuit that ends here."""
        payload, rest = self.read_cell_and_rest(ExtendPayload, data)
        if payload is None or circuit_id is None:
            return None
        cache = self.request_cache.get(CreatedRequestCache, circuit_id)
        if PEER_FLAG_RELAY not in self.settings.peer_flags or cache is None or circuit_id not in self.exit_sockets:
            self.drops.count(DropCounter.NOT_ADMITTED)
            return None
        if not self.extensions.admits(circuit_id, clock.monotonic()):
            self.drops.count(DropCounter.RATE_LIMITED)
            return None
        target = self._extension_target(cache.candidate, cache.candidates, payload.node_public_key, payload.node_addr)
        if target is None:
            self.drops.count(DropCounter.BAD_TARGET)
            return None
        if not self._can_grow(self.exit_sockets[circuit_id]):
            self._refuse_to_extend(circuit_id)
            return None
        return self._extend(target, payload, circuit_id, block_of(rest))

    def _refuse_to_extend(self, circuit_id: int) -> None:
        """End a circuit that cannot go on. The origin can go by other nodes, and need not wait before it does."""
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is not None and circuit_id not in self.relay_from_to:
            self.drops.count(DropCounter.RATE_LIMITED)
            self.destroy_exit_socket(exit_socket, DESTROY_REASON_UNKNOWN)
            self._evict(exit_socket)

    def _extension_target(self, previous: Peer, proposed: dict[bytes, Peer], key_bin: bytes,
                          address: Address) -> Peer | None:
        """The node that a circuit shall be extended to, if a packet may be sent to it.

        :param previous: the node that the circuit came from.
        :param proposed: the nodes that this node has proposed, by their public keys.
        """
        if key_bin == self.my_peer.public_key.key_to_bin():
            return None
        known = proposed.get(key_bin) or self.network.get_verified_by_public_key_bin(key_bin)
        if known is not None:
            return known
        if address == ("0.0.0.0", 0):  # noqa: S104 - stands for "no address" on the wire
            return None
        if not (is_reachable_address(address, self.endpoint) and self._is_target(address, previous.address)
                and self.contact.targets.may_answer(address, clock.monotonic())):
            return None
        try:
            peer = Peer(key_bin, address)
        except ValueError:
            return None
        return peer if self.crypto.is_key_compatible(peer.public_key) else None

    async def _extend(self, target: Peer, payload: ExtendPayload, circuit_id: int, block: bytes) -> None:
        if (self.dht_provider is not None and clock.monotonic() - target.last_heard > FRESH
                and self.extensions.may_look_up):
            self.extensions.lookups += 1
            try:
                await self.dht_peer_lookup(target.mid, peer=target)
            finally:
                self.extensions.lookups -= 1
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is None or circuit_id in self.relay_from_to:
            return
        to_circuit_id = self._generate_circuit_id()
        target = at_present_address(target)
        cache = self.request_cache.add(CreateRequestCache(self, payload.identifier, to_circuit_id, circuit_id,
                                                          exit_socket.hop.peer, target))
        if cache is not None:
            cache.is_padded = bool(block)
            self.extensions.pending[to_circuit_id] = cache.number
            self.send_cell_and_rest(target.address, CreatePayload(
                to_circuit_id, cache.number, self.my_peer.public_key.key_to_bin(), payload.key), block)

    @unpack_cell(CreatedPayload)
    def on_created(self, source_address: Address, payload: CreatedPayload, circuit_id: int) -> None:
        """Complete the first hop of an own circuit, or pass the answer on that a circuit of another node waits for."""
        cache = self.request_cache.get(CreateRequestCache, payload.identifier)
        if cache is None or cache.to_circuit_id != circuit_id:
            self.on_own_created(source_address, payload, circuit_id)
        elif cache.to_peer.address != source_address:
            self.drops.count(DropCounter.WRONG_NEIGHBOUR)
        else:
            self.request_cache.pop(CreateRequestCache, payload.identifier)
            if isinstance(cache, BuildRequestCache):
                cache.reply(cache, payload)
            elif self._become_relay(cache):
                extended = ExtendedPayload(cache.from_circuit_id, cache.extend_identifier, payload.key, payload.auth,
                                           payload.candidates_enc)
                self.send_cell_and_rest(cache.peer.address, extended, bytes(cache.is_padded))
            else:
                self._refuse_to_extend(cache.from_circuit_id)

    def _become_relay(self, cache: CreateRequestCache) -> bool:
        """Pass on the cells of a circuit that ended here, from now on; whether that can be done."""
        from_id, to_id = cache.from_circuit_id, cache.to_circuit_id
        exit_socket = self.exit_sockets.get(from_id)
        if exit_socket is None or from_id in self.relay_from_to or self.is_known_circuit(to_id):
            self.logger.debug("The circuit %d cannot be extended any more", from_id)
            return False
        if not self._has_places(PLACES_OF_A_RELAY):
            victim = self._victim(clock.monotonic(), exit_socket)
            if victim is None:
                return False
            self._evict(victim)
        previous, keys = exit_socket.hop.peer, exit_socket.hop.keys
        self.remove_exit_socket(from_id, "extended", remove_now=True)
        back = RelayRoute(from_id, Hop(previous, keys), BACKWARD)
        back.proven = exit_socket.proven
        self.relay_from_to[to_id] = back
        self.relay_from_to[from_id] = RelayRoute(to_id, Hop(cache.to_peer, keys), FORWARD)
        return True

    # Exiting

    def exit_data(self, circuit_id: int, sock_addr: Address, destination: Address, data: bytes) -> None:
        """Let data leave that came by a circuit which ends here.

        :param sock_addr: the neighbour that they came from.
        """
        exit_socket = self.exit_sockets.get(circuit_id)
        if exit_socket is None:
            self.drops.count(DropCounter.UNKNOWN_CIRCUIT)
            return
        if not exit_socket.enabled:
            if sock_addr[0] != exit_socket.hop.address[0]:
                self.drops.count(DropCounter.WRONG_NEIGHBOUR)
                return
            if exit_socket.is_allowed(data):  # otherwise there is nothing to open sockets for
                exit_socket.enable()
        try:
            exit_socket.sendto(data, destination)
        except Exception as e:  # noqa: BLE001 - programs put sockets of their own into the table
            self.logger.warning("Data could not leave by the circuit %d: %s", circuit_id, e)
