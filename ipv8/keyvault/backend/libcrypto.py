"""Elliptic curves by the OpenSSL library of the Python interpreter.

The wheels of ``cryptography`` have no binary curves, but the library that Python uses for ``ssl`` and ``hashlib``
usually has them. It is called by ctypes, with the functions of its EVP interface that OpenSSL 1.1.1 and all later
versions have. OpenSSL 3 also has functions for the parts of keys, which are faster than DER. All calls release the GIL.

A call that fails leaves entries in the OpenSSL error queue of the thread. A TLS connection of the same thread would
report them as its own errors. Therefore the queue is emptied after each failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from .. import encoding
from .handle import UnsupportedCurveError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Curve", "LibCrypto", "LibCrypto3", "PKey", "libcrypto"]

EVP_PKEY_EC = 408
POINT_ROOM = 256
"""Bytes; more than any point or number of a named curve has."""

_handle, _text, _int, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t

PROTOTYPES: dict[str, tuple[Any, ...]] = {
    # Name: result, arguments. The address of a pointer is passed as a pointer.
    "EC_get_builtin_curves": (_size, _handle, _size),
    "ERR_clear_error": (None,),
    "EVP_PKEY_CTX_ctrl_str": (_int, _handle, _text, _text),
    "EVP_PKEY_CTX_free": (None, _handle),
    "EVP_PKEY_CTX_new": (_handle, _handle, _handle),
    "EVP_PKEY_CTX_new_id": (_handle, _int, _handle),
    "EVP_PKEY_free": (None, _handle),
    "EVP_PKEY_keygen": (_int, _handle, _handle),
    "EVP_PKEY_keygen_init": (_int, _handle),
    "EVP_PKEY_public_check": (_int, _handle),
    "EVP_PKEY_sign": (_int, _handle, _handle, _handle, _text, _size),
    "EVP_PKEY_sign_init": (_int, _handle),
    "EVP_PKEY_verify": (_int, _handle, _text, _size, _text, _size),
    "EVP_PKEY_verify_init": (_int, _handle),
    "OBJ_nid2obj": (_handle, _int),
    "OBJ_nid2sn": (_text, _int),
    "d2i_PUBKEY": (_handle, _handle, _handle, ctypes.c_long),
    "d2i_PrivateKey": (_handle, _int, _handle, _handle, ctypes.c_long),
    "i2d_ASN1_OBJECT": (_int, _handle, _handle),
    "i2d_PUBKEY": (_int, _handle, _handle),
    "i2d_PrivateKey": (_int, _handle, _handle),
}
PROTOTYPES_3: dict[str, tuple[Any, ...]] = {
    "BN_bn2binpad": (_int, _handle, _handle, _int),
    "BN_clear_free": (None, _handle),
    "EVP_PKEY_copy_parameters": (_int, _handle, _handle),
    "EVP_PKEY_get_bn_param": (_int, _handle, _text, _handle),
    "EVP_PKEY_get_octet_string_param": (_int, _handle, _text, _handle, _size, _handle),
    "EVP_PKEY_new": (_handle,),
    "EVP_PKEY_paramgen": (_int, _handle, _handle),
    "EVP_PKEY_paramgen_init": (_int, _handle),
    "EVP_PKEY_set1_encoded_public_key": (_int, _handle, _text, _size),
}


class Curve(NamedTuple):
    """A named curve of the loaded library."""

    name: str
    """The short name in OpenSSL, such as ``sect163k1``."""
    identifier: bytes
    """The content of the object identifier, as in the DER of a key."""


class _BuiltinCurve(ctypes.Structure):
    _fields_ = (("nid", _int), ("comment", _text))


class PKey:
    """An ``EVP_PKEY``, freed with this object. It is immutable, so threads can use it at the same time."""

    __slots__ = ("_free", "pointer")

    def __init__(self, pointer: int, free: Any) -> None:
        self.pointer = pointer
        self._free = free

    def __del__(self) -> None:
        self._free(self.pointer)


class _Context:
    """An ``EVP_PKEY_CTX``, freed at the end of a ``with`` block."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: LibCrypto, pointer: int | None) -> None:
        self._library = library
        self._pointer = pointer

    def __enter__(self) -> int:
        if self._pointer is None:
            raise self._library.failure("OpenSSL has no elliptic curve keys")
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._library.call["EVP_PKEY_CTX_free"](self._pointer)


