"""The configuration dictionary, its checks and its builder."""

from __future__ import annotations

import base64
import copy
import json
import logging
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8 import configuration
from ipv8.checks import shown
from ipv8.community import CommunitySettings
from ipv8.configuration import (
    DISPERSY_BOOTSTRAPPER,
    Bootstrapper,
    BootstrapperDefinition,
    ConfigBuilder,
    ConfigurationError,
    Strategy,
    WalkerDefinition,
    complete_configuration,
    default_bootstrap_defs,
    get_default_configuration,
    validate_configuration,
)
from ipv8.keyvault.crypto import default_eccrypto
from ipv8.validation import LONGEST_WALKER_INTERVAL, check_settings, validate

VECTOR = json.loads((Path(__file__).parent / "vectors" / "discovery.json").read_text("utf-8"))["misc"]
WALK = WalkerDefinition(Strategy.RandomWalk, 20, {"timeout": 3.0})


def small() -> dict[str, Any]:
    """A complete configuration with one of everything."""
    return {
        "interfaces": [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 0}],
        "keys": [{"alias": "me", "generation": "curve25519", "file": ""}],
        "logger": {},
        "working_directory": ".",
        "walker_interval": 0.5,
        "overlays": [{
            "class": "A", "key": "me", "initialize": {"x": 1}, "on_start": [["started", 1]],
            "walkers": [{"strategy": "RandomWalk", "peers": 20, "init": {}}],
            "bootstrappers": [{"class": "DispersyBootstrapper", "init": {}}],
        }],
    }


def test_default_is_the_published_one_and_survives_json() -> None:
    assert json.loads(json.dumps(get_default_configuration())) == VECTOR["default_configuration"]


def test_default_is_a_copy() -> None:
    get_default_configuration()["overlays"][0]["bootstrappers"][0]["init"]["ip_addresses"].clear()
    assert json.loads(json.dumps(get_default_configuration())) == VECTOR["default_configuration"]


def test_default_passes_the_check_before_and_after_json() -> None:
    validate_configuration(get_default_configuration())
    validate_configuration(VECTOR["default_configuration"])


def test_trackers_are_tuples() -> None:
    assert DISPERSY_BOOTSTRAPPER["init"]["ip_addresses"][0] == ("130.161.119.206", 6421)
    assert default_bootstrap_defs == [
        BootstrapperDefinition(Bootstrapper.DispersyBootstrapper, DISPERSY_BOOTSTRAPPER["init"])]


def test_one_tracker_table_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = ConfigBuilder(clean=True).add_overlay("A", "me", [], default_bootstrap_defs, {}, [])
    monkeypatch.setitem(DISPERSY_BOOTSTRAPPER["init"], "ip_addresses", [("10.0.0.1", 1)])
    for config in (get_default_configuration(), builder.config):
        assert config["overlays"][0]["bootstrappers"][0]["init"]["ip_addresses"] == [("10.0.0.1", 1)]


def test_names() -> None:
    assert Strategy.values() == ["RandomWalk", "RandomChurn", "PeriodicSimilarity", "EdgeWalk", "PingChurn"]
    assert Bootstrapper.values() == ["DispersyBootstrapper", "UDPBroadcastBootstrapper", "MulticastBootstrapper",
                                     "MemoryBootstrapper"]
    assert all(member.value == member.name for kind in (Strategy, Bootstrapper) for member in kind)


def test_clean_builder_can_make_the_default() -> None:
    churn = {"sample_size": 8, "ping_interval": 10.0, "inactive_time": 27.5, "drop_time": 57.5}
    tunnels = {"min_circuits": 1, "max_circuits": 1, "max_joined_circuits": 100, "max_time": 600,
               "max_time_inactive": 20, "max_traffic": 262144000, "dht_lookup_interval": 30}
    built = (ConfigBuilder(clean=True)
             .set_address("0.0.0.0")
             .set_port(8090)
             .set_log_level("INFO")
             .set_working_directory(".")
             .set_walker_interval(0.5)
             .add_key("anonymous id", "curve25519", "ec_multichain.pem")
             .add_overlay("DiscoveryCommunity", "anonymous id", [
                 WALK, WalkerDefinition(Strategy.RandomChurn, -1, churn),
                 WalkerDefinition(Strategy.PeriodicSimilarity, -1, {})], default_bootstrap_defs, {}, [])
             .add_overlay("HiddenTunnelCommunity", "anonymous id", [WALK], default_bootstrap_defs, tunnels,
                          [("build_tunnels", 1)])
             .add_overlay("DHTDiscoveryCommunity", "anonymous id", [WALK, WalkerDefinition(Strategy.PingChurn, -1, {})],
                          default_bootstrap_defs, {}, [])
             .finalize())
    assert built == get_default_configuration()


