"""Replaces what exists once in a process, such as its clock, as long as a simulation runs."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ... import clock, entropy
from ...keyvault.crypto import default_eccrypto
from ...messaging.anonymization import exit_socket
from ...messaging.interfaces.dispatcher.endpoint import guess_interface
from ...messaging.interfaces.lan_addresses.interfaces import get_providers
from ...sessions import SessionService
from .exits import SimulatedProtocol
from .host import HostAddresses, current_host
from .loop import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .loop import VirtualTimeLoop

__all__ = ["isolated"]


@contextmanager
def _attribute(owner: object, name: str, value: object) -> Iterator[None]:
    previous = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, previous)


@contextmanager
def _simulated_addresses() -> Iterator[None]:
    providers = get_providers()
    kept = list(providers)
    providers[:] = [HostAddresses()]
    try:
        yield
    finally:
        providers[:] = kept


@contextmanager
def _seeded_random(seed: str) -> Iterator[None]:
    # The library uses ``ipv8.entropy`` only, but overlays of users may use ``random``.
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _installed_loop(loop: VirtualTimeLoop) -> Iterator[None]:
    # There is no public function that returns the installed loop without making one.
    local = getattr(asyncio.get_event_loop_policy(), "_local", None)
    previous = getattr(local, "_loop", None)
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(previous)


def _look_up(names: Mapping[str, list[str]]) -> Callable[..., list[tuple[Any, ...]]]:
    def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0,  # noqa: A002 - as in socket
                    flags: int = 0) -> list[tuple[Any, ...]]:
        del flags
        found = []
        literal = guess_interface((host, 0)) is not None
        for ip in [host] if literal else names.get(host, ()):
            version = socket.AF_INET6 if ":" in ip else socket.AF_INET
            if family in {0, version}:
                where = (ip, port or 0) if version == socket.AF_INET else (ip, port or 0, 0, 0)
                found.append((version, type or socket.SOCK_DGRAM, proto, "", where))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME,
                                  f"there is no name {host!r} in the simulation: add it to Simulation.names")
        return found

    return getaddrinfo


@contextmanager
def isolated(loop: VirtualTimeLoop, seed: str, names: Mapping[str, list[str]],
             wall_offset: Callable[[], float]) -> Iterator[None]:
    """Use the time of ``loop``, randomness from ``seed``, simulated addresses and ``names`` inside a ``with`` block.

    The cache of verified keys is empty when the block begins, and has its previous content again afterwards.

    :param wall_offset: returns the seconds by which all wall clocks are ahead of virtual time. The offset of the
        machine that the running code belongs to is added.
    """
    def offset_here() -> float:
        host = current_host.get()
        return wall_offset() if host is None else wall_offset() + host.wall_offset

    with ExitStack() as stack:
        stack.enter_context(clock.use(VirtualClock(loop, offset_here)))
        stack.enter_context(entropy.use(random.Random(seed)))
        stack.enter_context(_seeded_random(f"{seed}/random"))
        stack.enter_context(_simulated_addresses())
        stack.enter_context(_attribute(socket, "getaddrinfo", _look_up(names)))
        stack.enter_context(_attribute(default_eccrypto, "_verified", OrderedDict()))
        stack.enter_context(_attribute(exit_socket, "TunnelProtocol", SimulatedProtocol))
        stack.enter_context(_attribute(SessionService, "repeatable_keys", True))
        stack.enter_context(_installed_loop(loop))
        yield
