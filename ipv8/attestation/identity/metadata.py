"""What a token is about, in JSON, signed by the owner of the token (doc/protocol/identity.md section 4.1)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..foreign_json import read_object
from ..signed_object import AbstractSignedObject
from ..tokentree.token import HASH_SIZE

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...keyvault.keys import PrivateKey, PublicKey
    from ..tokentree.token import Token

__all__ = ["Metadata"]


class Metadata(AbstractSignedObject):
    """The description of an attribute.

    :param token_pointer: the hash of the token that is described.
    :param serialized_json_dict: a JSON object. Exactly these bytes are signed.
    """

    def __init__(self, token_pointer: bytes, serialized_json_dict: bytes, private_key: PrivateKey | None = None,
                 signature: bytes | None = None) -> None:
        self.token_pointer = token_pointer
        self.serialized_json_dict = serialized_json_dict
        super().__init__(private_key, signature)

    def get_plaintext(self) -> bytes:
        """The pointer and the JSON text."""
        return self.token_pointer + self.serialized_json_dict

    def get_dict(self) -> dict[str, Any]:
        """The JSON object; empty if this is not one (see ``foreign_json``), as others may have made it."""
        try:
            return read_object(self.serialized_json_dict)
        except ValueError:
            return {}

    @classmethod
    def unserialize(cls, data: bytes, public_key: PublicKey, offset: int = 0) -> Self:
        """Read metadata; data that is too short gives an object whose signature is bad.

        :raises RuntimeError: for an ``offset`` other than zero.
        """
        if offset != 0:
            raise RuntimeError("Offset is not supported for Metadata!")
        size = public_key.get_signature_length()
        return cls(data[:HASH_SIZE], data[HASH_SIZE:-size], signature=data[-size:])

    @classmethod
    def create(cls, token: Token, json_dict: dict[str, Any], private_key: PrivateKey) -> Self:
        """Describe ``token``."""
        return cls(token.get_hash(), json.dumps(json_dict).encode(), private_key)

    def to_database_tuple(self) -> tuple[bytes, bytes, bytes]:
        """Token pointer, signature and JSON text."""
        return self.token_pointer, self.signature, self.serialized_json_dict

    @classmethod
    def from_database_tuple(cls, token_pointer: bytes, signature: bytes, serialized_json_dict: bytes) -> Self:
        """The inverse of :meth:`to_database_tuple`."""
        return cls(token_pointer, serialized_json_dict, signature=signature)

    def __str__(self) -> str:
        return f"Metadata({self.token_pointer.hex()},\n{self.serialized_json_dict.decode(errors='replace')})"