def test_port_mapping_is_off_unless_asked() -> None:
    assert "port_mapping" not in get_default_configuration()
    assert complete_configuration(small())["port_mapping"] is False
    assert complete_configuration(ConfigBuilder().set_port_mapping().finalize())["port_mapping"] is True
    assert ConfigBuilder().set_port_mapping(False).finalize()["port_mapping"] is False


def test_peers_are_remembered_by_overlays_that_have_bootstrappers() -> None:
    builder = ConfigBuilder().clear_overlays().add_ephemeral_key("me")
    builder.add_overlay("A", "me", [], default_bootstrap_defs, {}, []).add_overlay("B", "me", [], [], {}, [])
    for _ in range(2):
        builder.remember_peers("here")
    first, second = builder.config["overlays"]
    assert [block["class"] for block in first["bootstrappers"]] == ["MemoryBootstrapper", "DispersyBootstrapper"]
    assert first["bootstrappers"][0]["init"] == {"path": os.path.join("here", "")}
    assert second["bootstrappers"] == []
    with pytest.raises(ConfigurationError, match="port_mapping must be True or False, not str"):
        validate_configuration({**small(), "port_mapping": "yes"})


def test_finalize_gives_the_live_dictionary() -> None:
    builder = ConfigBuilder()
    assert builder.finalize() is builder.config


def test_interfaces_are_made_on_demand() -> None:
    builder = ConfigBuilder(clean=True).set_port(5, "UDPIPv6").set_address("::1", interface="UDPIPv6").set_port(6)
    assert builder.config["interfaces"] == [{"interface": "UDPIPv6", "port": 5, "ip": "::1"},
                                            {"interface": "UDPIPv4", "port": 6}]


def test_keys_replace_those_of_the_same_alias() -> None:
    builder = ConfigBuilder().add_key("a", "medium", "x").add_key_from_bin("a", "AAAA").add_key("b", "low", "y")
    assert builder.config["keys"][1:] == [{"alias": "a", "bin": "AAAA", "file": ""},
                                          {"alias": "b", "generation": "low", "file": "y"}]
    assert builder.clear_keys().config["keys"] == []


def test_ephemeral_key_is_a_private_key_without_file() -> None:
    (block,) = ConfigBuilder(clean=True).add_ephemeral_key("me").config["keys"]
    key = default_eccrypto.key_from_private_bin(base64.b64decode(block.pop("bin")))
    assert block == {"alias": "me", "file": ""}
    assert key.key_to_bin().startswith(b"LibNaCLSK:")


def test_overlays_replace_those_of_the_same_class_unless_told_otherwise() -> None:
    builder = ConfigBuilder(clean=True)
    for key, duplicate in (("a", False), ("b", False), ("c", True)):
        builder.add_overlay("A", key, [], [], {}, [], allow_duplicate=duplicate)
    assert [overlay["key"] for overlay in builder.config["overlays"]] == ["b", "c"]
    assert builder.clear_overlays().config["overlays"] == []


@pytest.mark.parametrize("level", ["info", "VERBOSE", ""])
def test_unknown_log_level(level: str) -> None:
    with pytest.raises(AssertionError, match="log level"):
        ConfigBuilder().set_log_level(level)


