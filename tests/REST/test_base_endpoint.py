"""How responses are encoded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from ipv8.REST import base_endpoint
from ipv8.REST.base_endpoint import Response

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner))


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES))
def test_bodies_are_those_of_the_standard_library(value: Any) -> None:
    assert Response(value).body == json.dumps(value).encode()


REAL: Any = json.encoder.c_make_encoder  # type: ignore[attr-defined]  # it is not documented


def other_arguments(markers: Any, *arguments: Any) -> Any:
    if markers is None:
        raise TypeError("an encoder takes other arguments now")
    return REAL(markers, *arguments)


def other_results(markers: Any, *arguments: Any) -> Any:
    return REAL(markers, *arguments) if markers is not None else lambda *_: ("something else",)


@pytest.mark.parametrize("make", [None, other_arguments, other_results])
def test_encoder_where_the_library_has_another_one(make: Callable[..., Any] | None,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.encoder, "c_make_encoder", make)
    encode = base_endpoint._fast_encoder()
    assert encode({"a": [1, "é", None, 0.5]}) == '{"a": [1, "\\u00e9", null, 0.5]}'


def test_values_that_json_cannot_have() -> None:
    for value in ({"a": b"bytes"}, [object()], {b"a": 1}):
        with pytest.raises(TypeError):
            Response(value)
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises((RecursionError, ValueError)):
        Response(endless)
