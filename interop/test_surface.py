"""This library offers programs what ``pyipv8`` offers them, except for the listed differences."""

from __future__ import annotations

import copy
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from interop import environment
from interop.surface.compare import Difference, differences
from interop.surface.listed import LIST, Entry, describe, find, read_list, stale, unlisted

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

COMMUNITY = "ipv8.community.Community"


@pytest.fixture(scope="module")
def found(libraries: dict[str, Any]) -> list[Difference]:
    """The differences between the two libraries."""
    return find(libraries["theirs"], libraries["ours"])


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return read_list(LIST.read_text(encoding="utf-8"))


def test_every_difference_is_listed_with_its_reason(found: list[Difference], entries: list[Entry]) -> None:
    assert "\n".join(map(str, unlisted(found, entries))) == ""


def test_every_entry_of_the_list_is_true(found: list[Difference], entries: list[Entry]) -> None:
    assert [entry.pattern for entry in stale(found, entries)] == []


# The comparison itself, with descriptions of this library that are changed a little.

@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return describe(environment.ours(), {
        "ipv8.community": ["Community", "CommunitySettings", "DEFAULT_MAX_PEERS", "lazy_wrapper"],
        "ipv8.lazy_community": ["lazy_wrapper", "EZPackOverlay"], "ipv8.loader": ["walk_strategy", "CommunityLauncher"],
        "ipv8.overlay": ["Settings"], "ipv8.peer": ["Peer"], "ipv8.messaging.interfaces.udp.endpoint": ["UDPv4Address"],
        "ipv8.requestcache": ["NumberCache", "RequestCache"], "ipv8.test.dht.base": ["TestDHTBase"],
    })


def test_a_library_does_not_differ_from_itself(ours: dict[str, Any]) -> None:
    assert ours["objects"][COMMUNITY]["members"]
    assert differences(ours, ours) == []


def parameter(name: str, kind: str = "POSITIONAL_OR_KEYWORD", default: Any = None) -> dict[str, Any]:
    return {"name": name, "kind": kind, "default": default}


def member(name: str, **changes: Any) -> Callable[[Any], object]:
    """Change a member of ``Community``."""
    return lambda actual: actual["objects"][COMMUNITY]["members"][name].update(changes)


def parameters(change: Callable[[list[Any]], object]) -> Callable[[Any], object]:
    """Change the parameters of ``Community.ez_send``."""
    return lambda actual: change(actual["objects"][COMMUNITY]["members"]["ez_send"]["signature"])


SIZE = "DEFAULT_MAX_PEERS"
DESCRIBED = "ipv8.requestcache.NumberCache"