def test_unknown_curve() -> None:
    with pytest.raises(AssertionError, match="did you mean 'curve25519'"):
        ConfigBuilder().add_key("a", "curve25518", "x")


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (lambda c: c.clear(), "lacks the key 'keys'"),
    "misspelt key": (lambda c: c.update(overlay=c.pop("overlays")), "'overlays'; is 'overlay' a typo"),
    "no directory": (lambda c: c.pop("working_directory"), "working_directory"),
    "logger": (lambda c: c.update(logger="INFO"), "logger must be a dictionary"),
    "negative interval": (lambda c: c.update(walker_interval=-1), "walker_interval must be"),
    "endless interval": (lambda c: c.update(walker_interval=float("nan")), "walker_interval must be"),
    "huge interval": (lambda c: c.update(walker_interval=10 ** 400), "walker_interval is too large: 1000"),
    "unprintable interval": (lambda c: c.update(walker_interval=1 << 99999), "too large: an integer of 100000 bits"),
    "misspelt top-level key": (lambda c: c.update(walker_intervall=3), "did you mean 'walker_interval'"),
    "misspelt optional key": (lambda c: c.update(port_maping=True), "'port_maping'; did you mean 'port_mapping'"),
    "misspelt key of an overlay": (lambda c: c["overlays"][0].update(walkerz=1), r"overlays\[0\].* mean 'walkers'"),
    "misspelt key of a walker": (lambda c: c["overlays"][0]["walkers"][0].update(peer=1), "did you mean 'peers'"),
    "misspelt key of a key": (lambda c: c["keys"][0].update(fil="x"), "'fil'; did you mean 'file'"),
    "misspelt argument of a walker": (lambda c: c["overlays"][0]["walkers"][0].update(init={"timout": 1}),
                                      r"walkers\[0\].init: RandomWalk has no .*'timout'; did you mean 'timeout'"),
    "wrong type of a walker's argument": (lambda c: c["overlays"][0]["walkers"][0].update(init={"timeout": "x"}),
                                          "argument 'timeout' must be a number, not str"),
    "huge argument of a walker": (lambda c: c["overlays"][0]["walkers"][0].update(init={"timeout": 10 ** 400}),
                                  "argument 'timeout' is too large"),
    "misspelt argument of a bootstrapper": (
        lambda c: c["overlays"][0]["bootstrappers"][0].update(init={"ip_adresses": []}), "did you mean 'ip_addresses'"),
    "huge argument of a bootstrapper": (
        lambda c: c["overlays"][0]["bootstrappers"][0].update(init={"bootstrap_timeout": -10 ** 400}), "too large"),
    "unknown argument of the log": (lambda c: c.update(logger={"levl": "INFO"}), "'levl'; did you mean 'level'"),
    "level of the log": (lambda c: c.update(logger={"level": "INFOO"}), "'INFOO'; did you mean 'INFO'"),
    "class itself": (lambda c: c["overlays"][0].update({"class": WalkerDefinition}),
                     r"write 'WalkerDefinition', and give .*extra_communities=\{'WalkerDefinition'"),
    "no interval": (lambda c: c.update(walker_interval=None), "walker_interval must be"),
    "text interval": (lambda c: c.update(walker_interval="0.5"), "walker_interval must be"),
    "interfaces": (lambda c: c.update(interfaces={}), "interfaces must be a list"),
    "interface": (lambda c: c["interfaces"].append("UDPIPv4"), r"interfaces\[1\] must be a dictionary"),
    "interface name": (lambda c: c["interfaces"][0].update(interface=4), r"interfaces\[0\].interface"),
    "ip": (lambda c: c["interfaces"][0].update(ip=0), r"interfaces\[0\].ip must be"),
    "port": (lambda c: c["interfaces"][0].update(port=65536), r"interfaces\[0\].port must be"),
    "no port": (lambda c: c["interfaces"][0].update(port=None), r"interfaces\[0\].port must be"),
    "broken port": (lambda c: c["interfaces"][0].update(port=80.5), r"interfaces\[0\].port must be"),
    "text port": (lambda c: c["interfaces"][0].update(port="8090"), r"interfaces\[0\].port must be"),
    "keys": (lambda c: c.update(keys=None), "keys must be a list"),
    "alias": (lambda c: c["keys"][0].update(alias=[3]), r"keys\[0\].alias must be"),
    "misspelt alias": (lambda c: c["keys"][0].update(allias=c["keys"][0].pop("alias")), "is 'allias' a typo"),
    "no key": (lambda c: c["keys"][0].update(generation=""), r"keys\[0\] \('me'\) needs"),
    "curve": (lambda c: c["keys"][0].update(generation="curve25516"), "did you mean 'curve25519'"),
    "file": (lambda c: c["keys"][0].update(file=5), r"keys\[0\].file must be a path"),
    "overlay key": (lambda c: c["overlays"][0].update(key="mee"), "did you mean 'me'"),
    "overlay class": (lambda c: c["overlays"][0].update({"class": 3}), r"overlays\[0\].class must be"),
    "no walkers": (lambda c: c["overlays"][0].pop("walkers"), r"overlays\[0\] lacks the key 'walkers'"),
    "walkers": (lambda c: c["overlays"][0].update(walkers="RandomWalk"), r"\(A\).walkers must be a list"),
    "walker": (lambda c: c["overlays"][0]["walkers"][0].pop("peers"), "lacks the key 'peers'"),
    "strategy": (lambda c: c["overlays"][0]["walkers"][0].update(strategy=1), "strategy must be the name"),
    "peers": (lambda c: c["overlays"][0]["walkers"][0].update(peers="20"), "peers must be a number"),
    "no peers": (lambda c: c["overlays"][0]["walkers"][0].update(peers=None), "peers must be a number"),
    "huge time of sessions": (lambda c: c.update(sessions={"idle_timeout": 10 ** 400}), "idle_timeout is too large"),
    "no number for sessions": (lambda c: c.update(sessions={"rekey_after": float("nan")}), "rekey_after must be a num"),
    "huge padding": (lambda c: c.update(sessions={"padding": 10 ** 6}), "padding must be at most 65535"),
    "huge half-life": (lambda c: c.update(trust={"half_life": 10 ** 400}), "half_life is too large"),
    "too many walks": (lambda c: c.update(trust={"walks": 10 ** 9}), "walks must be at most 1000000"),
    "options of sockets": (lambda c: c["interfaces"][0].update(sockopts="x"), r"sockopts must be a list"),
    "option of sockets": (lambda c: c["interfaces"][0].update(sockopts=["x"]), r"sockopts\[0\] must be the three"),
    "huge option": (lambda c: c["interfaces"][0].update(sockopts=[(1, 2, 2 ** 31)]), r"sockopts\[0\] must be"),
    "too many peers": (lambda c: c["overlays"][0]["walkers"][0].update(peers=10 ** 400), "peers is too large"),
    "peers that are no number": (lambda c: c["overlays"][0]["walkers"][0].update(peers=float("nan")),
                                 "peers must be a number, not NaN"),
    "walker init": (lambda c: c["overlays"][0]["walkers"][0].update(init=[]), "init must be a dictionary"),
    "bootstrapper": (lambda c: c["overlays"][0]["bootstrappers"][0].update({"class": "DispersiBootstrapper"}),
                     "did you mean 'DispersyBootstrapper'"),
    "bootstrapper init": (lambda c: c["overlays"][0]["bootstrappers"][0].update(init=None), "init must be"),
    "initialize": (lambda c: c["overlays"][0].update(initialize=[]), "initialize must be a dictionary"),
    "setting": (lambda c: c["overlays"][0]["initialize"].update({1: 2}), "each key must be a string"),
    "on_start": (lambda c: c["overlays"][0].update(on_start=["started"]), r"on_start\[0\] must be a list"),
    "empty call": (lambda c: c["overlays"][0].update(on_start=[()]), r"on_start\[0\] must be a list"),
    "call of a number": (lambda c: c["overlays"][0].update(on_start=[(1,)]), r"on_start\[0\] must be a list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    change, message = WRONG[name]
    config = small()
    validate_configuration(config)
    change(config)
    given_config = copy.deepcopy(config)
    with pytest.raises(ConfigurationError, match=message) as error:
        validate_configuration(config)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, AssertionError)
    assert config == given_config


