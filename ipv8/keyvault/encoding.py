"""DER and PEM forms of keys and ECDSA signatures (spec 01 sections 3, 4).

The reader is strict: definite lengths in their shortest form, nothing skipped, nothing nested deeper than a key is. One
key therefore has one encoding, apart from bytes behind it, and hostile input costs no more than honest input. Every
function that reads raises ``ValueError`` for whatever it does not take.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

__all__ = [
    "ED25519",
    "PRIVATE_LABELS",
    "PUBLIC_LABELS",
    "PrivateParts",
    "PublicParts",
    "decode_pem",
    "decode_private",
    "decode_public",
    "decode_signature",
    "encode_ed25519_private",
    "encode_ed25519_public",
    "encode_pem",
    "encode_private",
    "encode_public",
    "encode_signature",
    "tlv",
]

INTEGER, BIT_STRING, OCTET_STRING, OBJECT_IDENTIFIER, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
CURVE_FIELD, POINT_FIELD = 0xA0, 0xA1
"""Context tags [0] and [1] of RFC 5915's ``ECPrivateKey``."""

EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
"""Content of the object identifier 1.2.840.10045.2.1 (RFC 5480 section 2.1.1)."""
ED25519 = bytes.fromhex("2b6570")
"""Content of the object identifier 1.3.101.112 (RFC 8410 section 3)."""

UNCOMPRESSED = 0x04
ED25519_SIZE = 32

PUBLIC_LABELS = (b"PUBLIC KEY",)
PRIVATE_LABELS = (b"EC PRIVATE KEY", b"PRIVATE KEY")

PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----")


class PublicParts(NamedTuple):
    """What a public key's DER says: ``algorithm`` is a curve's object identifier or :data:`ED25519`."""

    algorithm: bytes
    point: bytes


class PrivateParts(NamedTuple):
    """What a private key's DER says; ``point`` is the public key, where the encoding carries it."""

    algorithm: bytes
    secret: bytes
    point: bytes | None


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER element of the concatenated contents."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


class Reader:
    """Walks the elements of one DER value from left to right."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def next_is(self, tag: int) -> bool:
        """Whether the element at the cursor has this tag."""
        return self.data[self.offset : self.offset + 1] == bytes((tag,))

    def read(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag."""
        data, start = self.data, self.offset + 2
        if len(data) < start or data[self.offset] != tag:
            raise ValueError("not DER of the expected structure")
        size = data[start - 1]
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[start : start + count], "big")
            if not 1 <= count <= 2 or size < (0x80, 0x100)[count - 1]:
                raise ValueError("DER length not in its shortest form")
            start += count
        end = start + size
        if end > len(data):
            raise ValueError("DER is truncated")
        self.offset = end
        return data[start:end]

    def enter(self, tag: int) -> Reader:
        """A reader of the content of the next element."""
        return Reader(self.read(tag))

    def finish(self) -> None:
        """Refuse bytes behind the last element that was read."""
        if self.offset != len(self.data):
            raise ValueError("unexpected element in DER")


def _read_algorithm(reader: Reader) -> bytes:
    identifier = reader.enter(SEQUENCE)
    algorithm = identifier.read(OBJECT_IDENTIFIER)
    if algorithm == EC_PUBLIC_KEY:
        algorithm = identifier.read(OBJECT_IDENTIFIER)
    elif algorithm != ED25519:
        raise ValueError("neither an EC key nor an Ed25519 key")
    identifier.finish()
    return algorithm


def _read_point(reader: Reader) -> bytes:
    content = reader.read(BIT_STRING)
    if content[:2] != bytes((0, UNCOMPRESSED)) or len(content) % 2:
        raise ValueError("not an uncompressed EC point")
    return content[1:]


def decode_public(data: bytes) -> PublicParts:
    """Read a ``SubjectPublicKeyInfo`` at the start of ``data`` (spec 01 section 3.3); bytes behind it are ignored."""
    info = Reader(data).enter(SEQUENCE)
    algorithm = _read_algorithm(info)
    if algorithm == ED25519:
        content = info.read(BIT_STRING)
        if len(content) != 1 + ED25519_SIZE or content[0]:
            raise ValueError("not an Ed25519 public key")
        point = content[1:]
    else:
        point = _read_point(info)
    info.finish()
    return PublicParts(algorithm, point)


def encode_public(curve: bytes, point: bytes) -> bytes:
    """``SubjectPublicKeyInfo`` of an EC point, given the content of the curve's object identifier."""
    algorithm = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, EC_PUBLIC_KEY), tlv(OBJECT_IDENTIFIER, curve))
    return tlv(SEQUENCE, algorithm, tlv(BIT_STRING, b"\0", point))


