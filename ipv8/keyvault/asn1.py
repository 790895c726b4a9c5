"""The ASN.1 structures of keys, declared for pyasn1.

Importing pyasn1 takes about ten milliseconds. So this module is imported when the first key is read or written in one
of these forms. Programs that use only the binary form of curve25519 keys do not need it.
"""

from __future__ import annotations

from typing import Any

# pyasn1 has no type information: its objects are Any here.
from pyasn1.codec.der import decoder, encoder  # type: ignore[import-untyped]  # see above
from pyasn1.codec.native import decoder as from_native, encoder as to_native  # type: ignore[import-untyped]  # see above
from pyasn1.error import PyAsn1Error  # type: ignore[import-untyped]  # see above
from pyasn1.type import constraint, namedtype, tag, univ  # type: ignore[import-untyped]  # see above

__all__ = [
    "CURVE_PRIVATE_KEY",
    "EC_PRIVATE_KEY",
    "PRIVATE_KEY_INFO",
    "SUBJECT_PUBLIC_KEY_INFO",
    "decode",
    "encode",
]

_field, _optional = namedtype.NamedType, namedtype.OptionalNamedType


def _sequence(*fields: Any) -> Any:
    return univ.Sequence(componentType=namedtype.NamedTypes(*fields))


def _content_of(primitive: Any) -> Any:
    """A type that is read and written as the bytes of its content, which are not interpreted."""
    return univ.OctetString(tagSet=primitive.tagSet)


def _version(number: int) -> Any:
    return univ.Integer(subtypeSpec=constraint.SingleValueConstraint(number))


def _context(number: int, form: int = tag.tagFormatConstructed) -> Any:
    return tag.Tag(tag.tagClassContext, form, number)


OBJECT_IDENTIFIER = _content_of(univ.ObjectIdentifier)
BIT_STRING = _content_of(univ.BitString)

ALGORITHM_IDENTIFIER = _sequence(
    _field("algorithm", OBJECT_IDENTIFIER),
    _optional("parameters", OBJECT_IDENTIFIER),
)
"""RFC 5280 section 4.1.1.2. The parameter is a named curve (RFC 5480 section 2.1.1) or missing (RFC 8410 section 3)."""

SUBJECT_PUBLIC_KEY_INFO = _sequence(
    _field("algorithm", ALGORITHM_IDENTIFIER),
    _field("subjectPublicKey", BIT_STRING),
)
"""RFC 5280 section 4.1."""

EC_PRIVATE_KEY = _sequence(
    _field("version", _version(1)),
    _field("privateKey", univ.OctetString()),
    _optional("parameters", OBJECT_IDENTIFIER.subtype(explicitTag=_context(0))),
    _optional("publicKey", BIT_STRING.subtype(explicitTag=_context(1))),
)
"""RFC 5915 section 3; the form of SEC 1."""

# A set of attributes, which are ignored. It is declared as a sequence: pyasn1 sorts sets, and for this it makes a copy
# of each element as long as the longest one.
ATTRIBUTES = univ.SequenceOf(componentType=univ.Any())

PRIVATE_KEY_INFO = _sequence(
    _field("version", _version(0)),
    _field("privateKeyAlgorithm", ALGORITHM_IDENTIFIER),
    _field("privateKey", univ.OctetString()),
    _optional("attributes", ATTRIBUTES.subtype(implicitTag=_context(0))),
    _optional("publicKey", BIT_STRING.subtype(implicitTag=_context(1, tag.tagFormatSimple))),
)
"""RFC 5958 section 2, in the version that is PKCS #8 of RFC 5208."""

CURVE_PRIVATE_KEY = univ.OctetString()
"""RFC 8410 section 7: the content of ``privateKey`` in a ``PRIVATE_KEY_INFO`` for Ed25519."""


def encode(schema: Any, content: Any) -> bytes:
    """DER of numbers and bytes, and of dictionaries of them where the schema has a sequence."""
    der: bytes = encoder.encode(from_native.decode(content, asn1Spec=schema))
    return der


def decode(schema: Any, data: bytes) -> Any:
    """The content that :func:`encode` made ``data`` of. Missing fields have no keys; bytes after the DER are ignored.

    If this is not the structure, it raises ``ValueError``, which says nothing about the content: it may be secret.
    """
    try:
        value, behind = decoder.decode(data, asn1Spec=schema)
        # pyasn1 accepts more than DER, for example lengths that are not in their shortest form.
        strict = data == encoder.encode(value) + behind
    except (PyAsn1Error, OverflowError):  # the latter for a length that no memory has
        strict = False
    if not strict:
        raise ValueError("not DER of the expected structure")
    return to_native.encode(value)