BAD_SERVERS: dict[str, Any] = {
    "name": ("tracker.example.com", 6421), "zone of a global address": ("2001:db8::1%eth0", 6421),
    "brackets": ("[::1]", 6421), "no address": ("256.1.1.1", 6421), "empty": ("", 6421), "port 0": ("127.0.0.1", 0),
    "port 99999": ("127.0.0.1", 99999), "port as text": ("127.0.0.1", "6421"), "port as truth": ("127.0.0.1", True),
    "half a port": ("127.0.0.1", 1.5), "endless port": ("127.0.0.1", float("inf")),
    "huge port": ("127.0.0.1", 10 ** 400),
    "blank": ("127.0.0.1 ", 6421), "unspecified": ("0.0.0.0", 6421), "broadcast": ("255.255.255.255", 6421),
    "multicast": ("ff02::1", 6421), "text": "127.0.0.1:6421", "three": ("127.0.0.1", 6421, 5), "nothing": None,
    "number": (5, 6421), "number alone": 5,
}


@pytest.mark.parametrize("name", BAD_SERVERS)
def test_bad_bootstrap_server_is_named(name: str) -> None:
    config = small()
    init = {"ip_addresses": [("127.0.0.1", 6421), BAD_SERVERS[name]], "dns_addresses": []}
    config["overlays"][0]["bootstrappers"][0]["init"] = init
    with pytest.raises(ConfigurationError, match=r"init.ip_addresses\[1\], .*cannot be contacted: ") as e:
        validate_configuration(config)
    assert shown(BAD_SERVERS[name]) in str(e.value)


