"""DER and PEM forms of keys and ECDSA signatures (doc/protocol/keys.md sections 3 and 4.2).

Private keys, and the Ed25519 keys of PEM files, are read and written by pyasn1, see :mod:`ipv8.keyvault.asn1`. Public
keys and signatures come in packets. For one of them pyasn1 takes about 100 microseconds, several times as long as
everything else that is done with an EC public key. So they have a reader and a writer of their own, which take a few
microseconds.

Both accept only definite lengths in their shortest form, and no element that a key does not have. One key therefore has
one encoding, apart from bytes after it. The time that reading takes is at most proportional to the size of the data.
Functions that read raise ``ValueError`` for what they do not accept.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

__all__ = [
    "DER_START",
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

DER_START = bytes((SEQUENCE,))
"""The first byte of every key in DER."""

EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
"""Content of the object identifier 1.2.840.10045.2.1 (RFC 5480 section 2.1.1)."""
ED25519 = bytes.fromhex("2b6570")
"""Content of the object identifier 1.3.101.112 (RFC 8410 section 3)."""

UNCOMPRESSED = 0x04
ED25519_SIZE = 32

PUBLIC_LABELS = (b"PUBLIC KEY",)
PRIVATE_LABELS = (b"EC PRIVATE KEY", b"PRIVATE KEY")


class PublicParts(NamedTuple):
    """The parts of a public key in DER. ``algorithm`` is the object identifier of a curve, or :data:`ED25519`."""

    algorithm: bytes
    point: bytes


class PrivateParts(NamedTuple):
    """The parts of a private key in DER. ``point`` is the public key, if it is there."""

    algorithm: bytes
    secret: bytes
    point: bytes | None

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"<{type(self).__name__}>"


def tlv(tag: int, *contents: bytes) -> bytes:
    """A DER element with these contents, one after the other."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


class Reader:
    """Reads the elements of a DER value, one after the other."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

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
        """``ValueError`` if there are bytes after the last element that was read."""
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


def _point(content: bytes) -> bytes:
    """The uncompressed point in the content of a bit string."""
    if content[:2] != bytes((0, UNCOMPRESSED)) or len(content) % 2:
        raise ValueError("not an uncompressed EC point")
    return content[1:]


def decode_public(data: bytes) -> PublicParts:
    """Read a ``SubjectPublicKeyInfo`` at the start of ``data``. Bytes after it are ignored.

    See doc/protocol/keys.md section 3.2.
    """
    info = Reader(data).enter(SEQUENCE)
    algorithm = _read_algorithm(info)
    if algorithm == ED25519:
        content = info.read(BIT_STRING)
        if len(content) != 1 + ED25519_SIZE or content[0]:
            raise ValueError("not an Ed25519 public key")
        point = content[1:]
    else:
        point = _point(info.read(BIT_STRING))
    info.finish()
    return PublicParts(algorithm, point)


def encode_public(curve: bytes, point: bytes) -> bytes:
    """``SubjectPublicKeyInfo`` of an EC point, given the content of the curve's object identifier."""
    algorithm = tlv(SEQUENCE, tlv(OBJECT_IDENTIFIER, EC_PUBLIC_KEY), tlv(OBJECT_IDENTIFIER, curve))
    return tlv(SEQUENCE, algorithm, tlv(BIT_STRING, b"\0", point))


def decode_private(data: bytes) -> PrivateParts:
    """Read a SEC1 or PKCS#8 private key at the start of ``data``. Bytes after it are ignored.

    See doc/protocol/keys.md section 3.3.
    """
    from . import asn1

    if _version(data) == b"\1":
        return _ec_parts(asn1.decode(asn1.EC_PRIVATE_KEY, data), None)
    info = asn1.decode(asn1.PRIVATE_KEY_INFO, data)
    algorithm, curve = (info["privateKeyAlgorithm"].get(name) for name in ("algorithm", "parameters"))
    if algorithm == EC_PUBLIC_KEY and curve is not None:
        _version(info["privateKey"])
        return _ec_parts(asn1.decode(asn1.EC_PRIVATE_KEY, info["privateKey"]), curve)
    if algorithm != ED25519 or curve is not None:
        raise ValueError("neither an EC key nor an Ed25519 key")
    seed = asn1.decode(asn1.CURVE_PRIVATE_KEY, info["privateKey"])
    if len(seed) != ED25519_SIZE:
        raise ValueError("not an Ed25519 private key")
    return PrivateParts(ED25519, seed, None)


