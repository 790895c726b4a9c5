"""``ipv8 run``: from arguments to a configuration, and to a node."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import node, service as service_module
from ipv8.cli.main import main
from ipv8.cli.overlays import load_overlay_class
from ipv8.cli.service import IPV8Service
from ipv8.configuration import ConfigBuilder, get_default_configuration, validate_configuration
from ipv8.keyvault.files import load_private_key

if TYPE_CHECKING:
    from pathlib import Path

CHAT = "examples.chat:Chat"

PROGRAM = """
from ipv8 import Community

class Outer:
    class Mine(Community):
        community_id = bytes(range(20))
        def started(self): pass

Mine = Outer.Mine

class Other(Community):
    community_id = bytes(20)

class NoOverlay:
    pass
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the current one, and where the platform would keep the data of programs."""
    monkeypatch.setattr(node, "default_key_file", lambda: tmp_path / "data" / "ipv8" / "key.pem")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def program(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of a user in the current directory."""
    (home / "program_of_test.py").write_text(PROGRAM)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "program_of_test", raising=False)
    return "program_of_test"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[IPV8Service, bool, dict[str, Any]]]:
    """The nodes that would have been run: their services and options."""
    calls: list[tuple[IPV8Service, bool, dict[str, Any]]] = []

    async def serve(service: IPV8Service, statistics: bool, **options: Any) -> None:
        calls.append((service, statistics, options))

    monkeypatch.setattr(service_module, "serve", serve)
    return calls


def configured(served: list[Any]) -> Any:
    """The configuration of the only node that would have been run."""
    ((service, _, _),) = served
    validate_configuration(service.configuration)
    return service.configuration


# -- configurations --------------------------------------------------------------------------------------------------

def test_default(served: list[Any], home: Path) -> None:
    assert main(["run"]) == 0
    expected = get_default_configuration()
    path = home / "data" / "ipv8" / "key.pem"
    expected["keys"][0]["file"] = str(path)
    assert configured(served) == expected
    assert path.parent.is_dir()
    assert os.name != "posix" or path.parent.stat().st_mode & 0o077 == 0
    assert served[0][1:] == (False, {"no_rest_api": False, "as_json": False, "api_key": None, "cert_file": None,
                                     "api_port": None, "api_address": "127.0.0.1", "metrics_without_key": False,
                                     "bootstrap": (), "api_names": ()})


def test_the_platform_says_where_the_key_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.undo()
    assert node.default_key_file() == platformdirs.user_data_path("ipv8", appauthor=False) / "key.pem"


def test_directory_that_cannot_be_made(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "data").write_text("in the way")
    assert main(["run"]) == 2
    error = capsys.readouterr().err
    assert "cannot be made" in error
    assert "give another file with --key-file" in error


def test_options(served: list[Any]) -> None:
    main(["run", "--listen-address", "127.0.0.1", "--port", "9000", "--key-file", "my.pem", "--log-level", "debug",
          "-s", "--api-port", "9001", "--api-address", "0.0.0.0", "--api-key", "secret", "--json",
          "--metrics-without-key", "--bootstrap", "127.0.0.1:9", "--api-name", "node.test", "--api-name", "other.test"])
    configuration = configured(served)
    assert configuration["interfaces"] == [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 9000}]
    assert configuration["keys"] == [{"alias": "anonymous id", "generation": "curve25519", "file": "my.pem"}]
    assert configuration["logger"] == {"level": "DEBUG"}
    assert served[0][1:] == (True, {"no_rest_api": False, "as_json": True, "api_key": "secret", "cert_file": None,
                                    "api_port": 9001, "api_address": "0.0.0.0", "metrics_without_key": True,
                                    "bootstrap": (("127.0.0.1", 9),), "api_names": ("node.test", "other.test")})


def test_peers_are_remembered_on_request(served: list[Any]) -> None:
    main(["run", "--peers", "here"])
    for overlay in configured(served)["overlays"]:
        memory = {"class": "MemoryBootstrapper", "init": {"path": os.path.join("here", "")}}
        assert overlay["bootstrappers"][0] == memory
        assert overlay["bootstrappers"][1]["class"] == "DispersyBootstrapper"


def test_servers_of_ones_own(served: list[Any]) -> None:
    main(["run", "--bootstrap", "192.0.2.1:6421", "--bootstrap", "tracker.test:5", "--bootstrap", "[2001:db8::1]:6",
          "--peers", "here"])
    for overlay in configured(served)["overlays"]:
        memory, servers = overlay["bootstrappers"]
        assert memory["class"] == "MemoryBootstrapper"
        assert servers["class"] == "DispersyBootstrapper"
        assert servers["init"]["ip_addresses"] == [("192.0.2.1", 6421), ("2001:db8::1", 6)]
        assert servers["init"]["dns_addresses"] == [("tracker.test", 5)]