@pytest.mark.parametrize("entry", [("a b", 6421), ("a:6421", 6421), ("http://a", 6421), ("", 1), ("a..b", 1),
                                   ("a" * 64, 1), ("a.b", "6421"), "a.b:6421"])
def test_bad_name_of_a_bootstrap_server_is_named(entry: Any) -> None:
    config = small()
    init = {"ip_addresses": [], "dns_addresses": [("localhost", 6421), ("::1", 1), ("münchen.example.", 1), entry]}
    config["overlays"][0]["bootstrappers"][0]["init"] = init
    with pytest.raises(ConfigurationError, match=r"dns_addresses\[3\], .*cannot be contacted: "):
        validate_configuration(config)


def test_servers_of_an_iterator_are_not_used_up() -> None:
    config = small()
    init = config["overlays"][0]["bootstrappers"][0]["init"] = {"ip_addresses": iter([("127.0.0.1", 1)])}
    validate_configuration(config)
    assert list(init["ip_addresses"]) == [("127.0.0.1", 1)]


TOLERATED: dict[str, tuple[Any, str]] = {
    "unknown key": (lambda c: c.update(my_application={}), "unknown key 'my_application'.*ignored"),
    "unknown key of an overlay": (lambda c: c["overlays"][0].update(comment="x"), "unknown key 'comment'"),
    "half a peer": (lambda c: c["overlays"][0]["walkers"][0].update(peers=2.5), "should be a whole number"),
    "fewer than any peers": (lambda c: c["overlays"][0]["walkers"][0].update(peers=float("-inf")), "whole number"),
    "number as alias": (lambda c: (c["keys"][0].update(alias=5), c["overlays"][0].update(key=5)), "should be a string"),
    "directory": (lambda c: c.update(working_directory=5), "working_directory should be the path"),
}


@pytest.mark.parametrize("name", TOLERATED)
def test_what_other_implementations_use_is_a_warning(name: str) -> None:
    change, message = TOLERATED[name]
    config = small()
    assert validate(config, None) == []
    change(config)
    (warning,) = validate(config, None)
    assert re.search(message, warning)
    validate_configuration(config)


@pytest.mark.parametrize(("given_interval", "used"), [(-1, 0), (float("inf"), LONGEST_WALKER_INTERVAL), (3, 3)])
def test_intervals_out_of_range_are_replaced_where_a_node_is_made(given_interval: float, used: float) -> None:
    assert complete_configuration({"walker_interval": given_interval})["walker_interval"] == used


def test_empty_dictionary_is_an_empty_list() -> None:
    complete = complete_configuration({"overlays": {}, "interfaces": {}, "keys": {}})
    assert (complete["overlays"], complete["interfaces"], complete["keys"]) == ([], [], [])


def test_definitions_without_arguments_are_completed() -> None:
    complete = complete_configuration({"overlays": [{"class": "A", "bootstrappers": [{"class": "X"}], "walkers": [5]}]})
    assert complete["overlays"][0]["bootstrappers"] == [{"class": "X", "init": {}}]
    assert complete["overlays"][0]["walkers"] == [5]


class OwnSettings(CommunitySettings):
    greeting: str = "hello"
    limit = 5
    choice: float | None = None
    anything: Any = None


class OwnOverlay:
    settings_class: Any = OwnSettings