def _version(data: bytes) -> bytes:
    """The version of a private key. It is one byte; pyasn1 would make a number of any size, and a text of that."""
    version = Reader(data).enter(SEQUENCE).read(INTEGER)
    if len(version) != 1:
        raise ValueError("not DER of the expected structure")
    return version


def _ec_parts(key: dict[str, Any], named: bytes | None) -> PrivateParts:
    """The parts of an ``ECPrivateKey``. It names its curve, or the PKCS#8 around it does, or both name the same."""
    curve = key.get("parameters", named)
    if curve is None:
        raise ValueError("an EC private key without its curve")
    if named not in {None, curve}:
        raise ValueError("an EC private key of two curves")
    point = key.get("publicKey")
    return PrivateParts(curve, key["privateKey"], None if point is None else _point(point))


def encode_private(curve: bytes, scalar: bytes, point: bytes | None) -> bytes:
    """SEC1 ``ECPrivateKey`` of a scalar, which must be padded to the width of the order of the curve."""
    from . import asn1

    public = {} if point is None else {"publicKey": b"\0" + point}
    return asn1.encode(asn1.EC_PRIVATE_KEY, {"version": 1, "privateKey": scalar, "parameters": curve, **public})


def encode_ed25519_public(verify_key: bytes) -> bytes:
    """``SubjectPublicKeyInfo`` of a 32-byte Ed25519 public key (RFC 8410 section 4)."""
    from . import asn1

    info = {"algorithm": {"algorithm": ED25519}, "subjectPublicKey": b"\0" + verify_key}
    return asn1.encode(asn1.SUBJECT_PUBLIC_KEY_INFO, info)


def encode_ed25519_private(seed: bytes) -> bytes:
    """PKCS#8 of a 32-byte Ed25519 seed (RFC 8410 section 7)."""
    from . import asn1

    key = asn1.encode(asn1.CURVE_PRIVATE_KEY, seed)
    info = {"version": 0, "privateKeyAlgorithm": {"algorithm": ED25519}, "privateKey": key}
    return asn1.encode(asn1.PRIVATE_KEY_INFO, info)


def _integer(value: bytes) -> bytes:
    """A DER integer of an unsigned big-endian number without leading zero bytes."""
    return tlv(INTEGER, b"\0" if not value or value[0] & 0x80 else b"", value)


def encode_signature(signature: bytes, width: int) -> bytes | None:
    """``ECDSA-Sig-Value`` of ``r || s``; ``None`` if one of the halves is zero or has more than ``width`` bytes."""
    middle = len(signature) // 2
    r = signature[:middle].lstrip(b"\0")
    s = signature[middle:].lstrip(b"\0")
    if not (r and s) or len(r) > width or len(s) > width:
        return None
    return tlv(SEQUENCE, _integer(r), _integer(s))


def decode_signature(der: bytes, width: int) -> bytes:
    """``r || s`` of an ``ECDSA-Sig-Value``, each padded with zero bytes to ``width``.

    See doc/protocol/keys.md section 3.4.
    """
    pair = Reader(der).enter(SEQUENCE)
    return b"".join(pair.read(INTEGER).lstrip(b"\0").rjust(width, b"\0") for _ in range(2))


def encode_pem(label: str, der: bytes) -> bytes:
    """Text of RFC 7468: base64 in lines of 64 columns, with a line feed at the end of each line."""
    text = base64.b64encode(der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def decode_pem(data: bytes, labels: tuple[bytes, ...]) -> bytes | None:
    """The DER of the first PEM block with one of the labels; ``None`` if ``data`` is no PEM at all."""
    if not data.startswith(b"-----BEGIN "):
        return None
    # Base64 has no hyphens. So the parts between rows of hyphens are labels and bodies, and each is looked at once.
    parts = data.split(b"-----")
    for index in range(1, len(parts) - 3):
        first, body, last = parts[index : index + 3]
        if any(first == b"BEGIN " + label and last == b"END " + label for label in labels):
            try:
                return base64.b64decode(b"".join(body.split()), validate=True)
            except binascii.Error:
                break
    raise ValueError("not a PEM key of the expected kind")
