"""The public names of the classes of the library are those of ``public_names.txt``: none is lost, none comes unnoticed.

Each line of that file is ``Class.name`` and then either ``api``, for a name that programs written for this ecosystem
use, or the reason why there is another public name. Such names must not be removed or hidden without need either:
programs may use them by now. Names with an underscore are listed if programs use them, and only then.

Names of a listed base class are not repeated for its subclasses.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ipv8.community import Community, CommunitySettings
from ipv8.configuration import ConfigBuilder
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.peer import Peer
from ipv8.peerdiscovery.network import Network
from ipv8.requestcache import RequestCache
from ipv8.test.mocking.endpoint import AutoMockEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FILE = Path(__file__).with_name("public_names.txt")
API = "api"


class Plain(Community):
    """An overlay with nothing of its own."""

    community_id = b"public names".ljust(20)


class Surroundings:
    """What objects of the listed classes are made of."""

    def __init__(self) -> None:
        self.endpoint = AutoMockEndpoint()
        self.endpoint.open()
        self.peer = Peer(default_eccrypto.generate_key("curve25519"), self.endpoint.wan_address)
        self.request_cache = RequestCache()
        self.managers: list[Any] = [self.request_cache]
        self.overlay = self.manage(Plain(self.settings()))

    def settings(self) -> CommunitySettings:
        return CommunitySettings(my_peer=self.peer, endpoint=self.endpoint, network=Network(),
                                 community_id=Plain.community_id)

    def manage(self, made: Any) -> Any:
        self.managers.append(made)
        return made

    async def end(self) -> None:
        for manager in reversed(self.managers):
            await (manager.unload if hasattr(manager, "unload") else manager.shutdown_task_manager)()


def plainly(cls: Any, _: Surroundings) -> Any:
    return cls()


def from_settings(cls: Any, given: Surroundings) -> Any:
    return given.manage(cls(given.settings()))


def for_overlay(cls: Any, given: Surroundings) -> Any:
    return cls(given.overlay)


class Listed(NamedTuple):
    """A class whose names are listed, and how an object of it is made, for the attributes that it has."""

    module: str
    make: Callable[[Any, Surroundings], Any] = plainly


CLASSES = {
    "Bootstrapper": Listed("ipv8.bootstrapping.bootstrapper_interface"),
    "Community": Listed("ipv8.community", lambda cls, given: given.overlay),
    "CommunitySettings": Listed("ipv8.community"),
    "ConfigBuilder": Listed("ipv8.configuration"),
    "DHTCommunity": Listed("ipv8.dht.community", from_settings),
    "DHTDiscoveryCommunity": Listed("ipv8.dht.discovery", from_settings),
    "DiscoveryCommunity": Listed("ipv8.peerdiscovery.community", from_settings),
    "DiscoveryStrategy": Listed("ipv8.peerdiscovery.discovery", for_overlay),
    "DispatcherEndpoint": Listed("ipv8.messaging.interfaces.dispatcher.endpoint", lambda cls, _: cls([])),
    "DispersyBootstrapper": Listed("ipv8.bootstrapping.dispersy.bootstrapper", lambda cls, _: cls([], [])),
    "EZPackOverlay": Listed("ipv8.lazy_community", from_settings),
    "EdgeWalk": Listed("ipv8.peerdiscovery.discovery", for_overlay),
    "Endpoint": Listed("ipv8.messaging.interfaces.endpoint"),
    "EndpointListener": Listed("ipv8.messaging.interfaces.endpoint", lambda cls, given: cls(given.endpoint)),
    "EndpointServer": Listed("ipv8.peerdiscovery.tracker", lambda cls, given: given.manage(cls(given.endpoint))),
    "IPv8": Listed("ipv8.service", lambda cls, _: cls(ConfigBuilder().clear_keys().clear_overlays().finalize())),
    "MessageTable": Listed("ipv8.message_table", for_overlay),
    "MockIPv8": Listed("ipv8.test.mocking.ipv8", lambda cls, given: given.manage(cls("low", Plain))),
    "Network": Listed("ipv8.peerdiscovery.network"),
    "NumberCache": Listed("ipv8.requestcache", lambda cls, given: cls(given.request_cache, "", 0)),
    "Overlay": Listed("ipv8.overlay", from_settings),
    "Peer": Listed("ipv8.peer", lambda cls, given: given.peer),
    "PeriodicSimilarity": Listed("ipv8.peerdiscovery.community", for_overlay),
    "PingRequestCache": Listed("ipv8.peerdiscovery.community",
                               lambda cls, given: cls(given.request_cache, 0, given.peer, 0.0)),
    "RandomChurn": Listed("ipv8.peerdiscovery.churn", for_overlay),
    "RandomWalk": Listed("ipv8.peerdiscovery.discovery", for_overlay),
    "RequestCache": Listed("ipv8.requestcache", lambda cls, given: given.request_cache),
    "Serializer": Listed("ipv8.messaging.serialization"),
    "StatisticsEndpoint": Listed("ipv8.messaging.interfaces.statistics_endpoint",
                                 lambda cls, given: cls(given.endpoint)),
    "TaskManager": Listed("ipv8.taskmanager", lambda cls, given: given.manage(cls())),
    "TestBase": Listed("ipv8.test.base", lambda cls, _: cls("run")),
    "TrackerChurn": Listed("ipv8.peerdiscovery.tracker", for_overlay),
    "TrackerPing": Listed("ipv8.peerdiscovery.tracker",
                          lambda cls, given: cls(given.request_cache, 0, Network(), given.peer, b"")),
    "UDPEndpoint": Listed("ipv8.messaging.interfaces.udp.endpoint"),
}


def listed_names() -> dict[str, dict[str, str]]:
    """For each class, the listed names and what is said of each."""
    names: dict[str, dict[str, str]] = {name: {} for name in CLASSES}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            full, _, reason = line.partition(" ")
            owner, _, name = full.partition(".")
            names[owner][name] = reason
    return names


LISTED = listed_names()


def class_of(name: str) -> Any:
    return getattr(import_module(CLASSES[name].module), name)


def concrete(cls: Any) -> Any:
    """``cls`` itself or, if it is abstract, a subclass that can be made."""
    missing = getattr(cls, "__abstractmethods__", ())
    return type(cls.__name__, (cls,), {name: lambda *_: b"" for name in missing}) if missing else cls


def names_of(cls: Any, example: Any) -> set[str]:
    """The names that classes of this library give to ``example``, and its attributes."""
    names = set(getattr(example, "__dict__", ()))
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "ipv8":
            names |= set(vars(base))
    return names


def is_public(name: str) -> bool:
    return not name.startswith("_")


@pytest.fixture
async def surroundings() -> AsyncIterator[Surroundings]:
    given = Surroundings()
    yield given
    await given.end()


@pytest.mark.parametrize("name", CLASSES)
async def test_names_are_those_of_the_list(name: str, surroundings: Surroundings) -> None:
    cls = class_of(name)
    found = names_of(cls, CLASSES[name].make(concrete(cls), surroundings))
    of_bases = {inherited for base in CLASSES if base != name and class_of(base) in cls.__mro__
                for inherited in LISTED[base]}
    missing = LISTED[name].keys() - found
    assert not missing, f"{name} has lost {sorted(missing)}: programs use these names"
    others = {other for other in found - of_bases if is_public(other)} - LISTED[name].keys()
    assert not others, (f"{name} has the new public names {sorted(others)}: hide them behind an underscore, put them "
                        f"into an object of their own, or list them with the reason in {FILE.name}")
    assert not of_bases & LISTED[name].keys(), "names of a base class are listed there"


def test_the_list_is_in_order() -> None:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    names = [line.partition(" ")[0] for line in lines]
    assert len(set(names)) == len(names), "a name is listed once"


def test_each_name_has_its_reason() -> None:
    for owner, names in LISTED.items():
        assert names, f"no names of {owner} are listed"
        for name, reason in names.items():
            assert reason == API or (is_public(name) and len(reason.split()) > 2), f"why is there {owner}.{name}?"
