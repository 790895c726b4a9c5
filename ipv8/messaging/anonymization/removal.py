"""How circuits, relays and exits come to their end (doc/protocol/tunnels.md section 12)."""

from __future__ import annotations

from asyncio import sleep
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import clock
from ...lazy_community import lazy_wrapper
from ...reputation import RELAY
from ...util import succeed
from .base import TunnelBase
from .caches import RetryRequestCache
from .payload import DestroyPayload
from .tunnel import (
    CIRCUIT_STATE_CLOSING,
    CIRCUIT_STATE_EXTENDING,
    CIRCUIT_STATE_READY,
    CIRCUIT_TYPE_RP_DOWNLOADER,
    CIRCUIT_TYPE_RP_SEEDER,
    DESTROY_REASON_SHUTDOWN,
    DESTROY_REASON_UNKNOWN,
    DESTROY_REASON_UNNEEDED,
)

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Coroutine

    from ...peer import Peer
    from ..address import Address
    from .exit_socket import TunnelExitSocket
    from .settings import TunnelSettings
    from .tunnel import Circuit, RelayRoute, RoutingObject

__all__ = ["RemovedCircuit", "TunnelRemoval"]


NO_ACTIVITY = "no activity"

MAX_REMOVED = 50
"""Removed circuits that are remembered for people; the oldest is forgotten first."""

NOT_PINGED = frozenset({CIRCUIT_TYPE_RP_SEEDER, CIRCUIT_TYPE_RP_DOWNLOADER})
"""Circuits that may be silent without a fault of their nodes: the other end may have gone."""


class RemovedCircuit(NamedTuple):
    """What is remembered of a circuit of this node that was removed."""

    circuit_id: int
    ctype: str
    goal_hops: int
    #: The SHA-1 hashes of the public keys of the hops.
    hops: tuple[bytes, ...]
    #: Why it was removed, for people.
    reason: str
    #: When, in seconds since the Unix epoch.
    time: float
    #: For how many seconds it was there.
    seconds: float
    bytes_up: int
    bytes_down: int


