from __future__ import annotations

import pytest

from ipv8.keyvault.backend import points, provider

P = points.FIELD_PRIME
D = -121665 * pow(121666, -1, P) % P
SIGN_BIT = 1 << 255


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The twisted Edwards addition law of RFC 8032 section 5.1.4, in affine form."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def point(y: int) -> tuple[int, int]:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert not (x * x - square) % P
    return x, y


@pytest.mark.parametrize("y", sorted(points.LOW_ORDER_Y))
def test_eight_times_a_low_order_point_is_nothing(y: int) -> None:
    multiple = point(y)
    for _ in range(3):
        multiple = add(multiple, multiple)
    assert multiple == (0, 1)


def encodings(values: frozenset[int]) -> list[bytes]:
    """Every 32 bytes that mean one of the values: also those above the prime, with both signs."""
    return [
        (coordinate | sign).to_bytes(32, "little")
        for value in sorted(values)
        for coordinate in (value, value + P)
        if coordinate < 2**255
        for sign in (0, SIGN_BIT)
    ]


def test_every_encoding_is_recognised() -> None:
    for encoding in encodings(points.LOW_ORDER_Y):
        assert points.is_low_order(encoding)
        assert points.is_unsound(encoding)
    for encoding in encodings(points.LOW_ORDER_U):
        assert points.is_low_order_crypt(encoding)


def test_a_point_above_the_prime_is_unsound_without_low_order() -> None:
    encoding = (P + 3).to_bytes(32, "little")
    assert points.is_unsound(encoding)
    assert not points.is_low_order(encoding)


def test_a_fresh_key_is_sound(backend: str) -> None:
    signer = provider.current().signer(bytes(32))
    assert not points.is_unsound(signer.verify_key)
    assert not points.is_low_order_crypt(provider.current().crypt_public(bytes(32)))


def test_no_secret_is_shared_with_a_low_order_key(backend: str) -> None:
    for encoding in encodings(points.LOW_ORDER_U):
        with pytest.raises(ValueError, match="low order"):
            provider.current().shared(bytes(range(32)), encoding)


def test_a_low_order_key_signs_nothing(backend: str) -> None:
    """With R equal to the key and S = 0 the equation of RFC 8032 holds for many messages, whoever made them up."""
    for encoding in encodings(points.LOW_ORDER_Y):
        for commitment in encodings(points.LOW_ORDER_Y):
            signature = commitment + bytes(32)
            assert not any(provider.current().verify(encoding, signature, bytes([i])) for i in range(4))
