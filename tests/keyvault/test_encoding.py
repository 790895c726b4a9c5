from __future__ import annotations

import base64
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

from ipv8.keyvault import asn1, encoding

CURVE = bytes.fromhex("2b81040001")
POINT = b"\x04" + bytes(range(42))
SCALAR = bytes(range(21))


@pytest.mark.parametrize(("size", "header"), [(0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"),
                                              (256, "04820100"), (65535, "0482ffff")])
def test_lengths_have_their_shortest_form(size: int, header: str) -> None:
    element = encoding.tlv(encoding.OCTET_STRING, bytes(size))
    assert element == bytes.fromhex(header) + bytes(size)
    assert encoding.Reader(element).read(encoding.OCTET_STRING) == bytes(size)


@pytest.mark.parametrize(
    "data",
    ["", "04", "0301ff", "0402ff", "0480ff0000", "04817f" + 127 * "00", "0482007f" + 127 * "00", "048301000000",
     "0481"],
    ids=["empty", "no length", "tag", "truncated", "indefinite", "long 127", "two bytes", "three bytes", "cut length"],
)
def test_what_is_not_der_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match="DER"):
        encoding.Reader(bytes.fromhex(data)).read(encoding.OCTET_STRING)


def test_public_keys_round_trip() -> None:
    der = encoding.encode_public(CURVE, POINT)
    assert encoding.decode_public(der) == (CURVE, POINT)
    assert encoding.decode_public(der + b"behind") == (CURVE, POINT)
    ed25519 = encoding.encode_ed25519_public(bytes(range(32)))
    assert encoding.decode_public(ed25519) == (encoding.ED25519, bytes(range(32)))


@pytest.mark.parametrize("point", [None, POINT])
def test_private_keys_round_trip(point: bytes | None) -> None:
    der = encoding.encode_private(CURVE, SCALAR, point)
    assert encoding.decode_private(der + b"behind") == (CURVE, SCALAR, point)
    ed25519 = encoding.encode_ed25519_private(bytes(range(32)))
    assert encoding.decode_private(ed25519) == (encoding.ED25519, bytes(range(32)), None)


def pkcs8(algorithm: bytes, body: bytes) -> bytes:
    identifier = encoding.tlv(encoding.SEQUENCE, algorithm)
    return encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x00", identifier, encoding.tlv(encoding.OCTET_STRING, body))


def object_identifier(content: bytes) -> bytes:
    return encoding.tlv(encoding.OBJECT_IDENTIFIER, content)


EC = object_identifier(encoding.EC_PUBLIC_KEY) + object_identifier(CURVE)
BARE = encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x01", encoding.tlv(encoding.OCTET_STRING, SCALAR))


def test_pkcs8_may_leave_the_curve_to_the_outside() -> None:
    assert encoding.decode_private(pkcs8(EC, BARE)) == (CURVE, SCALAR, None)
    assert encoding.decode_private(pkcs8(EC, encoding.encode_private(CURVE, SCALAR, POINT))) == (CURVE, SCALAR, POINT)


