"""Hash trees and proofs for several leaves."""

from __future__ import annotations

from hashlib import sha3_256

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.attestation.credentials.errors import CredentialError
from ipv8.attestation.credentials.merkle import proof_of, root_from_proof, root_of, tree_of


def leaves_of(depth: int) -> list[bytes]:
    return [sha3_256(b"%d" % number).digest() for number in range(1 << depth)]


@given(depth=st.integers(0, 6), data=st.data())
@settings(deadline=None)
def test_roots_follow_from_proofs(depth: int, data: st.DataObject) -> None:
    leaves = leaves_of(depth)
    disclosed = data.draw(st.sets(st.integers(0, len(leaves) - 1)))
    proof = proof_of(tree_of(leaves), sorted(disclosed))
    told = {position: leaves[position] for position in disclosed}
    assert root_from_proof(depth, told, proof) == root_of(leaves)
    assert len(proof) <= max(1, len(disclosed) * depth)
    if disclosed:
        position = min(disclosed)
        assert root_from_proof(depth, {**told, position: bytes(32)}, proof) != root_of(leaves)


def test_small_trees_by_hand() -> None:
    a, b = leaves_of(1)
    assert root_of([a]) == a
    assert root_of([a, b]) == sha3_256(b"\x01" + a + b).digest()
    assert proof_of(tree_of([a, b]), [0]) == [b]
    assert proof_of(tree_of([a, b]), []) == [root_of([a, b])]
    assert proof_of(tree_of([a, b]), [0, 1]) == []


def test_false_numbers_of_nodes() -> None:
    leaves = leaves_of(3)
    proof = proof_of(tree_of(leaves), [2])
    for false in (proof[:-1], [*proof, bytes(32)], []):
        with pytest.raises(CredentialError):
            root_from_proof(3, {2: leaves[2]}, false)


@pytest.mark.parametrize(("depth", "position"), [(3, 8), (3, -1), (9, 0), (-1, 0)])
def test_positions_outside_of_the_tree(depth: int, position: int) -> None:
    with pytest.raises(CredentialError):
        root_from_proof(depth, {position: bytes(32)}, [bytes(32)] * 3)
