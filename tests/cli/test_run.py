"""``ipv8 run``: from arguments to a configuration, and to a node."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import service as service_module
from ipv8.cli.main import main
from ipv8.configuration import get_default_configuration
from ipv8.keyvault.files import load_private_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """The nodes that would have been run: their arguments and configurations."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    async def serve(arguments: Any, configuration: dict[str, Any]) -> None:
        calls.append((arguments, configuration))

    monkeypatch.setattr(service_module, "serve", serve)
    return calls


def test_default(served: list[Any]) -> None:
    assert main(["run"]) == 0
    ((arguments, configuration),) = served
    assert configuration == get_default_configuration()
    assert (arguments.statistics, arguments.no_rest_api) == (False, True)


def test_options(served: list[Any]) -> None:
    main(["run", "--listen-address", "127.0.0.1", "--port", "9000", "--key-file", "my.pem", "--log-level", "debug",
          "-s", "-a"])
    ((arguments, configuration),) = served
    assert configuration["interfaces"] == [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 9000}]
    assert configuration["keys"] == [{"alias": "anonymous id", "generation": "curve25519", "file": "my.pem"}]
    assert configuration["logger"] == {"level": "DEBUG"}
    assert arguments.statistics


def test_peers_are_remembered_on_request(served: list[Any]) -> None:
    main(["run", "--peers", "here"])
    for overlay in served[0][1]["overlays"]:
        memory = {"class": "MemoryBootstrapper", "init": {"path": os.path.join("here", "")}}
        assert overlay["bootstrappers"][0] == memory
        assert overlay["bootstrappers"][1]["class"] == "DispersyBootstrapper"


def test_configuration_file(served: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text(json.dumps({**get_default_configuration(), "walker_interval": 2}))
    assert main(["run", "--config", str(path), "--port", "1"]) == 0
    assert served[0][1]["walker_interval"] == 2
    assert served[0][1]["interfaces"][0]["port"] == 1


@pytest.mark.parametrize(("content", "message"), [
    ("{", "is not a JSON file"), ("[]", "does not hold a JSON object"), (None, "leave out --config")])
def test_bad_configuration_file(content: str | None, message: str, served: list[Any], tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "node.json"
    if content is not None:
        path.write_text(content)
    assert main(["run", "--config", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert not served


def test_bad_log_level(served: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--log-level", "debog"]) == 2
    assert "did you mean 'DEBUG'" in capsys.readouterr().err


def test_a_node_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def end() -> None:
        pass

    monkeypatch.setattr(service_module, "run_forever", end)
    caplog.set_level("INFO")
    path = tmp_path / "node.json"
    path.write_text(json.dumps({
        "interfaces": [{"interface": "UDPIPv4", "ip": "127.0.0.1", "port": 0}],
        "keys": [{"alias": "me"}], "overlays": []}))
    key_file = tmp_path / "key.pem"
    assert main(["run", "--config", str(path), "--key-file", str(key_file)]) == 0
    (told,) = (record.getMessage() for record in caplog.records if record.name == "IPV8Service")
    mid = load_private_key(key_file).pub().key_to_hash().hex()
    assert re.fullmatch(rf"The node listens on 127\.0\.0\.1, UDP port [1-9]\d*, as 'me' with mid {mid}", told)