def test_configuration_file(served: list[Any], home: Path) -> None:
    path = home / "node.json"
    path.write_text(json.dumps({**get_default_configuration(), "walker_interval": 2}))
    assert main(["run", "--config", str(path), "--port", "1"]) == 0
    assert configured(served)["walker_interval"] == 2
    assert configured(served)["interfaces"][0]["port"] == 1
    assert configured(served)["keys"] == get_default_configuration()["keys"]
    assert not (home / "data").exists()


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is not a JSON file"), ("[" * 100_000, "is not a JSON file"), ("\xff", "is not a JSON file"),
    ("[]", "does not hold a JSON object"), (None, "there is no file"), ("{}", "lacks the key")])
def test_bad_configuration_file(content: str | None, message: str, home: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "node.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    assert main(["run", "--config", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("changes", "message"), [
    ({"keys": []}, "the configuration has no key for the overlay"),
    ({"keys": 5}, "the configuration has no key for the overlay"),
    ({"keys": [{"alias": 5}]}, "the configuration has no key for the overlay"),
])
def test_overlays_need_a_key(changes: dict[str, Any], message: str, home: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "node.json"
    path.write_text(json.dumps({**get_default_configuration(), **changes}))
    assert main(["run", "--config", str(path), CHAT]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["interfaces", "keys", "overlays", "logger", "trust"])
@pytest.mark.parametrize("value", [5, "x", [5], [[]], [{}], True, {"a": 1}, {}, None])
def test_options_that_change_a_bad_configuration(name: str, value: Any, home: Path, served: list[Any],
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    configuration = {**ConfigBuilder().add_key("me", "curve25519", "key.pem").finalize(), name: value}
    (home / "node.json").write_text(json.dumps(configuration))
    status = main(["run", "--config", "node.json", "--port", "0", "--listen-address", "127.0.0.1", "--key-file",
                   "k.pem", "--log-level", "DEBUG", "--bootstrap", "a.test:5", "--peers", "peers", "--print-config"])
    error = capsys.readouterr().err
    assert (status, error.startswith("ipv8: node.json")) in {(0, False), (2, True)}


def test_the_configuration_is_printed(home: Path, capsys: pytest.CaptureFixture[str], served: list[Any]) -> None:
    assert main(["run", "--print-config", "--port", "5", "--bootstrap", "a.test:6", CHAT]) == 0
    text = capsys.readouterr().out
    configuration = json.loads(text)
    assert configuration["interfaces"][0]["port"] == 5
    assert [overlay["class"] for overlay in configuration["overlays"]] == [CHAT]
    assert list(home.iterdir()) == []
    assert not served
    # It can be used, and gives the same configuration.
    (home / "node.json").write_text(text)
    assert main(["run", "--config", "node.json", "--print-config"]) == 0
    assert json.loads(capsys.readouterr().out) == configuration


@pytest.mark.parametrize(("arguments", "message"), [
    (["--log-level", "debog"], "there is no level 'debog'; did you mean 'DEBUG'?"),
    (["--log-level", ""], "there is no level ''"),
    (["--port", "65536"], "'65536' is no port"),
    (["--port", "-1"], "'-1' is no port"),
    (["--bootstrap", "tracker.test"], "is not HOST:PORT"),
    (["--bootstrap", ""], "is not HOST:PORT"),
    (["--listen-address", "::1"], "is no IPv4 address"),
    (["--config", ""], "must not be empty"),
    (["--config", "."], "is a directory"),
    (["--key-file", "missing/key.pem"], "there is no directory"),
    (["--peers", ""], "must not be empty"),
    (["--peers", "file"], "is no directory"),
    (["--peers", "file/below"], "Not a directory"),
    (["--boostrap", "a:5"], "--bootstrap"),
    (["Chat"], "'Chat' is not MODULE:CLASS, such as my_module:MyCommunity"),
    ([""], "must not be empty"),
    (["a b:C"], "is not MODULE:CLASS"),
    (["chat.py:Chat"], "there is no module 'chat.py'"),
    (["no_module_of_test:Chat"], "there is no module 'no_module_of_test': start in the directory of"),
    (["examples.chat:Caht"], "the module examples.chat has no class 'Caht'; did you mean 'Chat'?"),
    (["examples.chat:message"], "is no overlay: it must be a subclass of ipv8.Community"),
    (["ipv8.peer:Peer"], "is no overlay"),
    (["ipv8.community:Community"], "ipv8.community:Community has no community_id: define 20 bytes"),
    (["examples.chat:__name__.x"], "the module examples.chat has no class '__name__.x'"),
])
def test_wrong_arguments(arguments: list[str], message: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").touch()
    assert main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err


# -- overlays --------------------------------------------------------------------------------------------------------

def test_overlays_of_a_user(served: list[Any], program: str) -> None:
    names = [f"{program}:Outer.Mine", f"{program}:Other"]
    assert main(["run", *names]) == 0
    blocks = configured(served)["overlays"]
    assert [block["class"] for block in blocks] == names
    assert [block["on_start"] for block in blocks] == [[("started",)], []]
    classes = served[0][0].extra_communities
    assert {name: overlay.__name__ for name, overlay in classes.items()} == dict(zip(names, ["Mine", "Other"],
                                                                                     strict=True))


def test_overlays_of_a_user_beside_those_of_a_configuration(served: list[Any], program: str, home: Path) -> None:
    builder = ConfigBuilder().clear_overlays().add_overlay(f"{program}:Other", "anonymous id", [], [], {}, [])
    (home / "node.json").write_text(json.dumps(builder.finalize()))
    assert main(["run", "--config", "node.json", f"{program}:Mine", "--bootstrap", "a.test:5"]) == 0
    blocks = configured(served)["overlays"]
    assert [block["class"] for block in blocks] == [f"{program}:Other", f"{program}:Mine"]
    assert [len(block["bootstrappers"]) for block in blocks] == [1, 1]
    assert set(served[0][0].extra_communities) == {f"{program}:Other", f"{program}:Mine"}


@pytest.mark.parametrize(("source", "message"), [
    ("import no_module_of_test", "needs the module no_module_of_test, which is not installed"),
    ("raise OSError('broken')", "cannot be imported: OSError: broken"),
    ("(", "cannot be imported: SyntaxError"),
])
def test_modules_that_fail(source: str, message: str, program: str, home: Path,
                           capsys: pytest.CaptureFixture[str]) -> None:
    (home / f"{program}.py").write_text(source)
    with pytest.raises(ValueError, match=message):
        load_overlay_class(f"{program}:Mine")
    assert ("Traceback" in capsys.readouterr().err) == ("cannot be imported" in message)


# -- nodes -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def stop_when_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT to this process as soon as a node has started."""
    start = IPV8Service.start_ipv8

    async def start_and_stop(service: IPV8Service, *args: Any, **kwargs: Any) -> None:
        await start(service, *args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(IPV8Service, "start_ipv8", start_and_stop)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
@pytest.mark.usefixtures("stop_when_started")
def test_a_node_is_run(home: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("INFO")
    path = home / "node.json"
    path.write_text(json.dumps({
        "interfaces": [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 0}],
        "keys": [{"alias": "me"}], "overlays": []}))
    key_file = home / "key.pem"
    assert main(["run", "--config", str(path), "--key-file", str(key_file), "--json", CHAT, "--bootstrap",
                 "127.0.0.1:9"]) == 0
    (told,) = (record.getMessage() for record in caplog.records if record.name == "IPV8Service")
    public_key = load_private_key(key_file).pub()
    mid = public_key.key_to_hash().hex()
    pattern = (r"The node listens on 127\.0\.0\.1, UDP port ([1-9]\d*), "
               rf"as 'me' with mid {mid} and its key in {re.escape(str(key_file))}")
    match = re.fullmatch(pattern, told)
    assert match
    started, stopped = map(json.loads, capsys.readouterr().out.splitlines())
    url = started.pop("rest_api")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert started.pop("dashboard") == f"{url}/dashboard"
    assert f"The dashboard of the node is at {url}/dashboard" in caplog.messages
    assert started == {
        "event": "started", "addresses": [{"host": "127.0.0.1", "port": int(match[1])}],
        "keys": [{"alias": "me", "mid": mid, "public_key": public_key.key_to_bin().hex(), "file": str(key_file)}],
        "overlays": [{"class": "Chat", "community_id": "5b3e09c1a7d84f62b0c4e817932d6fa5c8017be4"}]}
    assert stopped == {"event": "stopped"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself end the process")
@pytest.mark.usefixtures("stop_when_started")
def test_the_default_configuration_gives_no_warning(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["run", "--listen-address", "127.0.0.1", "--port", "0", "--bootstrap", "127.0.0.1:9"]) == 0
    assert [record.getMessage() for record in caplog.records if record.levelname not in {"INFO", "DEBUG"}] == []
    assert (home / "data" / "ipv8" / "key.pem").exists()
    assert [path.name for path in home.iterdir()] == ["data"]
