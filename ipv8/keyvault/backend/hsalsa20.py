"""HSalsa20 of a block of zero bytes: the key derivation of ``crypto_box`` in NaCl.

See doc/protocol/keys.md section 2.5.
"""

from __future__ import annotations

import struct

__all__ = ["derive"]

CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
DOUBLE_ROUNDS = 10
MASK = 0xFFFFFFFF

QUARTERS = (
    # The columns of the state of 4 by 4 words, then its rows. Each starts on the diagonal.
    (0, 4, 8, 12),
    (5, 9, 13, 1),
    (10, 14, 2, 6),
    (15, 3, 7, 11),
    (0, 1, 2, 3),
    (5, 6, 7, 4),
    (10, 11, 8, 9),
    (15, 12, 13, 14),
)


def derive(key: bytes) -> bytes:
    """Hash the result of X25519, 32 bytes, to the key that both sides use, 32 bytes."""
    words = struct.unpack("<8I", key)
    x = [CONSTANTS[0], *words[:4], CONSTANTS[1], 0, 0, 0, 0, CONSTANTS[2], *words[4:], CONSTANTS[3]]
    for _ in range(DOUBLE_ROUNDS):
        for a, b, c, d in QUARTERS:
            total = (x[a] + x[d]) & MASK
            x[b] ^= (total << 7 | total >> 25) & MASK
            total = (x[b] + x[a]) & MASK
            x[c] ^= (total << 9 | total >> 23) & MASK
            total = (x[c] + x[b]) & MASK
            x[d] ^= (total << 13 | total >> 19) & MASK
            total = (x[d] + x[c]) & MASK
            x[a] ^= (total << 18 | total >> 14) & MASK
    return struct.pack("<8I", x[0], x[5], x[10], x[15], *x[6:10])