CHANGES: dict[str, Callable[[Any], object]] = {
    "missing module ipv8.peer": lambda actual: actual["modules"].pop("ipv8.peer"),
    "unusable module ipv8.peer": lambda actual: actual["modules"].update({"ipv8.peer": None}),
    "missing name ipv8.community.lazy_wrapper": lambda actual: actual["modules"]["ipv8.community"].pop("lazy_wrapper"),
    "other object ipv8.community.lazy_wrapper": lambda actual: actual["modules"]["ipv8.community"].update(
        lazy_wrapper={"object": "ipv8.community.another"}),
    "other kind ipv8.peer.Peer": lambda actual: actual["objects"]["ipv8.peer.Peer"].update(kind="function"),
    f"other kind ipv8.community.{SIZE}": lambda actual: actual["modules"]["ipv8.community"].update(
        {SIZE: {"object": "ipv8.community.Community"}}),
    f"other value ipv8.community.{SIZE}": lambda actual: actual["modules"]["ipv8.community"][SIZE]["value"].update(
        text="31.0"),
    f"other type ipv8.community.{SIZE}": lambda actual: actual["modules"]["ipv8.community"][SIZE]["value"].update(
        types=["builtins.str"]),
    f"missing base {COMMUNITY}": lambda actual: actual["objects"][COMMUNITY]["bases"].remove(
        "ipv8.lazy_community.EZPackOverlay"),
    f"added base {COMMUNITY}": lambda actual: actual["objects"][COMMUNITY]["bases"].append("ipv8.other.Base"),
    f"other metaclass {COMMUNITY}": lambda actual: actual["objects"][COMMUNITY].update(metaclass="builtins.type"),
    f"missing member {COMMUNITY}.walk_to": lambda actual: actual["objects"][COMMUNITY]["members"].pop("walk_to"),
    f"added member {COMMUNITY}.extra": lambda actual: actual["objects"][COMMUNITY]["members"].update(
        extra={"kind": "slot"}),
    f"newly abstract {COMMUNITY}.walk_to": lambda actual: actual["objects"][COMMUNITY]["abstract"].append("walk_to"),
    f"other kind {COMMUNITY}.walk_to": member("walk_to", kind="staticmethod"),
    f"not async {COMMUNITY}.unload": member("unload", **{"async": False}),
    f"newly async {COMMUNITY}.walk_to": member("walk_to", **{"async": True}),
    f"other value {COMMUNITY}.version": member("version", text="b'\\x03'"),
    f"other property {COMMUNITY}.my_estimated_lan": member("my_estimated_lan", set=False),
    f"missing parameter {COMMUNITY}.ez_send(peer)": parameters(lambda given: given.pop(1)),
    f"needed parameter {COMMUNITY}.ez_send(extra)": parameters(lambda given: given.append(parameter("extra"))),
    f"added parameter {COMMUNITY}.ez_send(extra)": parameters(lambda given: given.append(
        parameter("extra", default={"types": ["builtins.int"], "text": "1.0"}))),
    f"other parameter {COMMUNITY}.ez_send(self)": parameters(lambda given: given[0].update(kind="POSITIONAL_ONLY")),
    f"no longer optional {COMMUNITY}.ez_send(sig)": parameters(lambda given: given[-1].update(default=None)),
    f"newly optional {COMMUNITY}.ez_send(peer)": parameters(lambda given: given[1].update(
        default={"types": [], "text": None})),
    f"other value {COMMUNITY}.ez_send(sig)": parameters(lambda given: given[-1]["default"].update(text="False")),
    "positional only ipv8.loader.walk_strategy": lambda actual: actual["objects"]["ipv8.loader.walk_strategy"].update(
        signature=[parameter("args", "VAR_POSITIONAL")]),
    "other subscriptable ipv8.loader.CommunityLauncher": lambda actual: actual["objects"][
        "ipv8.loader.CommunityLauncher"].update(subscriptable=False),
    "other type parameters ipv8.test.dht.base.TestDHTBase": lambda actual: actual["objects"][
        "ipv8.test.dht.base.TestDHTBase"].update({"type parameters": 0}),
    "missing field ipv8.overlay.Settings.my_peer": lambda actual: actual["objects"]["ipv8.overlay.Settings"][
        "fields"].remove("my_peer"),
    f"missing attribute {DESCRIBED}()._prefix": lambda actual: actual["objects"][DESCRIBED]["sample"][
        "attributes"].pop("_prefix"),
    f"not copied {DESCRIBED}()": lambda actual: actual["objects"][DESCRIBED]["sample"]["abilities"].update(
        copied=False),
    f"no object {DESCRIBED}": lambda actual: actual["objects"][DESCRIBED].update(sample={"failed": "TypeError: why"}),
}


@pytest.mark.parametrize("subject", CHANGES)
def test_what_is_found(ours: dict[str, Any], subject: str) -> None:
    actual = copy.deepcopy(ours)
    CHANGES[subject](actual)
    assert subject in [difference.subject for difference in differences(ours, actual)]


def test_what_a_class_lacks_is_not_told_again_for_its_subclasses(ours: dict[str, Any]) -> None:
    actual = copy.deepcopy(ours)
    for described in actual["objects"].values():
        described.get("members", {}).pop("ez_send", None)
    assert [difference.subject for difference in differences(ours, actual)] == [
        "missing member ipv8.lazy_community.EZPackOverlay.ez_send"]


def test_entries_cover_by_pattern() -> None:
    (entry,) = read_list("# a comment\n\nmissing name ipv8.*[x].Name | why\n")
    assert entry.covers(Difference("missing name", "ipv8.a[x].Name", "any detail"))
    assert not entry.covers(Difference("missing name", "ipv8.ax.Name"))
    assert not entry.covers(Difference("missing member", "ipv8.a[x].Name"))
    assert unlisted([Difference("missing name", "ipv8.b")], [entry]) == [Difference("missing name", "ipv8.b")]
    assert stale([Difference("missing name", "ipv8.b")], [entry]) == [entry]


@pytest.mark.parametrize("line", ["missing name ipv8.a", "missing name ipv8.a |", "missing name ipv8.a | "])
def test_entries_need_a_reason(line: str) -> None:
    with pytest.raises(ValueError, match="give a reason"):
        read_list(line)


def test_the_description_is_the_same_each_time() -> None:
    """Objects that are made for it have random numbers and times in them."""
    command = environment.ours().command("interop.surface.describe")
    wanted = json.dumps({"ipv8.peer": ["Peer"], "ipv8.requestcache": ["RandomNumberCache", "RequestCache"]})
    outputs = {subprocess.run(command, input=wanted, check=True, capture_output=True, text=True).stdout
               for _ in range(2)}
    assert len(outputs) == 1
