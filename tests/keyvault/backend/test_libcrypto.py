from __future__ import annotations

import ctypes
import ssl
from typing import TYPE_CHECKING

import pytest

from ipv8.keyvault import encoding
from ipv8.keyvault.backend import libcrypto as module
from ipv8.keyvault.backend.elliptic import EllipticPrivateKey, EllipticPublicKey
from ipv8.keyvault.backend.handle import UnsupportedCurveError
from ipv8.keyvault.backend.libcrypto import LibCrypto, LibCrypto3, libcrypto
from ipv8.keyvault.private.openssl import OpenSSLSK
from ipv8.keyvault.public.openssl import OpenSSLPK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CURVES = ["sect163k1", "sect233k1", "sect409k1", "sect571k1", "sect571r1", "prime256v1", "secp256k1", "secp384r1",
          "brainpoolP256r1"]


@pytest.fixture(params=[LibCrypto, LibCrypto3])
def library(request: pytest.FixtureRequest) -> LibCrypto:
    """The interpreter's OpenSSL, through each of the two ways to its keys."""
    if request.param is LibCrypto3 and not isinstance(libcrypto(), LibCrypto3):
        pytest.skip("the interpreter links OpenSSL 1.1.1")
    for candidate in module._candidates():
        try:
            found: LibCrypto = request.param(ctypes.CDLL(candidate))
        except (OSError, AttributeError, TypeError):
            continue
        return found
    raise AssertionError("no OpenSSL")


@pytest.mark.parametrize("name", CURVES)
def test_keys_of_every_curve_work(library: LibCrypto, name: str) -> None:
    curve = library.curve_by_name(name)
    pair = EllipticPrivateKey(library, curve, library.generate(curve))
    parts = encoding.decode_public(pair.public_bin)
    assert library.curve(parts.algorithm) is curve
    public = EllipticPublicKey(library, curve, parts.point)
    signature = pair.sign(b"message")
    assert len(signature) == pair.signature_length == public.signature_length
    assert public.verify(signature, b"message")
    assert not public.verify(signature, b"another")
    assert public.is_sound()
    assert pair.is_sound()
    again = library.private(curve, encoding.decode_private(pair.private_bin).secret)
    assert EllipticPrivateKey(library, curve, again).private_bin == pair.private_bin


def test_scalars_are_padded_to_the_order(library: LibCrypto) -> None:
    curve = library.curve_by_name("sect233k1")
    assert library.scalar(library.private(curve, b"\2")) == b"\2".rjust(29, b"\0")


@pytest.mark.parametrize("size", [22, 64, 300, 5000])
def test_scalars_that_are_too_long_are_refused(library: LibCrypto, size: int) -> None:
    curve = library.curve_by_name("sect163k1")
    with pytest.raises(ValueError, match=r"not an EC private key|not DER|not a private key"):
        library.scalar(library.private(curve, b"\x7f" * size))


def test_zero_is_no_private_key(library: LibCrypto) -> None:
    curve = library.curve_by_name("sect163k1")
    with pytest.raises(ValueError, match=r"uncompressed|infinity"):
        EllipticPrivateKey(library, curve, library.private(curve, bytes(21)))


def test_points_must_be_on_their_curve(library: LibCrypto) -> None:
    curve = library.curve_by_name("sect163k1")
    for point in (b"\x04" + bytes(range(42)), b"\x04" + bytes(40), b"\x04"):
        with pytest.raises(ValueError, match="not a point on sect163k1"):
            library.public(curve, point)


def test_a_point_of_order_two_is_unsound(library: LibCrypto) -> None:
    """On y^2 + xy = x^3 + x^2 + 1 that is (0, 1)."""
    curve = library.curve_by_name("sect163k1")
    key = EllipticPublicKey(library, curve, b"\x04" + bytes(41) + b"\1")
    assert not key.is_sound()


def test_unknown_curves_are_named_as_such(library: LibCrypto) -> None:
    with pytest.raises(UnsupportedCurveError, match="no curve 'curve1174'"):
        library.curve_by_name("curve1174")
    with pytest.raises(UnsupportedCurveError, match="curve that this interpreter's OpenSSL does not have"):
        library.curve(b"\x2b\x81\x04\x00\x7f")


def test_failures_leave_no_errors_for_tls(library: LibCrypto) -> None:
    curve = library.curve_by_name("sect163k1")
    pair = EllipticPrivateKey(library, curve, library.generate(curve))
    assert not pair.verify(b"\1" * 42, b"message")
    with pytest.raises(ValueError, match="not a point"):
        library.public(curve, b"\x04" + bytes(42))
    with pytest.raises(ValueError, match=r"not an EC private key|not DER|not a private key"):
        library.scalar(library.private(curve, b"\x7f" * 99))
    # A memory BIO that has nothing to read reports "want read", unless the queue holds somebody else's error.
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()


SECT163K1 = bytes.fromhex("2b81040001")


def test_without_openssl_only_ec_keys_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_load", lambda: None)
    attempts: list[Callable[[], object]] = [
        lambda: OpenSSLSK.generate("sect163k1"),
        lambda: OpenSSLPK(encoding.encode_public(SECT163K1, b"\x04" + bytes(42))),
        lambda: OpenSSLSK(encoding.encode_private(SECT163K1, bytes(21), None)),
    ]
    for attempt in attempts:
        with pytest.raises(UnsupportedCurveError, match="EC keys need a Python interpreter that links OpenSSL"):
            attempt()
    key = OpenSSLSK.generate("curve25519")
    assert key.verify(key.signature(b"message"), b"message")


def test_a_foreign_library_is_not_taken() -> None:
    assert module._open("/no/such/library.so") is None
    assert module._open(ctypes.__file__) is None


def test_a_search_that_finds_nothing_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    searches: list[int] = []

    def nothing() -> Iterator[str | None]:
        searches.append(1)
        yield "/no/such/library.so"

    monkeypatch.setattr(module, "_candidates", nothing)
    module._load.cache_clear()
    try:
        for _ in range(3):
            with pytest.raises(UnsupportedCurveError):
                libcrypto()
    finally:
        module._load.cache_clear()
    assert searches == [1]
