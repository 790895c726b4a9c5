"""Configurations of nodes in files: JSON, TOML or YAML, by the ending of the name (doc/command_line.md)."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["FORMATS", "format_of", "naming_file", "read_configuration", "write_configuration"]

FORMATS = ("json", "toml", "yaml")
ENDINGS = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of a configuration, at most."""

NO_NULL = (r"keys\[\d+\]\.file", "sessions", "trust", r"trust\.(statements|working_directory|half_life)")
"""The values that mean the same when they are missing, so that TOML, which has no null, can leave them out."""

PATH = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\[\d+\](?: \([^()]*\))?)*")
"""How the message of a ``ConfigurationError`` names a value, as in ``overlays[0] (Chat).walkers[1].peers``."""


def format_of(path: str) -> str:
    """The format of a file by the ending of its name, which is JSON if the ending says nothing."""
    return ENDINGS.get(Path(path).suffix.lower(), "json")


def read_configuration(path: str) -> dict[str, Any]:
    """The dictionary in a file.

    :raises ConfigurationError: if the file is not what the ending of its name says. The message has the line.
    :raises ModuleNotFoundError: if the format needs a package that is missing.
    """
    text = _text_of(path)
    form = format_of(path)
    try:
        configuration = _READERS[form](text)
    except (ValueError, RecursionError) as e:
        hint = "" if Path(path).suffix else ". The ending of the name says the format: .toml, .yaml or .json"
        raise ConfigurationError(f"{path} is not a {form.upper()} file: {e}{hint}") from e
    if not isinstance(configuration, dict):
        raise ConfigurationError(f"{path} does not hold a {_WORDS[form]}, but {type(configuration).__name__}: begin "
                                 "with what 'ipv8 run --print-config' prints")
    return configuration


def write_configuration(configuration: Mapping[str, Any], form: str) -> str:
    """The text of a configuration in one of :data:`FORMATS`.

    :raises ConfigurationError: if the format cannot have one of the values.
    """
    return _WRITERS[form](json.loads(json.dumps(configuration, default=os.fspath)))


@contextmanager
def naming_file(path: str | None) -> Iterator[None]:
    """Add the file, and the line if it is known, to the message of a ``ConfigurationError``; nothing without a file."""
    try:
        yield
    except ConfigurationError as e:
        if path is None or str(e).startswith(path):
            raise
        line = _line_of(path, str(e))
        raise ConfigurationError(f"{path}{'' if line is None else f', line {line}'}: {e}") from e


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as e:
        raise FileNotFoundError(f"there is no file {path}: write a configuration there, or leave out --config for the "
                                "default one") from e
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"{path} has more than {LARGEST_FILE} bytes, which no configuration needs")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content[:e.start].count(b"\n") + 1
        raise ConfigurationError(f"{path} is not a {format_of(path).upper()} file: line {line} is not text in UTF-8"
                                 ) from e


# -- JSON ------------------------------------------------------------------------------------------------------------

def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} is there twice in one object")
        result[key] = value
    return result


def _write_json(configuration: dict[str, Any]) -> str:
    return json.dumps(configuration, indent=2) + "\n"


# -- TOML ------------------------------------------------------------------------------------------------------------

def _read_toml(text: str) -> Any:
    return _needed("tomllib" if sys.version_info >= (3, 11) else "tomli", "TOML").loads(text.replace("\r\n", "\n"))


def _write_toml(configuration: dict[str, Any]) -> str:
    return str(_needed("tomli_w", "TOML").dumps(_without_null(configuration, "")))


def _without_null(value: Any, where: str) -> Any:
    """A copy of a value without the nulls that may be left out; ``ConfigurationError`` for others."""
    if isinstance(value, list):
        return [_without_null(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if isinstance(value, dict):
        paths = {key: f"{where}.{key}" if where else key for key in value}
        return {key: _without_null(entry, paths[key]) for key, entry in value.items()
                if entry is not None or not re.fullmatch("|".join(NO_NULL), paths[key])}
    if value is None:
        raise ConfigurationError(f"{where} is null, which TOML does not have: use --format yaml or --format json")
    return value


# -- YAML ------------------------------------------------------------------------------------------------------------

def _yaml() -> Any:
    return _needed("yaml", "YAML")


CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     list("-+0123456789.")),
)
"""What is no text in YAML 1.2 (section 10.3.2 of its specification): tags, patterns, and first characters."""