class LibCrypto:
    """The operations on EC keys that IPv8 needs, by one loaded library.

    :raises AttributeError: if the library is not an OpenSSL of version 1.1.1 or later.
    """

    prototypes: ClassVar = PROTOTYPES

    def __init__(self, library: ctypes.CDLL) -> None:
        self.call: dict[str, Any] = {name: _bind(library, name, self.prototypes[name]) for name in self.prototypes}
        self.curves = {curve.identifier: curve for curve in self._builtin_curves()}
        self.names = {curve.name: curve for curve in self.curves.values()}

    def _builtin_curves(self) -> Iterator[Curve]:
        count = self.call["EC_get_builtin_curves"](None, 0)
        table = (_BuiltinCurve * count)()
        self.call["EC_get_builtin_curves"](table, count)
        for entry in table:
            der = self._export("i2d_ASN1_OBJECT", self.call["OBJ_nid2obj"](entry.nid))
            identifier = encoding.Reader(der).read(encoding.OBJECT_IDENTIFIER) if der else b""
            name = self.call["OBJ_nid2sn"](entry.nid).decode()
            # Some old curves have no identifier, so no key can name them. Keys on SM2 do not sign with ECDSA.
            if identifier and name != "SM2":
                yield Curve(name, identifier)

    def failure(self, message: str) -> ValueError:
        """The error to raise after a call failed. The error queue is emptied."""
        self.call["ERR_clear_error"]()
        return ValueError(message)

    def _export(self, function: str, pointer: int) -> bytes:
        """The result of an ``i2d`` function of OpenSSL; empty if there is none."""
        size = self.call[function](pointer, None)
        if size <= 0:
            self.call["ERR_clear_error"]()
            return b""
        buffer = ctypes.create_string_buffer(size)
        self.call[function](pointer, ctypes.byref(ctypes.c_void_p(ctypes.addressof(buffer))))
        return buffer.raw

    def _own(self, pointer: int | None, message: str) -> PKey:
        if not pointer:
            raise self.failure(message)
        return PKey(pointer, self.call["EVP_PKEY_free"])

    def curve(self, identifier: bytes) -> Curve:
        """The curve of an object identifier; :class:`UnsupportedCurveError` if the library does not have it."""
        try:
            return self.curves[identifier]
        except KeyError:
            raise UnsupportedCurveError("the key is on a curve that this interpreter's OpenSSL does not have") from None

    def curve_by_name(self, name: str) -> Curve:
        """The curve of a short name; :class:`UnsupportedCurveError` if the library does not have it."""
        try:
            return self.names[name]
        except KeyError:
            raise UnsupportedCurveError(f"this interpreter's OpenSSL has no curve {name!r}") from None

    def generate(self, curve: Curve) -> PKey:
        """A new key pair, by the random generator of OpenSSL."""
        return self._make(curve, "EVP_PKEY_keygen")

    def _make(self, curve: Curve, operation: str) -> PKey:
        call, result = self.call, ctypes.c_void_p()
        with _Context(self, call["EVP_PKEY_CTX_new_id"](EVP_PKEY_EC, None)) as context:
            if (
                call[f"{operation}_init"](context) <= 0
                or call["EVP_PKEY_CTX_ctrl_str"](context, b"ec_paramgen_curve", curve.name.encode()) <= 0
                or call[operation](context, ctypes.byref(result)) <= 0
            ):
                raise self.failure(f"OpenSSL could not generate a key on {curve.name}")
        return self._own(result.value, f"OpenSSL could not generate a key on {curve.name}")

    def public(self, curve: Curve, point: bytes) -> PKey:
        """The public key of an uncompressed point; ``ValueError`` if the point is not on the curve."""
        der = encoding.encode_public(curve.identifier, point)
        pointer = self.call["d2i_PUBKEY"](None, ctypes.byref(ctypes.c_char_p(der)), len(der))
        return self._own(pointer, f"not a point on {curve.name}")

    def private(self, curve: Curve, scalar: bytes) -> PKey:
        """The key pair of a big-endian scalar; ``ValueError`` if the scalar has too many bytes for the curve."""
        der = encoding.encode_private(curve.identifier, scalar, None)
        pointer = self.call["d2i_PrivateKey"](EVP_PKEY_EC, None, ctypes.byref(ctypes.c_char_p(der)), len(der))
        return self._own(pointer, f"not a private key on {curve.name}")

    def point(self, key: PKey) -> bytes:
        """The uncompressed public point; ``ValueError`` if it is the point at infinity."""
        return encoding.decode_public(self._export("i2d_PUBKEY", key.pointer)).point

    def scalar(self, key: PKey) -> bytes:
        """The private scalar, big-endian, padded to the width of the order of the curve."""
        return encoding.decode_private(self._export("i2d_PrivateKey", key.pointer)).secret

    def is_sound(self, key: PKey) -> bool:
        """Whether the public point is in the subgroup of prime order. This takes as long as a verification."""
        with _Context(self, self.call["EVP_PKEY_CTX_new"](key.pointer, None)) as context:
            sound: bool = self.call["EVP_PKEY_public_check"](context) > 0
        if not sound:
            self.call["ERR_clear_error"]()
        return sound

    def sign(self, key: PKey, digest: bytes, room: int) -> bytes:
        """The ECDSA signature of a digest in DER, at most ``room`` bytes."""
        call = self.call
        signature, size = ctypes.create_string_buffer(room), ctypes.c_size_t(room)
        with _Context(self, call["EVP_PKEY_CTX_new"](key.pointer, None)) as context:
            if (
                call["EVP_PKEY_sign_init"](context) <= 0
                or call["EVP_PKEY_sign"](context, signature, ctypes.byref(size), digest, len(digest)) <= 0
            ):
                raise self.failure("OpenSSL cannot sign with this key")
        return signature.raw[: size.value]

    def verify(self, key: PKey, signature: bytes, digest: bytes) -> bool:
        """Whether this is an ECDSA signature of a digest, in DER."""
        call = self.call
        with _Context(self, call["EVP_PKEY_CTX_new"](key.pointer, None)) as context:
            valid: bool = (
                call["EVP_PKEY_verify_init"](context) > 0
                and call["EVP_PKEY_verify"](context, signature, len(signature), digest, len(digest)) > 0
            )
        if not valid:
            call["ERR_clear_error"]()
        return valid


