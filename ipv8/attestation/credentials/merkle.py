"""Binary hash trees with 2**depth leaves, and proofs for several leaves at once.

See doc/protocol/credentials.md section 3. A proof has the roots of the largest subtrees without any disclosed leaf,
from left to right.
"""

from __future__ import annotations

from hashlib import sha3_256
from typing import TYPE_CHECKING

from .errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["MAX_DEPTH", "proof_of", "root_from_proof", "root_of", "tree_of"]

MAX_DEPTH = 8

NODE = b"\x01"
"""In front of what is hashed to an inner node."""


def tree_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels of the tree, the leaves first. There are 2**depth leaves."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([sha3_256(NODE + below[i] + below[i + 1]).digest() for i in range(0, len(below), 2)])
    return levels


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree."""
    return tree_of(leaves)[-1][0]


def proof_of(levels: Sequence[Sequence[bytes]], disclosed: Sequence[int]) -> list[bytes]:
    """What somebody needs to compute the root from some of the leaves.

    :param levels: as :func:`tree_of` returns them.
    :param disclosed: the positions of these leaves.
    """
    proof: list[bytes] = []
    wanted = [set(disclosed)]
    for _ in levels[1:]:
        wanted.append({position // 2 for position in wanted[-1]})

    def visit(level: int, position: int) -> None:
        if position not in wanted[level]:
            proof.append(levels[level][position])
        elif level:
            visit(level - 1, 2 * position)
            visit(level - 1, 2 * position + 1)

    visit(len(levels) - 1, 0)
    return proof


def root_from_proof(depth: int, disclosed: Mapping[int, bytes], proof: Sequence[bytes]) -> bytes:
    """The root that follows from some leaves and a proof.

    :param disclosed: leaves by their positions.
    :raises CredentialError: if the proof has another number of nodes than these leaves need, or a position is not in
        the tree.
    """
    if not 0 <= depth <= MAX_DEPTH or any(not 0 <= position < 1 << depth for position in disclosed):
        raise CredentialError("a disclosed claim is not in the tree")
    wanted = [set(disclosed)]
    for _ in range(depth):
        wanted.append({position // 2 for position in wanted[-1]})
    nodes: Iterator[bytes] = iter(proof)

    def visit(level: int, position: int) -> bytes:
        if position not in wanted[level]:
            return next(nodes)
        if not level:
            return disclosed[position]
        return sha3_256(NODE + visit(level - 1, 2 * position) + visit(level - 1, 2 * position + 1)).digest()

    try:
        root = visit(depth, 0)
    except StopIteration:
        raise CredentialError("a proof has too few nodes") from None
    if next(nodes, None) is not None:
        raise CredentialError("a proof has too many nodes")
    return root