@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (BARE, "without its curve"),
        (pkcs8(EC, encoding.encode_private(b"\x2b\x81\x04\x00\x02", SCALAR, None)), "two curves"),
        (pkcs8(EC, BARE.replace(b"\x02\x01\x01", b"\x02\x01\x02")), "DER of the expected"),
        (pkcs8(object_identifier(b"\x2b\x65\x6e"), b"\x04\x20" + bytes(32)), "neither an EC key nor an Ed25519"),
        (pkcs8(object_identifier(encoding.ED25519), b"\x04\x1f" + bytes(31)), "not an Ed25519 private key"),
        (encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x02", b"\x04\x00"), "DER of the expected"),
        (BARE[:1] + bytes([BARE[1] + 2]) + BARE[2:] + b"\x05\x00", "DER of the expected"),
        (encoding.tlv(encoding.SEQUENCE, BARE[2:], encoding.tlv(0xA0, object_identifier(CURVE)), b"\x05\x00"), "DER"),
    ],
)
def test_other_private_structures_are_refused(der: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encoding.decode_private(der)


ED25519_KEY = encoding.encode_ed25519_private(bytes(range(32)))


def test_ed25519_keys_are_those_of_rfc_8410() -> None:
    seed, verify_key = bytes(range(32)), bytes(range(32, 64))
    assert encoding.encode_ed25519_private(seed).hex() == "302e020100300506032b657004220420" + seed.hex()
    assert encoding.encode_ed25519_public(verify_key).hex() == "302a300506032b6570032100" + verify_key.hex()


@pytest.mark.parametrize("point", [POINT, b"\x04" + bytes(144)])
def test_public_keys_are_written_as_pyasn1_does(point: bytes) -> None:
    algorithm = {"algorithm": encoding.EC_PUBLIC_KEY, "parameters": CURVE}
    info = {"algorithm": algorithm, "subjectPublicKey": b"\0" + point}
    assert encoding.encode_public(CURVE, point) == asn1.encode(asn1.SUBJECT_PUBLIC_KEY_INFO, info)
    assert asn1.decode(asn1.SUBJECT_PUBLIC_KEY_INFO, encoding.encode_public(CURVE, point)) == info


def longer(der: bytes, behind: bytes) -> bytes:
    """A sequence with one more element in it."""
    return encoding.tlv(encoding.SEQUENCE, encoding.Reader(der).read(encoding.SEQUENCE), behind)


@pytest.mark.parametrize("field", ["a00b300906032b657031020500", "81020001"], ids=["attributes", "public key"])
def test_optional_fields_of_pkcs8_do_not_matter(field: str) -> None:
    assert encoding.decode_private(longer(ED25519_KEY, bytes.fromhex(field))).secret == bytes(range(32))


@pytest.mark.parametrize(
    "der",
    [
        b"\x30\x81" + BARE[1:],
        b"\x30\x80" + BARE[2:] + b"\0\0",
        encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x01", b"\x04\x81\x15", SCALAR, b"\xa0\x07\x06\x05", CURVE),
        encoding.tlv(encoding.SEQUENCE, b"\x02\x02\x00\x01", BARE[5:], b"\xa0\x07\x06\x05", CURVE),
        longer(ED25519_KEY, b"\x05\x00"),
        longer(ED25519_KEY, b"\0"),
        encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x01", b"\x04\x88", 8 * b"\xff"),
        encoding.tlv(encoding.SEQUENCE, b"\x02\x01\x01", b"\x04\xe4", 100 * b"\xff"),
        encoding.tlv(encoding.SEQUENCE, encoding.tlv(encoding.INTEGER, 60_000 * b"\x7f"), BARE[5:]),
        encoding.tlv(encoding.SEQUENCE, b"\x02\x00", BARE[5:]),
        pkcs8(EC, encoding.tlv(encoding.SEQUENCE, encoding.tlv(encoding.INTEGER, 60_000 * b"\x7f"), BARE[5:])),
    ],
    ids=["long length", "indefinite", "long length within", "padded number", "another element", "no element", "huge",
         "vast", "huge version", "no version", "huge version within"],
)
def test_private_keys_are_der_and_nothing_else(der: bytes) -> None:
    with pytest.raises(ValueError, match="DER"):
        encoding.decode_private(der)


PRIVATE_KEYS = [
    encoding.encode_private(CURVE, SCALAR, POINT),
    pkcs8(EC, encoding.encode_private(CURVE, SCALAR, POINT)),
    longer(ED25519_KEY, bytes.fromhex("a00b300906032b657031020500")),
]


@given(st.sampled_from(PRIVATE_KEYS), st.data())
@settings(deadline=None, max_examples=150)
def test_a_damaged_private_key_is_refused_without_saying_it(der: bytes, data: st.DataObject) -> None:
    damaged = bytearray(der[: data.draw(st.integers(1, len(der)))])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        parts = encoding.decode_private(bytes(damaged))
    except ValueError as refusal:
        error = refusal
    else:
        assert len(damaged) == len(der)
        assert parts.secret in damaged
        return
    assert len(str(error)) < 60
    assert error.__context__ is None


def test_pyasn1_is_loaded_for_the_first_key_that_needs_it() -> None:
    program = """
import sys, ipv8.community
from ipv8.keyvault.crypto import default_eccrypto
key = default_eccrypto.generate_key("curve25519")
default_eccrypto.key_from_private_bin(key.key_to_bin())
print("pyasn1" in sys.modules)
key.key_to_pem()
print("pyasn1" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert result.stdout.split() == ["False", "True"]


def spki(algorithm: bytes, bits: bytes) -> bytes:
    return encoding.tlv(
        encoding.SEQUENCE, encoding.tlv(encoding.SEQUENCE, algorithm), encoding.tlv(encoding.BIT_STRING, bits)
    )


@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (spki(object_identifier(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), b"\0"), "neither an EC key nor an Ed25519"),
        (spki(object_identifier(encoding.EC_PUBLIC_KEY) + b"\x30\x00", b"\0" + POINT), "DER of the expected"),
        (spki(EC + b"\x05\x00", b"\0" + POINT), "unexpected element"),
        (spki(EC, b"\0\x02" + POINT[1:22]), "uncompressed"),
        (spki(EC, b"\0\0"), "uncompressed"),
        (spki(EC, b"\1" + POINT), "uncompressed"),
        (spki(EC, b"\0" + POINT + b"\0"), "uncompressed"),
        (spki(object_identifier(encoding.ED25519), b"\0" + bytes(31)), "not an Ed25519 public key"),
        (spki(object_identifier(encoding.ED25519), b"\1" + bytes(32)), "not an Ed25519 public key"),
    ],
    ids=["rsa", "explicit curve", "parameters", "compressed", "infinity", "unused bits", "odd", "short", "bits"],
)
def test_other_public_structures_are_refused(der: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encoding.decode_public(der)


numbers = st.integers(1, 2**168 - 1).map(lambda number: number.to_bytes(21, "big"))


@given(numbers, numbers)
@settings(deadline=None, max_examples=50)
def test_signatures_round_trip(r: bytes, s: bytes) -> None:
    der = encoding.encode_signature(r + s, 21)
    assert der is not None
    assert encoding.decode_signature(der, 21) == r + s


@pytest.mark.parametrize("signature", [b"", b"\0", bytes(42), b"\1" + bytes(41), bytes(41) + b"\1", b"\1" * 46])
def test_what_cannot_be_a_signature_has_no_der(signature: bytes) -> None:
    assert encoding.encode_signature(signature, 22) is None


def test_pem_lines_have_64_columns() -> None:
    pem = encoding.encode_pem("PUBLIC KEY", bytes(96))
    assert pem.split(b"\n") == [
        b"-----BEGIN PUBLIC KEY-----", 64 * b"A", 64 * b"A", b"-----END PUBLIC KEY-----", b""
    ]
    assert encoding.decode_pem(pem, encoding.PUBLIC_LABELS) == bytes(96)
    assert encoding.decode_pem(pem.replace(b"\n", b"\r\n"), encoding.PUBLIC_LABELS) == bytes(96)


def test_the_first_pem_block_of_the_right_kind_counts() -> None:
    pem = encoding.encode_pem("EC PARAMETERS", b"curve") + encoding.encode_pem("EC PRIVATE KEY", b"key") + b"junk"
    assert encoding.decode_pem(pem, encoding.PRIVATE_LABELS) == b"key"


@pytest.mark.parametrize("before", [
    b"-----BEGIN PUBLIC KEY-----\n",
    b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    encoding.encode_pem("PRIVATE KEY", b"another"),
    b"-----BEGIN PUBLIC KEY----------END ",
])
def test_other_text_before_a_pem_block_does_not_matter(before: bytes) -> None:
    pem = encoding.encode_pem("PUBLIC KEY", b"key")
    assert encoding.decode_pem(before + pem, encoding.PUBLIC_LABELS) == b"key"


@given(st.binary(max_size=200), st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"\t"]), max_size=3))
@settings(deadline=None, max_examples=50)
def test_pem_round_trip(der: bytes, breaks: list[bytes]) -> None:
    pem = encoding.encode_pem("PUBLIC KEY", der).replace(b"\n", b"".join(breaks) + b"\n")
    assert encoding.decode_pem(pem, encoding.PUBLIC_LABELS) == der


def test_der_is_no_pem() -> None:
    assert encoding.decode_pem(b"\x30\x00", encoding.PUBLIC_LABELS) is None


@pytest.mark.parametrize(
    "pem",
    [
        encoding.encode_pem("PRIVATE KEY", b"key"),
        b"-----BEGIN PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(bytes(30)) + b"*\n-----END PUBLIC KEY-----\n",
    ],
)
def test_other_pem_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match="not a PEM key"):
        encoding.decode_pem(pem, encoding.PUBLIC_LABELS)
