"""The addresses of this machine, the most likely ones first."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ....reexports import reexports
from .any_os.ifaddr import IfAddr
from .any_os.netifaces import Netifaces, netifaces
from .any_os.testnet1 import TestNet1

if TYPE_CHECKING:
    from .addressprovider import AddressProvider

__all__ = ["get_lan_addresses", "get_providers", "netifaces"]

VERBOSE = False
"""Whether providers print the traceback of what goes wrong."""

BLACKLIST = {"127.0.0.1", "127.0.1.1", "0.0.0.0", "255.255.255.255", "::1"}  # noqa: S104 - not a bind
"""Addresses by which other machines cannot reach this one."""


@lru_cache(maxsize=1)
def get_providers() -> list[AddressProvider]:
    """The providers that are asked: always the same list, which may be changed. If it is empty, nothing is found."""
    if netifaces is not None:
        return [Netifaces(VERBOSE)]
    return [IfAddr(VERBOSE), TestNet1(VERBOSE)]


def get_lan_addresses() -> list[str]:
    """The addresses of this machine: those known to most providers first, link-local ones last among equals."""
    return list(_rank(tuple(frozenset(provider.get_addresses_buffered()) for provider in get_providers())))


@lru_cache(maxsize=4)
def _rank(found: tuple[frozenset[str], ...]) -> tuple[str, ...]:
    votes = Counter(address for addresses in found for address in addresses - BLACKLIST)
    return tuple(sorted(votes, key=lambda address: _rank_key(address, votes[address])))


def _rank_key(address: str, votes: int) -> Any:
    return -votes, address.startswith(("fe80:", "169.254.")), address


if TYPE_CHECKING:  # programs import these from here
    from .importshield import Platform as Platform, conditional_import_shield as conditional_import_shield
else:
    __getattr__, __dir__ = reexports(__name__, {".importshield": "Platform conditional_import_shield"})
