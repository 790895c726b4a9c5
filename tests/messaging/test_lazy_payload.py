# Payload classes are made at run time here, and misused: type checkers can not follow.
# mypy: disable-error-code="attr-defined, misc, no-untyped-call, var-annotated"
from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from ipv8.messaging.lazy_payload import VariablePayload, VariablePayloadWID, vp_compile
from ipv8.messaging.serialization import PackError, Payload, default_serializer

pack = default_serializer.pack_serializable


def unpack(cls: Any, data: Any) -> Any:
    return default_serializer.unpack_serializable(cls, data)[0]


def keep(cls: Any) -> Any:
    return cls


@pytest.fixture(params=[keep, vp_compile], ids=["plain", "compiled"])
def decorate(request: Any) -> Any:
    return request.param


class A(VariablePayload):
    format_list = ["I", "H"]
    names = ["a", "b"]


class Old(Payload):
    format_list = ["H", "I"]

    def __init__(self, a: Any, b: Any = 9) -> None:
        super().__init__()
        self.a, self.b = a, b
        self.made_by_old = True

    def to_pack_list(self) -> Any:
        return [("H", self.a), ("I", self.b)]

    @classmethod
    def from_unpack_list(cls, a: Any, b: Any) -> Any:
        return cls(a, b)


class New(VariablePayload, Old):
    format_list = [*Old.format_list, "B"]
    names = ["a", "b", "c"]


@vp_compile
class Module(VariablePayload):
    format_list = ["H"]
    names = ["a"]


# --- plain construction


@pytest.mark.parametrize("make", [lambda: A(1, 2), lambda: A(1, b=2), lambda: A(b=2, a=1)])
def test_arguments(make: Any) -> None:
    assert vars(make()) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (A, "'a'"),
        (lambda: A(1), "'b'"),
        (lambda: A(b=1), "'a'"),
        (lambda: A(1, 2, 3), "A missing 1 arguments!"),
        (lambda: A(1, 2, 3, 4), "A missing 2 arguments!"),
        (lambda: A(1, 2, z=3), "z"),
        (lambda: A(1, 2, a=3), "a"),
    ],
)
def test_wrong_arguments(make: Any, message: Any) -> None:
    with pytest.raises(KeyError, match=message):
        make()


@pytest.mark.parametrize(
    "make", [lambda: New(1, 2, 3), lambda: New(c=3, b=2, a=1), lambda: New(1, 3, b=2), lambda: New(2, 3, a=1)]
)
def test_hand_written_constructor_behind(make: Any) -> None:
    assert vars(make()) == {"a": 1, "b": 2, "c": 3, "made_by_old": True}


def test_hand_written_constructor_with_default() -> None:
    assert vars(New(1, c=3)) == {"a": 1, "b": 9, "c": 3, "made_by_old": True}


@pytest.mark.parametrize(
    "make", [lambda: New(b=1, c=2), lambda: New(1, 2), lambda: New(1, 2, 3, 4), lambda: New(1, 2, 3, d=4)]
)
def test_hand_written_constructor_wrong_arguments(make: Any) -> None:
    with pytest.raises(KeyError):
        make()


def test_hand_written_constructor_packs() -> None:
    assert pack(New(1, 2, 3)).hex() == "00010000000203"
    assert vars(unpack(New, bytes.fromhex("00010000000203"))) == vars(New(1, 2, 3))


# --- both kinds


def test_round_trip(decorate: Any) -> None:
    cls = decorate(type("Own", (A,), {}))
    assert pack(cls(1, 2)).hex() == "000000010002"
    assert vars(unpack(cls, bytes.fromhex("000000010002"))) == {"a": 1, "b": 2}
    assert type(unpack(cls, bytes(6))) is cls
    assert cls(1, 2).to_pack_list() == [("I", 1), ("H", 2)]
    assert vars(cls.from_unpack_list(1, 2)) == {"a": 1, "b": 2}


def test_current_values_are_packed(decorate: Any) -> None:
    made = decorate(type("Own", (A,), {}))(1, 2)
    made.b = 3
    assert pack(made).hex() == "000000010003"