class LibCrypto3(LibCrypto):
    """The same by OpenSSL 3 or later, where DER is slow, but there are functions for the parts of a key."""

    prototypes: ClassVar = {**PROTOTYPES, **PROTOTYPES_3}

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__(library)
        self._templates: dict[Curve, PKey] = {}  # at most one for each curve of the library

    def _template(self, curve: Curve) -> PKey:
        """A key with the parameters of a curve and without a point. To load a key, only the point has to be set."""
        template = self._templates.get(curve)
        if template is None:
            template = self._templates[curve] = self._make(curve, "EVP_PKEY_paramgen")
        return template

    def public(self, curve: Curve, point: bytes) -> PKey:
        """The public key of an uncompressed point; ``ValueError`` if the point is not on the curve."""
        call = self.call
        key = self._own(call["EVP_PKEY_new"](), "OpenSSL has no memory")
        if (
            call["EVP_PKEY_copy_parameters"](key.pointer, self._template(curve).pointer) <= 0
            or call["EVP_PKEY_set1_encoded_public_key"](key.pointer, point, len(point)) <= 0
        ):
            raise self.failure(f"not a point on {curve.name}")
        return key

    def point(self, key: PKey) -> bytes:
        """The uncompressed public point; ``ValueError`` if it is the point at infinity."""
        buffer, size = ctypes.create_string_buffer(POINT_ROOM), ctypes.c_size_t()
        get = self.call["EVP_PKEY_get_octet_string_param"]
        if get(key.pointer, b"pub", buffer, POINT_ROOM, ctypes.byref(size)) <= 0:
            raise self.failure("the key has no public point")
        point = buffer.raw[: size.value]
        if point[:1] != bytes((encoding.UNCOMPRESSED,)):
            raise ValueError("the public point is the point at infinity")
        return point

    def scalar(self, key: PKey) -> bytes:
        """The private scalar, big-endian, padded to the width of the order of the curve."""
        order = self._number(key, b"order", POINT_ROOM).lstrip(b"\0")
        return self._number(key, b"priv", len(order))

    def _number(self, key: PKey, name: bytes, width: int) -> bytes:
        number, buffer = ctypes.c_void_p(), ctypes.create_string_buffer(width)
        if self.call["EVP_PKEY_get_bn_param"](key.pointer, name, ctypes.byref(number)) <= 0:
            raise self.failure("not an EC private key")
        size = self.call["BN_bn2binpad"](number, buffer, width)
        self.call["BN_clear_free"](number)
        if size != width:
            raise self.failure("the private key has too many bytes for its curve")
        return buffer.raw


def _bind(library: ctypes.CDLL, name: str, prototype: tuple[Any, ...]) -> Any:
    function = library[name]
    function.restype, function.argtypes = prototype[0], prototype[1:]
    return function


def _candidates() -> Iterator[str | None]:
    """Where the OpenSSL library of the interpreter can be. The modules that link it come first."""
    for module in ("_hashlib", "_ssl"):
        with contextlib.suppress(ImportError):
            # A module that is built into the interpreter has no file. Then the program itself links OpenSSL.
            yield getattr(importlib.import_module(module), "__file__", None)
    if sys.platform == "win32":
        yield from (str(path) for path in sorted(Path(sys.base_prefix, "DLLs").glob("libcrypto-*.dll")))
    elif sys.platform != "darwin":  # macOS ends programs that load its private libcrypto
        yield ctypes.util.find_library("crypto")


def _open(candidate: str | None) -> LibCrypto | None:
    for version in (LibCrypto3, LibCrypto):
        with contextlib.suppress(OSError, AttributeError, TypeError):  # TypeError: no file to open, on Windows
            return version(ctypes.CDLL(candidate))
    return None


@cache
def _load() -> LibCrypto | None:
    return next((library for library in map(_open, _candidates()) if library is not None), None)


def libcrypto() -> LibCrypto:
    """The library, which is searched for once; :class:`UnsupportedCurveError` if there is none that can be used."""
    library = _load()
    if library is None:
        raise UnsupportedCurveError(
            "EC keys need a Python interpreter that links OpenSSL 1.1.1 or later; curve25519 keys do not"
        )
    return library
