"""Finds the differences between two descriptions that a program can notice.

The first description is that of the library for which programs were written, the second that of the library with which
they run. Everything that the second one lacks is a difference. Additional members, parameters and bases of classes and
functions are differences as well, because subclasses or calls in programs may clash with them. Names of the standard
library and of other distributions, which a module imports for itself, are not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Difference", "differences"]

VARIADIC = ("VAR_POSITIONAL", "VAR_KEYWORD")
POSITIONAL = ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
TRAITS = ("metaclass", "subscriptable", "pickled")
IMPROVEMENTS = ("pickled", "copied", "copied deeply")
"""Abilities that objects may have in addition: no program depends on their absence."""
ABC = "abc.ABC"
"""A base that only sets the metaclass, which is compared separately."""


class Difference(NamedTuple):
    """A difference: its kind, where it is, and details."""

    kind: str
    where: str
    detail: str = ""

    @property
    def subject(self) -> str:
        """Kind and place, which are the text in the list of differences."""
        return f"{self.kind} {self.where}"

    def __str__(self) -> str:
        return self.subject + (f": {self.detail}" if self.detail else "")


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[Difference]:
    """All differences, sorted.

    :param expected: the description of the library for which programs were written.
    :param actual: the description of the library with which they run.
    """
    return sorted(_Comparison(expected, actual).run())


class _Comparison:
    def __init__(self, expected: dict[str, Any], actual: dict[str, Any]) -> None:
        self._expected = expected
        self._actual = actual
        self._absent = {name for name in expected["modules"] if name not in actual["modules"]}
        self._counterparts: dict[str, str] = {}
        """The home of our object by the home of the object of the other library that has the same import path."""
        for lives in expected["objects"]:
            module, _, name = lives.rpartition(".")
            found = (actual["modules"].get(module) or {}).get(name, {}).get("object")
            if found is not None:
                self._counterparts[lives] = found

    def run(self) -> Iterator[Difference]:
        """Compare everything."""
        for name, names in self._expected["modules"].items():
            if name in self._absent:
                if name.rpartition(".")[0] not in self._absent:
                    yield Difference("missing module", name)
            elif names is not None:
                if self._actual["modules"][name] is None:
                    yield Difference("unusable module", name)
                else:
                    yield from self._module(name, names, self._actual["modules"][name])
        yield from self._objects()

    def _is_absent(self, lives: str) -> bool:
        """Whether an object belongs to a missing module, which is reported as a whole."""
        return any(lives.startswith(f"{module}.") for module in self._absent)

    def _translated(self, name: str) -> str:
        """Our name for a class of the other library."""
        return self._counterparts.get(name, name)

    def _module(self, module: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        for name, entry in expected.items():
            where = f"{module}.{name}"
            lives = entry.get("object")
            found = actual.get(name)
            if "foreign" in entry or (lives and self._is_absent(lives)):
                continue
            if found is None:
                yield Difference("missing name", where, lives if lives and lives != where else "")
            elif lives is None:
                if "value" in found or not entry["value"].get("callable"):
                    yield from self._value(where, entry["value"], found.get("value"))
            elif "object" not in found:
                yield Difference("other kind", where, "it is no class or function")
            elif lives in self._counterparts and found["object"] != self._counterparts[lives]:
                yield Difference("other object", where, f"{found['object']}, not {self._counterparts[lives]}")

    def _objects(self) -> Iterator[Difference]:
        """The differences of classes and functions. Those of a class are not repeated for its subclasses."""
        found = {lives: [*self._object(expected, self._actual["objects"][self._counterparts[lives]])]
                 for lives, expected in self._expected["objects"].items() if lives in self._counterparts}
        for lives, told in found.items():
            bases = self._expected["objects"][lives].get("bases", ())
            inherited = {difference for base in bases for difference in found.get(base, ())}
            for difference in told:
                if difference not in inherited:
                    yield difference._replace(where=lives + difference.where)

    def _object(self, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        if expected["kind"] != actual["kind"]:
            yield Difference("other kind", "", f"{actual['kind']}, not {expected['kind']}")
        elif expected["kind"] == "class":
            yield from self._class(expected, actual)
        else:
            yield from self._function("", expected, actual)

    def _class(self, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        yield from self._bases(expected["bases"], actual["bases"])
        for trait in TRAITS:
            if expected[trait] != actual[trait]:
                yield Difference(f"other {trait}", "", f"{actual[trait]}, not {expected[trait]}")
        if expected["type parameters"] != actual["type parameters"]:
            kind = "other type parameters" if expected["type parameters"] else "newly generic"
            yield Difference(kind, "", f"{actual['type parameters']}, not {expected['type parameters']}")
        yield from self._signature("", expected["signature"], actual["signature"])
        yield from self._members(expected, actual)
        yield from self._sample(expected["sample"], actual)

    def _members(self, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        present = _names_of(actual)
        for name, member in expected["members"].items():
            if name in actual["members"]:
                yield from self._member(f".{name}", member, actual["members"][name])
            elif name not in present:
                yield Difference("missing member", f".{name}", member["kind"])
        for name in {*expected["fields"]} - present - {*expected["members"]}:
            yield Difference("missing field", f".{name}")
        for name in {*expected["abstract"]} - {*actual["abstract"]}:
            yield Difference("no longer abstract", f".{name}")
        for name in {*actual["abstract"]} - {*expected["abstract"]}:
            yield Difference("newly abstract", f".{name}")
        for name in present - _names_of(expected):
            if not name.startswith("_"):
                yield Difference("added member", f".{name}")

    def _bases(self, expected: Iterable[str], actual: Iterable[str]) -> Iterator[Difference]:
        wanted = {self._translated(base) for base in expected}
        for base in expected:
            if not self._is_absent(base) and self._translated(base) not in {*actual, ABC}:
                yield Difference("missing base", "", base)
        for base in actual:
            if base not in {*wanted, ABC}:
                yield Difference("added base", "", base)

    def _sample(self, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        """The differences of objects of the class: their abilities and attributes."""
        sample = actual["sample"]
        if "failed" in expected:
            return
        if "failed" in sample:
            yield Difference("no object", "", sample["failed"])
            return
        for ability, wanted in expected["abilities"].items():
            if wanted != sample["abilities"].get(ability) and (wanted or ability not in IMPROVEMENTS):
                yield Difference(f"{'not' if wanted else 'newly'} {ability}", "()")
        for name, value in expected["attributes"].items():
            if name in sample["attributes"]:
                if not name.startswith("_"):
                    yield from self._value(f"().{name}", value, sample["attributes"][name])
            elif name not in actual["members"]:
                yield Difference("missing attribute", f"().{name}", _kind(value))

    def _member(self, where: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        if expected["kind"] != actual["kind"]:
            yield Difference("other kind", where, f"{actual['kind']}, not {expected['kind']}")
        elif expected["kind"] == "property":
            for ability in ("set", "delete"):
                if expected[ability] and not actual[ability]:
                    yield Difference("other property", where, f"one cannot {ability} it")
        elif expected["kind"] == "attribute":
            yield from self._value(where, expected, actual)
        else:
            yield from self._function(where, expected, actual)

    def _value(self, where: str, expected: dict[str, Any], actual: dict[str, Any] | None) -> Iterator[Difference]:
        wanted = self._translated(expected["types"][0]) if expected["types"] else None
        if actual is None:
            yield Difference("other kind", where, "it is a class or function, or not of the library")
        elif wanted and not (self._is_absent(wanted) or wanted in actual["types"] or _are_numbers(wanted, actual)):
            yield Difference("other type", where, f"{_kind(actual)}, not {wanted}")
        else:
            texts = self._text(expected), self._text(actual)
            if None not in texts and texts[0] != texts[1]:
                yield Difference("other value", where, f"{texts[1]}, not {texts[0]}")

    def _text(self, value: dict[str, Any]) -> str | None:
        """A value as text. Of a dictionary, these are its keys only, as values may be filled in later."""
        if "text" in value:
            return self._translated(str(value["text"]))
        items = value.get("items")
        if items is None:
            return None
        if "builtins.dict" in value["types"]:
            return f"{{{', '.join(sorted(self._text(key) or _kind(key) for key, _ in items))}}}"
        return f"[{', '.join(self._text(item) or _kind(item) for item in items)}]"

    def _function(self, where: str, expected: dict[str, Any], actual: dict[str, Any]) -> Iterator[Difference]:
        for trait in ("async", "generator"):
            if expected.get(trait) != actual.get(trait):
                yield Difference(f"{'not' if expected.get(trait) else 'newly'} {trait}", where)
        yield from self._signature(where, expected.get("signature"), actual.get("signature"))

    def _signature(self, where: str, expected: list[Any] | None, actual: list[Any] | None) -> Iterator[Difference]:
        if expected is None or actual is None or {parameter["kind"] for parameter in expected[-2:]} == {*VARIADIC}:
            return  # a constructor of Python itself, or one that takes anything
        places = {parameter["name"]: number for number, parameter in enumerate(actual)}
        kinds = {parameter["kind"] for parameter in actual}
        takes_rest = "VAR_POSITIONAL" in kinds - {parameter["kind"] for parameter in expected}
        if takes_rest:  # which has all that can only be given by position
            expected = [parameter for parameter in expected if parameter["kind"] != "POSITIONAL_ONLY"]
        if takes_rest and any(parameter["kind"] in POSITIONAL and parameter["name"] not in places
                              for parameter in expected):
            yield Difference("positional only", where)
            return
        for number, parameter in enumerate(expected):
            inner = f"{where}({parameter['name']})"
            if parameter["name"] not in places:
                if parameter["kind"] not in VARIADIC or parameter["kind"] not in kinds:
                    yield Difference("missing parameter", inner, f"in ({', '.join(places)})")
                continue
            found = actual[places[parameter["name"]]]
            if parameter["kind"] != found["kind"]:
                yield Difference("other parameter", inner, f"{found['kind']}, not {parameter['kind']}")
            elif parameter["kind"] in POSITIONAL and places[parameter["name"]] != number:
                yield Difference("other parameter", inner, f"number {places[parameter['name']]}, not {number}")
            yield from self._default(inner, parameter["default"], found["default"])
        names = {parameter["name"] for parameter in expected}
        for parameter in actual:
            if parameter["name"] not in names and parameter["kind"] not in VARIADIC:
                kind = "needed parameter" if parameter["default"] is None else "added parameter"
                yield Difference(kind, f"{where}({parameter['name']})")

    def _default(self, where: str, expected: dict[str, Any] | None,
                 actual: dict[str, Any] | None) -> Iterator[Difference]:
        if expected is None and actual is not None:
            yield Difference("newly optional", where)
        elif expected is not None and actual is None:
            yield Difference("no longer optional", where)
        elif expected is not None:
            yield from self._value(where, expected, actual)


def _names_of(cls: dict[str, Any]) -> set[str]:
    """The names of members, annotations and attributes of objects of a class."""
    return {*cls["members"], *cls["fields"], *cls["sample"].get("attributes", ())}


def _are_numbers(wanted: str, actual: dict[str, Any]) -> bool:
    numbers = {"builtins.int", "builtins.float"}
    return wanted in numbers and not numbers.isdisjoint(actual["types"])


def _kind(value: dict[str, Any]) -> str:
    return str(value["types"][0]) if value["types"] else "object"