def test_bits(decorate: Any) -> None:
    bits = [f"bit{number}" for number in range(8)]
    cls = decorate(type("Own", (VariablePayload,), {"format_list": ["H", "bits", "B"], "names": ["a", *bits, "z"]}))
    made = cls(1, 1, False, "yes", None, 0, 0, 0, 1, 9)
    assert pack(made).hex() == "0001a109"
    assert [getattr(unpack(cls, pack(made)), name) for name in bits] == [1, 0, 1, 0, 0, 0, 0, 1]
    made.bit0 = []  # not hashable
    assert pack(made).hex() == "00012109"


def test_no_fields(decorate: Any) -> None:
    cls = decorate(type("Own", (VariablePayload,), {}))
    assert pack(cls()) == b""
    assert type(unpack(cls, b"")) is cls
    assert default_serializer.unpack_serializable_list([cls, A], bytes(6))[1].a == 0
    with pytest.raises((KeyError, TypeError)):
        cls(1)


def test_fix_methods(decorate: Any) -> None:
    class D(VariablePayload):
        format_list = ["I", "varlenH"]
        names = ["a", "b"]

        def fix_pack_a(self, value: Any) -> Any:
            return value + 1

        @classmethod
        def fix_unpack_a(cls, value: Any) -> Any:
            return value - 1

    decorate(D)
    assert pack(D(0, b"x")).hex() == "00000001000178"
    assert unpack(D, pack(D(0, b"x"))).a == 0
    assert D(0, b"").to_pack_list() == [("I", 1), ("varlenH", b"")]
    assert D.from_unpack_list(1, b"").a == 0
    made = D(5, b"")
    pack(made)
    assert made.a == 5


def test_fix_methods_and_none() -> None:
    class D(VariablePayload):
        format_list = ["I"]
        names = ["a"]

        @classmethod
        def fix_unpack_a(cls, value: Any) -> Any:
            return [value]

    assert D.from_unpack_list(None).a == [None]
    assert vp_compile(D).from_unpack_list(None).a is None
    assert D.from_unpack_list(1).a == [1]


def test_fix_method_that_fails(decorate: Any) -> None:
    class D(VariablePayload):
        format_list = ["I"]
        names = ["a"]

        def fix_pack_a(self, value: Any) -> Any:
            raise ZeroDivisionError

        @classmethod
        def fix_unpack_a(cls, value: Any) -> Any:
            raise ZeroDivisionError

    decorate(D)
    with pytest.raises(ZeroDivisionError):
        pack(D(1))
    with pytest.raises(ZeroDivisionError):
        unpack(D, bytes(4))


@pytest.mark.parametrize("inner_decorate", [keep, vp_compile], ids=["plain inside", "compiled inside"])
def test_nesting(decorate: Any, inner_decorate: Any) -> None:
    inner = inner_decorate(type("Inner", (A,), {}))
    outer = decorate(
        type("Outer", (VariablePayload,), {"format_list": [inner, "H", [inner]], "names": ["x", "y", "z"]})
    )
    made = outer(inner(1, 2), 3, [inner(4, 5)])
    assert pack(made).hex() == "00060000000100020003010006000000040005"
    unpacked = unpack(outer, pack(made))
    assert (vars(unpacked.x), unpacked.y, [vars(item) for item in unpacked.z]) == (
        {"a": 1, "b": 2},
        3,
        [{"a": 4, "b": 5}],
    )
    assert made.to_pack_list() == [("payload", made.x), ("H", 3), ("payload-list", made.z)]


def test_subclass_of_inner_payload(decorate: Any) -> None:
    class Inner(A):
        def fix_pack_a(self, value: Any) -> Any:
            return 6

    class Special(decorate(Inner)):
        def fix_pack_a(self, value: Any) -> Any:
            return 7

    outer = decorate(type("Outer", (VariablePayload,), {"format_list": [Inner, [Inner]], "names": ["x", "y"]}))
    assert pack(outer(Special(1, 2), [Special(1, 2)])).hex() == "0006000000070002010006000000070002"
    assert Special(1, 2).to_pack_list() == [("I", 7), ("H", 2)]


def test_fix_methods_that_come_after_the_decorator() -> None:
    class Special(Module):
        def fix_pack_a(self, value: Any) -> Any:
            return value + 1

        @classmethod
        def fix_unpack_a(cls, value: Any) -> Any:
            return value - 1

    assert pack(Special(5)) == b"\0\5"
    assert Special(5).to_pack_list() == [("H", 5)]
    assert unpack(Special, b"\0\5").a == 5
    compiled = vp_compile(type("Compiled", (Special,), {}))
    assert pack(compiled(5)) == b"\0\6"
    assert unpack(compiled, b"\0\6").a == 5