def decode_private(data: bytes) -> PrivateParts:
    """Read a SEC1 or PKCS#8 private key at the start of ``data`` (spec 01 section 3.2); bytes behind it are ignored."""
    key = Reader(data).enter(SEQUENCE)
    version = key.read(INTEGER)
    if version == b"\1" and key.next_is(OCTET_STRING):
        return _read_sec1(key, None)
    if version != b"\0":
        raise ValueError("neither a SEC1 nor a PKCS#8 private key")
    algorithm = _read_algorithm(key)
    inner = key.enter(OCTET_STRING)
    if algorithm != ED25519:
        body = inner.enter(SEQUENCE)
        if body.read(INTEGER) != b"\1":
            raise ValueError("not an EC private key")
        return _read_sec1(body, algorithm)
    seed = inner.read(OCTET_STRING)
    if len(seed) != ED25519_SIZE:
        raise ValueError("not an Ed25519 private key")
    return PrivateParts(ED25519, seed, None)


def _read_sec1(key: Reader, curve: bytes | None) -> PrivateParts:
    """What follows the version of an ``ECPrivateKey``; ``curve`` is the one that an enclosing PKCS#8 names."""
    secret = key.read(OCTET_STRING)
    if key.next_is(CURVE_FIELD):
        field = key.enter(CURVE_FIELD)
        named = field.read(OBJECT_IDENTIFIER)
        field.finish()
        if curve not in {None, named}:
            raise ValueError("an EC private key of two curves")
        curve = named
    if curve is None:
        raise ValueError("an EC private key without its curve")
    point = None
    if key.next_is(POINT_FIELD):
        field = key.enter(POINT_FIELD)
        point = _read_point(field)
        field.finish()
    key.finish()
    return PrivateParts(curve, secret, point)


def encode_private(curve: bytes, scalar: bytes, point: bytes | None) -> bytes:
    """SEC1 ``ECPrivateKey`` of a scalar that is already padded to the width of the curve's order."""
    public = b"" if point is None else tlv(POINT_FIELD, tlv(BIT_STRING, b"\0", point))
    return tlv(
        SEQUENCE,
        tlv(INTEGER, b"\1"),
        tlv(OCTET_STRING, scalar),
        tlv(CURVE_FIELD, tlv(OBJECT_IDENTIFIER, curve)),
        public,
    )


def encode_ed25519_public(verify_key: bytes) -> bytes:
    """``SubjectPublicKeyInfo`` of a 32-byte Ed25519 public key (RFC 8410 section 4)."""
    return tlv(SEQUENCE, tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, ED25519)), tlv(BIT_STRING, b"\0", verify_key))


def encode_ed25519_private(seed: bytes) -> bytes:
    """PKCS#8 of a 32-byte Ed25519 seed (RFC 8410 section 7)."""
    algorithm = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, ED25519))
    return tlv(SEQUENCE, tlv(INTEGER, b"\0"), algorithm, tlv(OCTET_STRING, tlv(OCTET_STRING, seed)))


def _integer(value: bytes) -> bytes:
    """A DER integer of an unsigned big-endian number without leading zero bytes."""
    return tlv(INTEGER, b"\0" if not value or value[0] & 0x80 else b"", value)


def encode_signature(signature: bytes, width: int) -> bytes | None:
    """``ECDSA-Sig-Value`` of ``r || s``, cut in the middle; ``None`` when a half is zero or above ``width`` bytes."""
    middle = len(signature) // 2
    r = signature[:middle].lstrip(b"\0")
    s = signature[middle:].lstrip(b"\0")
    if not (r and s) or len(r) > width or len(s) > width:
        return None
    return tlv(SEQUENCE, _integer(r), _integer(s))


def decode_signature(der: bytes, width: int) -> bytes:
    """``r || s`` of an ``ECDSA-Sig-Value``, each padded with zero bytes to ``width`` (spec 01 section 3.4)."""
    pair = Reader(der).enter(SEQUENCE)
    return b"".join(pair.read(INTEGER).lstrip(b"\0").rjust(width, b"\0") for _ in range(2))


def encode_pem(label: str, der: bytes) -> bytes:
    """RFC 7468 text: base64 in lines of 64 columns, each line ended by a line feed."""
    text = base64.b64encode(der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def decode_pem(data: bytes, labels: tuple[bytes, ...]) -> bytes | None:
    """The DER of the first PEM block with one of the labels; ``None`` when ``data`` is no PEM at all."""
    if not data.startswith(b"-----BEGIN "):
        return None
    for block in PEM_BLOCK.finditer(data):
        if block[1] in labels:
            try:
                return base64.b64decode(b"".join(block[2].split()), validate=True)
            except binascii.Error:
                break
    raise ValueError("not a PEM key of the expected kind")