@pytest.mark.parametrize(("name", "value", "message"), [
    ("max_peerz", 1, "do not know 'max_peerz'; did you mean 'max_peers'"),
    ("max_peers", "many", "'max_peers' must be a number, not str"),
    ("max_peers", None, "'max_peers' must be a number, not NoneType"),
    ("max_peers", 10 ** 400, "'max_peers' is too large"),
    ("anonymize", "no", "'anonymize' must be True or False, not str"),
    ("greeting", 5, "'greeting' must be text, not int"),
    ("limit", "5", "'limit' must be a number"),
    ("choice", "a", "'choice' must be a number or None"),
])
def test_wrong_settings(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here: the setting.*{message}"):
        check_settings("here", OwnOverlay, {name: value})


@pytest.mark.parametrize(("name", "value"), [
    ("max_peers", 20.0), ("max_peers", float("inf")), ("max_peers", -1), ("anonymize", 1), ("greeting", "x"),
    ("limit", None), ("choice", None), ("choice", 3), ("anything", object()),
])
def test_right_settings(name: str, value: Any) -> None:
    assert check_settings("here", OwnOverlay, {name: value}) == []


def test_unknown_settings_are_a_warning_unless_the_class_takes_any() -> None:
    (warning,) = check_settings("here", OwnOverlay, {"colour": "red"})
    assert "do not know 'colour'" in warning

    class Open:
        settings_class = type("OpenSettings", (CommunitySettings,), {"allow_unknown": True})

    assert check_settings("here", Open, {"colour": "red", "max_peerz": 3}) == []


def test_settings_say_at_once_what_is_misspelt() -> None:
    with pytest.raises(TypeError, match="OwnSettings has no setting 'max_peer'; did you mean 'max_peers'"):
        OwnSettings(max_peer=5)
    assert OwnSettings(max_peers=5, colour="red").colour == "red"


def test_ip_versions() -> None:
    def interfaces(builder: ConfigBuilder) -> Any:
        return [(block["interface"], block["ip"], block["port"]) for block in builder.finalize()["interfaces"]]

    assert interfaces(ConfigBuilder().set_ip_versions(6)) == [("UDPIPv6", "::", 8090)]
    both = ConfigBuilder().set_address("127.0.0.1").set_port(7000).set_ip_versions(4, 6)
    assert interfaces(both) == [("UDPIPv4", "127.0.0.1", 7000), ("UDPIPv6", "::", 7000)]
    assert interfaces(both.set_address("::1", "UDPIPv6").set_ip_versions(6, port=0)) == [("UDPIPv6", "::1", 0)]
    assert interfaces(both.set_ip_versions(4)) == [("UDPIPv4", "0.0.0.0", 0)]
    wrongs: list[Any] = [(), (5,), (4, "6")]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError, match="4, 6, or both"):
            ConfigBuilder().set_ip_versions(*wrong)