def test_inheritance(decorate: Any) -> None:
    base = decorate(type("Base", (A,), {}))
    cls = decorate(type("C", (base,), {"format_list": [*base.format_list, "B"], "names": [*base.names, "c"]}))
    made = cls(1, c=3, b=2)
    assert pack(made).hex() == "00000001000203"
    assert vars(unpack(cls, pack(made))) == {"a": 1, "b": 2, "c": 3}


def test_undecorated_subclass_is_unpacked_as_itself() -> None:
    class Child(Module):
        pass

    assert type(unpack(Child, b"\0\1")) is Child


def test_overridden_pack_list(decorate: Any) -> None:
    class Own(decorate(type("Base", (A,), {}))):
        format_list = [*A.format_list, "B"]

        def to_pack_list(self) -> Any:
            return [*super().to_pack_list(), ("B", 9)]

        @classmethod
        def from_unpack_list(cls, a: Any, b: Any, c: Any) -> Any:
            made = super().from_unpack_list(a, b)
            made.c = c
            return made

    assert pack(Own(1, 2)).hex() == "00000001000209"
    assert unpack(Own, pack(Own(1, 2))).c == 9
    assert unpack(Own, pack(Own(1, 2))).a == 1


def test_compiling_replaces_the_pack_list() -> None:
    class Mixin:
        def to_pack_list(self) -> Any:
            return [("H", 99)]

    @vp_compile
    class Own(Mixin, VariablePayload):
        format_list = ["I"]
        names = ["a"]

        def to_pack_list(self) -> Any:
            return [("I", self.a + 1)]

        @classmethod
        def from_unpack_list(cls, a: Any) -> Any:
            return cls(a + 10)

    assert pack(Own(1)).hex() == "00000001"
    assert Own(1).to_pack_list() == [("I", 1)]
    assert unpack(Own, bytes(3) + b"\1").a == Own.from_unpack_list(1).a == 1


def test_overridden_constructor() -> None:
    class Own(A):
        def __init__(self, a: Any, b: Any = 3, **kwargs: Any) -> None:
            super().__init__(a, b, **kwargs)
            self.sum = a + b

    assert vars(Own(1)) == {"a": 1, "b": 3, "sum": 4}
    assert vars(unpack(Own, pack(Own(1, 2)))) == {"a": 1, "b": 2, "sum": 3}

    class More(Own):
        format_list = [*Own.format_list, "B"]
        names = [*Own.names, "c"]

    assert vars(More(1, c=4)) == {"a": 1, "b": 3, "c": 4, "sum": 4}


def test_properties_are_fields(decorate: Any) -> None:
    class Own(VariablePayload):
        format_list = ["H"]
        names = ["doubled"]

        @property
        def doubled(self) -> Any:
            return self.half * 2

        @doubled.setter
        def doubled(self, value: Any) -> Any:
            self.half = value // 2

    decorate(Own)
    assert pack(Own(8)) == b"\0\x08"
    assert vars(unpack(Own, b"\0\x08")) == {"half": 4}


def test_too_few_names() -> None:
    cls = type("Own", (VariablePayload,), {"format_list": ["H", "H"], "names": ["a"]})
    with pytest.raises(IndexError, match="too few"):
        pack(cls(1))
    flags = type("Own", (VariablePayload,), {"format_list": ["bits"], "names": ["a"]})
    with pytest.raises(IndexError, match="too few"):
        pack(flags(1))


def test_missing_attribute(decorate: Any) -> None:
    made = decorate(type("Own", (A,), {}))(1, 2)
    del made.b
    with pytest.raises(AttributeError):
        pack(made)
    assert repr(made) == "Own(a=1)"


def test_pattern_matching(decorate: Any) -> None:
    cls = decorate(type("Own", (A,), {}))
    assert cls.__match_args__ == ("a", "b")
    match cls(1, 2):
        case [1, 2]:
            pytest.fail("a payload is no sequence")
        case cls(1, 3):
            pytest.fail("2 is not 3")
        case cls(1, b):
            assert b == 2
        case _:
            pytest.fail("no match")