class TunnelRemoval(TunnelBase):
    """Closes and removes what cells go through, and tells the neighbours.

    The methods that remove return futures, which may be awaited. The work begins at the next iteration of the event
    loop, awaited or not. With ``remove_now`` the object is gone then, otherwise ``remove_tunnel_delay`` seconds later,
    so that cells which are on their way arrive. ``destroy`` is the reason that the neighbour is told; ``True`` is
    ``DESTROY_REASON_UNKNOWN``, and without one it is told nothing.
    """

    def __init__(self, settings: TunnelSettings) -> None:
        super().__init__(settings)
        #: The reasons that are passed on to the next neighbour. Others become ``DESTROY_REASON_UNKNOWN``, as a number
        #: that is passed on would tell something to the other end of the circuit. Programs may add theirs.
        self.destroy_reasons: set[int] = {DESTROY_REASON_UNKNOWN, DESTROY_REASON_SHUTDOWN, DESTROY_REASON_UNNEEDED}
        #: The circuits that were removed last, the newest at the end.
        self.removed_circuits: deque[RemovedCircuit] = deque(maxlen=MAX_REMOVED)
        self.add_message_handler(DestroyPayload, self.on_destroy)

    # Removing

    def remove_circuit(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                       destroy: bool | int = False) -> Future[None]:
        """Close a circuit of this node.

        :param additional_info: why, for people.
        """
        circuit = self.circuits.get(circuit_id)
        return self._start_removal("remove_circuit", self._end_circuit(circuit_id, circuit, additional_info, remove_now,
                                                                       destroy))

    async def _end_circuit(self, circuit_id: int, circuit: Circuit | None, additional_info: str, remove_now: bool,
                           destroy: bool | int) -> None:
        if self.request_cache.has("retry", circuit_id) and self.circuits.get(circuit_id) is circuit:
            self.request_cache.pop("retry", circuit_id)
        if circuit is None:
            self.logger.debug("There is no circuit %d to remove", circuit_id)
            return
        self.logger.info("Removing the circuit %d: %s", circuit_id, additional_info)
        if destroy:
            self.destroy_circuit(circuit, reason=int(destroy))
        was_open = circuit.state != CIRCUIT_STATE_CLOSING
        circuit.close(additional_info)
        if was_open:
            self._remember(circuit, additional_info)
            self._publish_circuit("removed", circuit, additional_info)
        self._report_relaying(circuit)
        await self._wait(remove_now)
        self._pop(self.circuits, circuit_id, circuit)

    def _remember(self, circuit: Circuit, reason: str) -> None:
        self.removed_circuits.append(RemovedCircuit(
            circuit.circuit_id, circuit.ctype, circuit.goal_hops, tuple(hop.mid for hop in circuit.hops), reason,
            clock.time(), clock.monotonic() - circuit.created, circuit.bytes_up, circuit.bytes_down))

    def _publish_circuit(self, what: str, circuit: Circuit, reason: str = "") -> None:
        """Tell those who watch what has become of a circuit of this node."""
        if self.event_bus is not None:
            self.event_bus.publish(f"circuit.{what}", lambda: {
                "circuit_id": circuit.circuit_id, "goal_hops": circuit.goal_hops, "actual_hops": len(circuit.hops),
                "type": circuit.ctype, "state": circuit.state, "hops": [hop.mid.hex() for hop in circuit.hops],
                "reason": reason})

    def _report_relaying(self, circuit: Circuit) -> None:
        """Report which nodes relayed what came by a circuit that has ended."""
        if self.contribution_reporter is not None and circuit.bytes_down:
            for hop in circuit.hops:
                self.contribution_reporter.contributed(hop.peer.key_bin, RELAY, circuit.bytes_down)

    def remove_relay(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                     destroy: bool | int = False) -> Future[RelayRoute | None]:
        """Stop to pass on the cells that arrive with a circuit id; the result is what was removed."""
        route = self.relay_from_to.get(circuit_id)
        return self._start_removal("remove_relay", self._end_relay(circuit_id, route, additional_info, remove_now,
                                                                   destroy))

    async def _end_relay(self, circuit_id: int, route: RelayRoute | None, additional_info: str, remove_now: bool,
                         destroy: bool | int) -> RelayRoute | None:
        if route is None:
            self.logger.debug("There is no relay %d to remove", circuit_id)
            return None
        self.logger.info("Removing the relay %d: %s", circuit_id, additional_info)
        if destroy:
            self.destroy_relay(circuit_id, reason=int(destroy))
        await self._wait(remove_now)
        removed: RelayRoute | None = self._pop(self.relay_from_to, circuit_id, route)
        self.renewal.forget(circuit_id)
        return removed

    def remove_exit_socket(self, circuit_id: int, additional_info: str = "", remove_now: bool = False,
                           destroy: bool | int = False) -> Future[TunnelExitSocket | None]:
        """Close the end of a circuit of another node; the result is what was removed."""
        exit_socket = self.exit_sockets.get(circuit_id)
        return self._start_removal("remove_exit_socket", self._end_exit(circuit_id, exit_socket, additional_info,
                                                                        remove_now, destroy))

    async def _end_exit(self, circuit_id: int, exit_socket: TunnelExitSocket | None, additional_info: str,
                        remove_now: bool, destroy: bool | int) -> TunnelExitSocket | None:
        if exit_socket is None:
            self.logger.debug("There is no exit %d to remove", circuit_id)
            return None
        self.logger.info("Removing the exit %d: %s", circuit_id, additional_info)
        if destroy:
            self.destroy_exit_socket(exit_socket, reason=int(destroy))
        await self._wait(remove_now)
        removed: TunnelExitSocket | None = self._pop(self.exit_sockets, circuit_id, exit_socket)
        if circuit_id not in self.relay_from_to:
            self.renewal.forget(circuit_id)
        note_closed = getattr(exit_socket, "note_closed", None)
        if note_closed is not None:  # programs put sockets of their own into the table
            note_closed()
        await exit_socket.close()
        return removed

    def _start_removal(self, name: str, removal: Coroutine[Any, Any, Any]) -> Future[Any]:
        if self._shutdown:
            removal.close()
            return succeed(None)

        async def run() -> Any:
            try:
                return await removal
            finally:
                removal.close()  # in case that the task is cancelled before it begins

        return self.register_anonymous_task(name, run, ignore=(Exception,))

    async def _wait(self, remove_now: bool) -> None:
        if not remove_now and self.settings.remove_tunnel_delay > 0:
            await sleep(self.settings.remove_tunnel_delay)

    @staticmethod
    def _pop(table: dict[int, Any], circuit_id: int, entry: RoutingObject) -> Any:
        """Remove an entry, unless another one has its number by now."""
        return table.pop(circuit_id) if table.get(circuit_id) is entry else None

    # Telling the neighbours

    def send_destroy(self, target: Peer | Address, circuit_id: int, reason: int) -> None:
        """Tell the node at an address that a circuit is gone.

        :param target: the address; a peer stands for its address.
        """
        address: Any = getattr(target, "address", target)
        packet = self.ezr_pack(DestroyPayload.msg_id, DestroyPayload(circuit_id, reason))
        self.crypto_endpoint.flush()  # the data of the circuit come first
        self.send_packet(address, packet)

    def destroy_circuit(self, circuit: Circuit, reason: int = 0) -> None:
        """Tell the first hop of a circuit of this node that the circuit is gone."""
        if circuit.hop is not None:
            self.send_destroy(circuit.hop.address, circuit.circuit_id, self._known_reason(reason))

    def destroy_relay(self, circuit_id: int, reason: int = 0) -> None:
        """Tell the node that the cells of a relay go to that the circuit is gone."""
        route = self.relay_from_to.get(circuit_id)
        if route is not None:
            self.send_destroy(route.hop.address, route.circuit_id, self._known_reason(reason))

    def destroy_exit_socket(self, exit_socket: TunnelExitSocket, reason: int = 0) -> None:
        """Tell the node that a circuit came from that it is gone."""
        self.send_destroy(exit_socket.hop.address, exit_socket.circuit_id, self._known_reason(reason))

    def _known_reason(self, reason: int) -> int:
        return reason if reason in self.destroy_reasons else DESTROY_REASON_UNKNOWN

    @lazy_wrapper(DestroyPayload)
    def on_destroy(self, peer: Peer, payload: DestroyPayload) -> None:
        """Remove what a neighbour says is gone, if it is that neighbour's, and tell the next one."""
        circuit_id, reason = payload.circuit_id, self._known_reason(payload.reason)
        why = f"got destroy with reason {payload.reason}"
        route = self.relay_from_to.get(circuit_id)
        back = None if route is None else self.relay_from_to.get(route.circuit_id)
        exit_socket, circuit = self.exit_sockets.get(circuit_id), self.circuits.get(circuit_id)
        if route is not None and back is not None and back.hop.peer == peer:
            self.remove_relay(circuit_id, why, destroy=reason)
            self.remove_relay(route.circuit_id, why)
        elif exit_socket is not None and exit_socket.hop.peer == peer:
            self.remove_exit_socket(circuit_id, why)
        elif circuit is not None and circuit.hop is not None and circuit.hop.peer == peer:
            if circuit.hops:
                if circuit.state == CIRCUIT_STATE_EXTENDING:
                    self.note_unanswered(circuit)
                self.remove_circuit(circuit_id, why)
            else:
                self.on_first_hop_refused(circuit)
        elif not self.on_refused(peer, circuit_id):
            self.logger.debug("%s destroys the circuit %d, which it has no part in", peer, circuit_id)

    def on_first_hop_refused(self, circuit: Circuit) -> None:
        """Ask another node at once to be the first hop of a circuit, if there is one."""
        cache = self.request_cache.get(RetryRequestCache, circuit.circuit_id)
        if cache is not None and cache.candidates and cache.max_tries > 0:
            cache.retry_func(circuit, cache.candidates, cache.max_tries)

    # What has come to its end

    def do_remove(self) -> None:
        """Remove what was not used for long, is too old, or has carried too much, and forget candidates that left."""
        now = clock.monotonic()
        longest = max(self.settings.max_time, self.settings.max_time_ip)  # a relay cannot tell what a circuit is for
        for circuit_id, circuit in list(self.circuits.items()):
            self._review_circuit(circuit_id, circuit, now)
        for circuit_id, route in list(self.relay_from_to.items()):
            reason, is_too_much = self._end_of(route, now, longest)
            if reason:
                self.remove_relay(circuit_id, reason, destroy=is_too_much)
        for circuit_id, exit_socket in list(self.exit_sockets.items()):
            reason, is_too_much = self._end_of(exit_socket, now, self.get_max_time(circuit_id))
            if reason:
                self.remove_exit_socket(circuit_id, reason, destroy=is_too_much)
        self.forget_candidates()

    def _review_circuit(self, circuit_id: int, circuit: Circuit, now: float) -> None:
        if circuit.state == CIRCUIT_STATE_READY:
            reason, is_too_much = self._end_of(circuit, now, self.get_max_time(circuit_id))
            if reason:
                if reason == NO_ACTIVITY and circuit.hops and circuit.ctype not in NOT_PINGED:
                    self.path.back_off.note_silent(circuit.hops[0].public_key_bin, now)
                self.remove_circuit(circuit_id, reason, destroy=is_too_much)
        elif (circuit.state != CIRCUIT_STATE_CLOSING
                and now - circuit.created > max(self.settings.circuit_timeout, self.settings.next_hop_timeout)):
            # Tries end earlier. A circuit that stays would count as one that there is.
            self.remove_circuit(circuit_id, "not ready in time")

    def _end_of(self, entry: RoutingObject, now: float, max_time: float) -> tuple[str, bool]:
        """Why an entry is removed, if it is, and whether the neighbour does not know that yet."""
        if now - entry.active > self.settings.max_time_inactive:
            return NO_ACTIVITY, False
        if now - entry.created > max_time:
            return "too old", False
        if entry.bytes_up + entry.bytes_down > self.settings.max_traffic:
            return "traffic limit exceeded", True
        return "", False