def _add_core_schema(yaml_class: Any) -> None:
    """Let a loader or a dumper know the core schema."""
    for tag, pattern, first in CORE_SCHEMA:
        yaml_class.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)


def _yaml_loader(yaml: Any) -> Any:
    """A loader for plain data as YAML 1.2 has it.

    In the core schema of YAML 1.2, "off" and "no" are texts. Aliases are refused, as a short file with many of them
    can describe more data than fits into memory. So are keys that are there twice, of which one would be lost.
    """
    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # the base is known when the package is there
        yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as in the base

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()
                raise yaml.MarkedYAMLError(problem=f"aliases such as *{event.anchor} are not allowed: write the value "
                                                   "again", problem_mark=event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            result: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    raise yaml.MarkedYAMLError(problem=f"the key {key!r} must be a text: put it into quotation marks",
                                               problem_mark=key_node.start_mark)
                if key in result:
                    raise yaml.MarkedYAMLError(problem=f"the key {key!r} is there twice",
                                               problem_mark=key_node.start_mark)
                result[key] = self.construct_object(value_node, deep=deep)
            return result

    _add_core_schema(Loader)
    Loader.add_constructor("tag:yaml.org,2002:int", _construct_integer)
    Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
    return Loader


def _construct_integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0 if text.startswith(("0o", "0x")) else 10)


def _construct_float(loader: Any, node: Any) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", loader.construct_scalar(node).lower()))


def _read_yaml(text: str) -> Any:
    yaml: Any = _yaml()
    try:
        return yaml.load(text, _yaml_loader(yaml))
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ValueError(f"{where}{e.problem or e.context}") from e
    except yaml.YAMLError as e:
        raise ValueError(str(e).replace("\n", " ")) from e


def _write_yaml(configuration: dict[str, Any]) -> str:
    yaml: Any = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # the base is known when the package is there
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - as in the base
            return True

    _add_core_schema(Dumper)  # besides that of YAML 1.1, so that other readers take texts for texts, too
    return str(yaml.dump(configuration, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100))


# -- for all of them -------------------------------------------------------------------------------------------------

def _needed(package: str, form: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError(f"{form} needs the package {package.replace('_', '-').replace('yaml', 'PyYAML')}: "
                                  'pip install "ipv8[cli]", or use JSON', name=package) from e


def _path_in(message: str) -> list[str]:
    """The steps to the value that the message of a ``ConfigurationError`` begins with, as far as it names one."""
    steps: list[str] = []
    path = PATH.match(message)
    if path is not None and not message.startswith("the configuration"):
        steps = re.findall(r"\w+(?=[.\[\]]|$)", re.sub(r" \([^()]*\)", "", path[0]))
    stranger = re.search(r"(?:an unknown key|the setting|has no argument) '([^']*)'", message)
    return steps if stranger is None else [*steps, stranger[1]]


def _line_of(path: str, message: str) -> int | None:
    """The line of the value that a message is about; ``None`` if that is not known.

    JSON is read as YAML, which it is a part of. The reader of TOML does not tell lines.
    """
    if format_of(path) == "toml":
        return None
    try:
        yaml = _yaml()
    except ModuleNotFoundError:
        return None
    try:
        node = yaml.compose(_text_of(path), Loader=yaml.SafeLoader)
    except (OSError, RecursionError, ValueError, yaml.YAMLError):
        return None
    line: int | None = None
    for step in _path_in(message):
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def _child(node: Any, step: str) -> tuple[int, Any] | None:
    """The line and the node of an entry of a mapping or a sequence."""
    if node.id == "sequence" and step.isdecimal() and int(step) < len(node.value):
        entry = node.value[int(step)]
        return entry.start_mark.line + 1, entry
    for key, value in node.value if node.id == "mapping" else ():
        if key.value == step:
            return key.start_mark.line + 1, value
    return None


_READERS: dict[str, Callable[[str], Any]] = {"json": _read_json, "toml": _read_toml, "yaml": _read_yaml}
_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {"json": _write_json, "toml": _write_toml, "yaml": _write_yaml}
_WORDS = {"json": "JSON object", "toml": "table", "yaml": "mapping"}
