"""Configurations in files: each format says the same, and what is wrong with it is told with file, line and path."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ipv8.cli import config_files, node
from ipv8.cli.config_files import FORMATS, read_configuration, write_configuration
from ipv8.cli.main import main
from ipv8.configuration import ConfigBuilder, ConfigurationError, get_default_configuration

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["off", "no", "1:30", "2024-01-01", "~", "0x10", "1e3", "null", "", " a ", "true", "#x", "é", "<<"]
"""Texts that other versions of YAML take for something else."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the current one, and where the platform would keep the data of programs."""
    monkeypatch.setattr(node, "default_key_file", lambda: tmp_path / "data" / "ipv8" / "key.pem")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configurations() -> list[Any]:
    everything = ConfigBuilder().add_ephemeral_key("other").set_sessions(hybrid="off").finalize()
    everything["trust"] = {"half_life": 2.5, "report": True, "walks": 7}
    everything["overlays"][0]["initialize"] = {"texts": TEXTS, "number": -3, "large": 10 ** 12, "small": 1e-9,
                                               "nested": {"a": [[1], []], "b": {}}}
    everything["overlays"][0]["walkers"][0]["peers"] = float("inf")
    return [pytest.param(get_default_configuration(), id="default"), pytest.param(everything, id="everything")]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("configuration", configurations())
