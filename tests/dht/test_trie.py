"""Prefix trees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.dht import DHTError
from ipv8.dht.trie import Node, Trie

KEYS = st.text("01", max_size=6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(KEYS, st.one_of(st.none(), st.integers(1)))), KEYS)
def test_it_is_a_dictionary_with_prefixes(changes: list[tuple[str, int | None]], wanted: str) -> None:
    trie: Trie[int] = Trie("01")
    expected: dict[str, int] = {}
    for key, value in changes:
        if value is not None:
            trie[key] = expected[key] = value
        elif key in expected:
            del trie[key]
            del expected[key]
        else:
            with pytest.raises(KeyError):
                del trie[key]
    assert sorted(trie.values()) == sorted(expected.values())
    assert sorted(trie.suffixes("")) == sorted(expected)
    prefixes = [key for key in expected if key and wanted.startswith(key)]
    assert trie.longest_prefix(wanted, None) == max(prefixes, key=len, default=None)
    if not expected:
        assert trie.root.children == {}


def test_errors_and_defaults() -> None:
    trie: Trie[Any] = Trie("01")
    with pytest.raises(DHTError, match="Error while adding item to trie"):
        trie["012"] = 1
    trie[""] = "root"
    assert trie[""] == "root"
    for method in (trie.longest_prefix, trie.longest_prefix_value, trie.longest_prefix_item):
        with pytest.raises(KeyError):
            method("0")
        assert method("0", None) is None
        assert method("0", "default") == "default"
    trie["0"] = "zero"
    assert trie.longest_prefix_item("01") == ("0", "zero")
    assert trie.longest_prefix_value("01") == "zero"
    assert trie.values() == ["root", "zero"]
    trie["1"] = None
    with pytest.raises(KeyError):
        trie["1"]
    del trie["0"]
    del trie[""]
    assert trie.values() == []
    assert (Node().value, Node().children) == (None, {})