logging.addLevelName(15, "CHATTY")
ACCEPTED: dict[str, Any] = {
    "truth as port": lambda c: c["interfaces"][0].update(port=True),
    "own level": lambda c: c.update(logger={"level": "CHATTY"}),
    "number of a level": lambda c: c.update(logger={"level": 15}),
    "addresses": lambda c: c["overlays"][0]["bootstrappers"][0].update(init={
        "ip_addresses": [("127.000.000.001", 1), ("::ffff:1.2.3.4", 2.0), ("fe80::1%eth0", 3), ["::1", 65535]],
        "dns_addresses": [("localhost", 1)]}),
    "file": lambda c: c["keys"][0].update(file=Path("key.pem")),
    "no file": lambda c: c["keys"][0].update(file=None),
    "directory": lambda c: c.update(working_directory=Path("somewhere")),
    "no directory": lambda c: c.update(working_directory=None),
    "port": lambda c: c["interfaces"][0].update(port=8090.0),
    "no options of sockets": lambda c: c["interfaces"][0].update(sockopts=None),
    "options of sockets": lambda c: c["interfaces"][0].update(sockopts=[(1, 2, 3), (1, 2, b"x")]),
    "peers": lambda c: c["overlays"][0]["walkers"][0].update(peers=20.0),
    "all peers": lambda c: c["overlays"][0]["walkers"][0].update(peers=float("inf")),
    "always": lambda c: c["overlays"][0]["walkers"][0].update(peers=-1.0),
    "on_start": lambda c: c["overlays"][0].update(on_start={"first": ("started", 1)}.values()),
    "keys": lambda c: c.update(keys={key["alias"]: key for key in c["keys"]}.values()),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_meant_is_accepted(name: str) -> None:
    config = small()
    ACCEPTED[name](config)
    validate_configuration(config)
    validate_configuration(complete_configuration(config))


def test_builder_keeps_paths_as_they_are() -> None:
    config = (ConfigBuilder().add_key("a", "low", Path("a.pem")).add_key("b", "low", None)
              .add_key_from_bin("c", "AAAA", Path("c.pem")).set_working_directory(Path("somewhere")).finalize())
    assert [block["file"] for block in config["keys"][1:]] == [Path("a.pem"), None, Path("c.pem")]
    assert config["working_directory"] == Path("somewhere")


def test_iterators_become_lists() -> None:
    calls = [("started", 1), ("started", 2)]
    builder = ConfigBuilder(clean=True).add_overlay("A", "me", iter([WALK]), iter(()), {}, iter(calls))
    assert builder.config["overlays"][0]["on_start"] == calls
    config = small()
    before = complete_configuration(config)
    for name in ("on_start", "walkers", "bootstrappers"):
        config["overlays"][0][name] = iter(config["overlays"][0][name])
    for name in ("interfaces", "keys", "overlays"):
        config[name] = iter(config[name])
    assert complete_configuration(config) == before


def test_iterators_are_not_used_up_by_a_check() -> None:
    config = small()
    config["overlays"][0]["on_start"] = iter([("started",)])
    with pytest.raises(ConfigurationError, match="on_start must be a list"):
        validate_configuration(config)
    assert list(config["overlays"][0]["on_start"]) == [("started",)]


def test_any_bootstrapper_name_can_be_allowed() -> None:
    config = small()
    config["overlays"][0]["bootstrappers"][0]["class"] = "MyBootstrapper"
    validate_configuration(config, bootstrappers=None)
    with pytest.raises(ConfigurationError, match="unknown bootstrapper 'MyBootstrapper'"):
        validate_configuration(config)


def test_checks_survive_optimisation() -> None:
    program = ("from ipv8.configuration import ConfigBuilder\n"
               "try: ConfigBuilder(clean=True).finalize()\n"
               "except ValueError: print('checked')")
    run = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True,
                         cwd=Path(configuration.__file__).parent.parent)
    assert run.stdout == "checked\n"


def test_no_configuration_at_all() -> None:
    with pytest.raises(ConfigurationError, match="must be a dictionary, not list"):
        validate_configuration([])  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(ConfigurationError, match="must be a dictionary, not str"):
        complete_configuration("{}")  # type: ignore[arg-type]  # the mistake that is tested


def test_optional_parts_are_filled_in_without_touching_the_input() -> None:
    given_config = {"keys": [], "overlays": [{"class": "A", "key": "me"}], "address": "1.2.3.4"}
    before = copy.deepcopy(given_config)
    complete = complete_configuration(given_config)
    assert given_config == before
    assert complete["interfaces"] == [{"interface": "UDPIPv4", "ip": "1.2.3.4", "port": 8090}]
    assert complete["overlays"] == [{"class": "A", "key": "me", "walkers": [], "bootstrappers": [], "initialize": {},
                                     "on_start": []}]
    assert complete["walker_interval"] == 0.5


def test_deprecated_port_becomes_one_more_interface() -> None:
    config = small()
    complete = complete_configuration({**config, "port": 9})
    assert complete["interfaces"] == [*config["interfaces"], {"interface": "UDPIPv4", "ip": "0.0.0.0", "port": 9}]
    assert len(config["interfaces"]) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10 ** 400, -10 ** 400]) | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


@settings(deadline=None, max_examples=200)
@given(path=st.lists(st.integers(0, 5), min_size=1, max_size=5), value=json_values)
def test_nonsense_anywhere_is_accepted_or_refused_in_one_way(path: list[int], value: Any) -> None:
    config: Any = small()
    node = config
    for step, index in enumerate(path):
        entries = list(node) if isinstance(node, dict) else range(len(node))
        if not entries:
            break
        entry = entries[index % len(entries)]
        if step == len(path) - 1 or not isinstance(node[entry], (dict, list)):
            node[entry] = value
            break
        node = node[entry]
    with suppress(ConfigurationError):
        validate_configuration(config)
