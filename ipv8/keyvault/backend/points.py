"""Points on curve25519 that key generation does not give (doc/protocol/keys.md section 6; RFC 7748 section 6.1)."""

from __future__ import annotations

__all__ = ["FIELD_PRIME", "LOW_ORDER_U", "LOW_ORDER_Y", "is_low_order", "is_low_order_crypt", "is_unsound"]

FIELD_PRIME = 2**255 - 19
COORDINATE = 2**255 - 1
"""The bits of an encoding that are the coordinate. The top bit is a sign (Ed25519) or ignored (X25519)."""

_EIGHTH_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
LOW_ORDER_Y = frozenset((0, 1, FIELD_PRIME - 1, _EIGHTH_Y, FIELD_PRIME - _EIGHTH_Y))
"""The Edwards coordinates y of the points of order 1, 2, 4 and 8."""
LOW_ORDER_U = frozenset(
    (
        0,
        1,
        FIELD_PRIME - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    )
)
"""The Montgomery coordinates u for which every clamped secret gives zero."""


def _coordinate(encoding: bytes) -> int:
    return int.from_bytes(encoding, "little") & COORDINATE


def is_low_order(encoding: bytes) -> bool:
    """Whether 32 bytes are an Ed25519 point of order 8 or less, in any encoding."""
    return _coordinate(encoding) % FIELD_PRIME in LOW_ORDER_Y


def is_unsound(verify_key: bytes) -> bool:
    """Whether 32 bytes are an Ed25519 point of low order, or a point in another form than key generation gives."""
    return _coordinate(verify_key) >= FIELD_PRIME or is_low_order(verify_key)


def is_low_order_crypt(crypt_pk: bytes) -> bool:
    """Whether 32 bytes are an X25519 key that gives no secret."""
    return _coordinate(crypt_pk) % FIELD_PRIME in LOW_ORDER_U
