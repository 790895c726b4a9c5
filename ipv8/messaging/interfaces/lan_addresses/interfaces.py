"""The addresses of this machine, the most likely ones first."""

from __future__ import annotations

import logging
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ....reexports import reexports
from .any_os.ifaddr import IfAddr
from .any_os.netifaces import Netifaces, netifaces
from .any_os.testnet1 import TestNet1

if TYPE_CHECKING:
    from .addressprovider import AddressProvider

logger = logging.getLogger(__name__)

__all__ = ["discover_addresses", "get_lan_addresses", "get_providers", "is_broadcast", "netifaces"]

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
    """The addresses of this machine: those known to most providers first, link-local ones last among equals.

    A provider that raises adds none.
    """
    return list(_rank(tuple([_addresses_of(provider) for provider in get_providers()])))


def _addresses_of(provider: AddressProvider) -> frozenset[str]:
    try:
        return frozenset(provider.get_addresses_buffered())
    except Exception:  # a provider of a program may do anything
        logger.debug("%s cannot tell the addresses of this machine", type(provider).__name__, exc_info=True)
        return frozenset()


def is_broadcast(host: str) -> bool:
    """Whether ``host`` is the text of an IPv4 address that stands for all hosts of a link of this machine."""
    # A provider of a program need not tell any.
    return any(host in getattr(provider, "broadcasts", ()) for provider in get_providers())


def discover_addresses(provider: AddressProvider) -> None:
    """Have ``provider`` look up the addresses again, if that was long ago; it may raise what it likes."""
    try:
        provider.discover_addresses()
    except Exception:  # as above
        logger.debug("%s cannot look up the addresses of this machine", type(provider).__name__, exc_info=True)


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