def test_what_is_written_is_read_again(configuration: dict[str, Any], form: str, home: Path) -> None:
    path = home / f"node.{form}"
    path.write_text(write_configuration(configuration, form), "utf-8")
    assert read_configuration(str(path)) == json.loads(json.dumps(configuration))


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_print_config_converts(first: str, second: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--print-config", "--format", first, "--port", "5"]) == 0
    (home / f"node.{first}").write_text(capsys.readouterr().out)
    assert main(["run", "--config", f"node.{first}", "--print-config", "--format", second]) == 0
    (home / f"again.{second}").write_text(capsys.readouterr().out)
    assert read_configuration(f"again.{second}") == read_configuration(f"node.{first}")
    assert main(["run", "--config", f"again.{second}", "--print-config"]) == 0  # in the format of the file
    assert capsys.readouterr().out == (home / f"again.{second}").read_text()


@pytest.mark.parametrize("name", ["node.yml", "node.YAML"])
def test_other_endings_of_yaml(name: str, home: Path) -> None:
    (home / name).write_text("a: off\nb: [1, 0o17, 0x1F, -2.5e3, .inf, null, true]\n")
    assert read_configuration(name) == {"a": "off", "b": [1, 15, 31, -2500.0, float("inf"), None, True]}


def test_the_default_format_is_json(home: Path) -> None:
    (home / "node").write_text('{"a": 1}')
    assert read_configuration("node") == {"a": 1}


def test_a_mark_of_the_order_of_bytes_and_ends_of_lines_of_windows(home: Path) -> None:
    for form, text in (("json", '{\r\n"a": 1}'), ("toml", "a = 1\r\n[b]\r\n"), ("yaml", "a: 1\r\nb: {}\r\n")):
        (home / f"node.{form}").write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_configuration(f"node.{form}")["a"] == 1


def test_toml_leaves_out_nulls_that_mean_nothing() -> None:
    configuration = {"keys": [{"alias": "me", "generation": "low", "file": None}], "sessions": None, "trust": None}
    assert "null" not in write_configuration(configuration, "toml")
    with pytest.raises(ConfigurationError, match=r"overlays\[0\]\.initialize\.x is null, which TOML does not have"):
        write_configuration({"overlays": [{"initialize": {"x": None}}]}, "toml")


# -- what is wrong ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "content", "message"), [
    ("node.json", '{"keys": [],\n "keys": []}', "node.json is not a JSON file: the key 'keys' is there twice"),
    ("node.json", '{"keys": [\n}', "node.json is not a JSON file: Expecting value: line 2 column 1"),
    ("node.json", "[" * 100_000, "node.json is not a JSON file"),
    ("node.json", "[]", "node.json does not hold a JSON object, but list"),
    ("node", "keys = []", "The ending of the name says the format: .toml, .yaml or .json"),
    ("node.toml", "keys = []\nkeys = []", "node.toml is not a TOML file: "),
    ("node.toml", "keys = []\nport = = 5", "line 2"),
    ("node.toml", "a = " + "[" * 100_000, "node.toml is not a TOML file"),
    ("node.yaml", "keys: []\nkeys: []",
     "node.yaml is not a YAML file: line 2, column 1: the key 'keys' is there twice"),
    ("node.yaml", "a: {b: 1, b: 2}", "line 1, column 11: the key 'b' is there twice"),
    ("node.yaml", "keys: []\na: [1, 2", "node.yaml is not a YAML file: line 2"),
    ("node.yaml", "a: &x [1]\nb: *x", "line 2, column 4: aliases such as *x are not allowed: write the value again"),
    ("node.yaml", "a: !!python/object:os.system {}", "line 1, column 4: could not determine a constructor"),
    ("node.yaml", "off: 1\n5: 2", "line 2, column 1: the key 5 must be a text"),
    ("node.yaml", "[a, b]: 2", "the key ['a', 'b'] must be a text"),
    ("node.yaml", "a: 1\n---\nb: 1", "line 2, column 1: but found another document"),
    ("node.yaml", "a: \x07", "node.yaml is not a YAML file: unacceptable character"),
    ("node.yaml", "[" * 100_000, "node.yaml is not a YAML file"),
    ("node.yaml", "", "node.yaml does not hold a mapping, but NoneType: begin with what"),
    ("node.yaml", b"a: 1\nb: \xff\n", "node.yaml is not a YAML file: line 2 is not text in UTF-8"),
    ("node.toml", b"#" * (config_files.LARGEST_FILE + 1), "which no configuration needs"),
])
def test_files_that_cannot_be_read(name: str, content: str | bytes, message: str, home: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    (home / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert main(["run", "--config", name]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


BASE = """\
interfaces: []
logger: {level: INFO}
walker_interval: 0.5
working_directory: .
keys:
- alias: me
  generation: curve25519
sessions:
  hybrid: off
overlays:
- class: DiscoveryCommunity
  key: me
  walkers:
  - strategy: RandomWalk
    peers: 20
    init: {}
  bootstrappers: []
  initialize: {max_peers: 30}
  on_start: []
"""


@pytest.mark.parametrize(("old", "new", "message"), [
    ("peers: 20", "peers: many",
     "node.yaml, line 15: overlays[0] (DiscoveryCommunity).walkers[0].peers must be a number"),
    ("- class: DiscoveryCommunity", "- clas: DiscoveryCommunity",
     "node.yaml, line 11: overlays[0] lacks the key 'class'"),
    ("generation: curve25519", "generation: curve", "node.yaml, line 7: keys[0].generation: unknown curve 'curve'"),
    ("hybrid: off", "hybrid: of", "node.yaml, line 9: sessions.hybrid: there is no 'of'; did you mean 'off'?"),
    ("hybrid: off", "hybird: off", "node.yaml, line 9: sessions has an unknown key 'hybird'; did you mean 'hybrid'?"),
    ("walker_interval: 0.5", "walker_interval: .nan", "node.yaml, line 3: walker_interval must be a number, not NaN"),
    ("interfaces: []", "interfaces: []\ninterface: []",
     "node.yaml, line 2: the configuration has an unknown key 'interface'"),
    ("keys:\n- alias: me", "keys:\n- alias: [me]", "node.yaml, line 6: keys[0].alias must be a string"),
    ("key: me", "key: you", "node.yaml, line 12: overlays[0] (DiscoveryCommunity).key: no key has the alias 'you'"),
    ("level: INFO", "levle: INFO", "node.yaml, line 2: logger: logging.basicConfig has no argument 'levle'"),
    ("max_peers: 30", "max_peesr: 30", "node.yaml, line 18: overlays[0] (DiscoveryCommunity).initialize: the settings"),
    ("on_start: []", "on_start: [strat]", "node.yaml, line 19: overlays[0] (DiscoveryCommunity).on_start[0] must be"),
    ("on_start: []", "on_start: [[strat]]", "node.yaml: on_start of DiscoveryCommunity: it has no method 'strat'"),
    ("class: DiscoveryC", "class: DicsoveryC",
     "node.yaml: there is no overlay class 'DicsoveryCommunity'; did you mean"),
    ("RandomWalk", "RadnomWalk", "node.yaml: DiscoveryCommunity has no discovery strategy 'RadnomWalk'; did you mean"),
])
def test_a_wrong_value_is_told_with_file_line_and_path(old: str, new: str, message: str, home: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert old in BASE
    (home / "node.yaml").write_text(BASE.replace(old, new))
    assert main(["run", "--config", "node.yaml", "--no-rest-api"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("form", "knows_lines"), [("json", True), ("toml", False)])
def test_lines_of_other_formats(form: str, knows_lines: bool, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = get_default_configuration()
    configuration["interfaces"][0]["port"] = -5
    text = write_configuration(configuration, form)
    (home / f"node.{form}").write_text(text)
    assert main(["run", "--config", f"node.{form}", "--print-config"]) == 2
    error = capsys.readouterr().err
    line = len(text[:text.index("-5")].splitlines())
    place = f"node.{form}, line {line}: " if knows_lines else f"node.{form}: "
    assert f"{place}interfaces[0].port must be an integer from 0 (any free port) to 65535, not -5" in error


def test_json_needs_no_package_and_others_name_theirs(home: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("yaml", "tomli_w", "tomli", "tomllib"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("node.json", "node.yaml", "node.toml"):
        (home / name).write_text("{}")
    assert main(["run", "--config", "node.json"]) == 2
    assert "node.json: the configuration lacks the key" in capsys.readouterr().err
    for name, package in (("node.yaml", "PyYAML"), ("node.toml", "toml")):
        assert main(["run", "--config", name]) == 2
        error = capsys.readouterr().err
        assert re.search(rf'needs the package {package}\w*: pip install "ipv8\[cli\]"', error)


def test_format_is_about_print_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--format", "toml"]) == 2
    assert "--format needs --print-config" in capsys.readouterr().err