def test_identity_and_hash(decorate: Any) -> None:
    cls = decorate(type("Own", (A,), {}))
    first, second = cls(1, 2), cls(1, 2)
    assert first != second
    assert len({first, second, first}) == 2


def test_str_and_repr(decorate: Any) -> None:
    cls = decorate(type("Own", (VariablePayloadWID,), {"msg_id": 3, "format_list": ["B", [A]], "names": ["b", "a"]}))
    assert str(cls(1, [])) == "Own\n| a: []\n| b: 1\n| msg_id: 3"
    assert repr(cls(1, [A(2, 3)])) == "Own(b=1, a=[A(a=2, b=3)])"
    made = cls(1, [])
    made.a.append(made)
    assert repr(made) == "Own(b=1, a=[...])"


def test_pickle() -> None:
    assert vars(pickle.loads(pickle.dumps(Module(3)))) == {"a": 3}


# --- compiled


def test_compiled_signature() -> None:
    assert str(inspect.signature(Module)) == "(a)"
    assert Module.__init__.__qualname__ == "Module.__init__"
    assert Module.__init__.__module__ == __name__
    cls = vp_compile(A)
    assert cls is A
    for make in (lambda: A(1), lambda: A(1, 2, 3), lambda: A(1, 2, z=3), lambda: A(1, 2, a=3)):
        with pytest.raises(TypeError):
            make()


@pytest.mark.parametrize(
    "default", [3, True, b"x", None, 1.5, "text", [], {}, object(), print, ("1.2.3.4", 5), float("nan")]
)
def test_compiled_defaults(default: Any) -> None:
    @vp_compile
    class Own(VariablePayload):
        format_list = ["H", "raw"]
        names = ["a", "b"]

        def __init__(self, a: Any, b: Any = default, **kwargs: Any) -> None:
            pytest.fail("the constructor before is not run")

    assert Own(1).b is default
    assert Own(1, b=7).b == 7
    assert Own(a=1, b=2).a == 1


def test_compiled_defaults_are_inherited() -> None:
    @vp_compile
    class Base(VariablePayload):
        format_list = ["H", "H"]
        names = ["a", "b"]

        def __init__(self, a: Any, b: Any = 3) -> None:
            super().__init__(a, b)

    assert vars(vp_compile(type("Child", (Base,), {}))(1)) == {"a": 1, "b": 3}
    with pytest.raises(TypeError, match="needs a default too"):
        vp_compile(type("Child", (Base,), {"format_list": ["H", "H", "H"], "names": ["a", "b", "c"]}))


def test_compiled_with_hand_written_constructor() -> None:
    cls = vp_compile(type("Own", (New,), {}))
    assert vars(cls(1, 2, 3)) == {"a": 1, "b": 2, "c": 3}
    assert pack(cls(1, 2, 3)).hex() == "00010000000203"


@pytest.mark.parametrize("names", [["class"], ["a b"], ["a", "a"]])
def test_compiled_bad_names(names: Any) -> None:
    with pytest.raises(TypeError):
        vp_compile(type("Own", (VariablePayload,), {"format_list": ["B"] * len(names), "names": names}))


def test_unusual_names(decorate: Any) -> None:
    names = ["self", "cls", "data", "args", "kwargs", "values"]
    cls = decorate(type("Own", (VariablePayload,), {"format_list": ["B"] * 6, "names": names}))
    # A plain constructor has a parameter of its own that is called self.
    given = {} if decorate is keep else dict(zip(names, range(1, 7), strict=True))
    made = cls(**given) if given else cls(1, 2, 3, 4, 5, 6)
    assert pack(made) == bytes(range(1, 7))
    assert vars(unpack(cls, bytes(6))) == dict.fromkeys(names, 0)


def test_slots_are_possible() -> None:
    class Slotted(VariablePayload):
        __slots__ = ("a",)
        format_list = ["H"]
        names = ["a"]

    made = unpack(Slotted, b"\0\1")
    assert made.a == 1
    assert not hasattr(made, "__dict__")
    assert pack(made) == b"\0\1"


def test_bad_values_raise_pack_errors(decorate: Any) -> None:
    cls = decorate(type("Own", (A,), {}))
    with pytest.raises(PackError, match="Could not pack item: \\('H', 65536\\)"):
        pack(cls(1, 65536))
