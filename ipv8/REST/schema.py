"""Descriptions of JSON objects, for the documentation. Nothing is checked by them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema
from marshmallow.fields import Boolean, Field, Float, Integer, List, Nested, String

__all__ = ["Address", "AddressWithPK", "BlockSchema", "DHTValueSchema", "DefaultResponseSchema", "OverlaySchema",
           "OverlayStatisticsSchema", "OverlayStrategySchema", "TransactionSchema", "schema"]


class DefaultResponseSchema(Schema):
    """Whether something was done, and why not."""

    success = Boolean(required=True)
    error = String()


class Address(Schema):
    """Where something is reached."""

    ip = String()
    port = Integer()


class AddressWithPK(Address):
    """Where the owner of a key is reached."""

    public_key = String()


class OverlayStatisticsSchema(Schema):
    """What an overlay has sent and received."""

    num_up = Integer()
    num_down = Integer()
    bytes_up = Integer()
    bytes_down = Integer()
    diff_time = Float()


class OverlayStrategySchema(Schema):
    """A strategy that finds peers."""

    name = String()
    target_peers = Integer()


class OverlaySchema(Schema):
    """An overlay of the node."""

    id = String()
    my_peer = String()
    global_time = Integer()
    peers = List(Nested(AddressWithPK))
    overlay_name = String()
    max_peers = Integer()
    is_isolated = Boolean()
    my_estimated_wan = Nested(Address)
    my_estimated_lan = Nested(Address)
    strategies = List(Nested(OverlayStrategySchema))
    statistics = Nested(OverlayStatisticsSchema)


class DHTValueSchema(Schema):
    """A value in the DHT."""

    public_key = String(allow_none=True)
    key = String()
    value = String()


class TransactionSchema(Schema):
    """What a block of TrustChain may say of traffic."""

    down = Integer()
    total_down = Integer()
    up = Integer()
    total_up = Integer()


class BlockSchema(Schema):
    """A half block of TrustChain."""

    transaction = Nested(TransactionSchema)
    linked = Nested("BlockSchema")
    type = String()
    tx = String()
    public_key = String()
    sequence_number = Integer()
    link_public_key = String()
    link_sequence_number = Integer()
    previous_hash = String()
    signature = String()
    insert_time = String(allow_none=True)
    block_timestamp = Integer()
    block_hash = String()


def schema(**kwargs: Any) -> type[Schema]:
    """A new class of schemas, as in ``schema(Person={"name*": (String, "how to call her"), "friends": [String]})``.

    The argument has the name of the class, and a dictionary of its fields. A ``*`` at the end of a name says that the
    field must be there. A field is a class of fields, another schema, or a list of one of them; or a tuple of that and
    a description. Everything else becomes an attribute of the class as it is.

    :raises RuntimeError: unless there is one argument, and it is a dictionary.
    """
    if len(kwargs) != 1 or not isinstance(next(iter(kwargs.values())), dict):
        raise RuntimeError("schema required 1 keyword argument of type dict")
    ((class_name, described),) = kwargs.items()
    return type(class_name, (Schema,), {name.rstrip("*"): _field(value, name.endswith("*"))
                                        for name, value in described.items()})


def _field(value: Any, required: bool) -> Any:
    kind, description = value if isinstance(value, tuple) else (value, None)
    metadata = {"description": description}
    if _is_schema(kind):
        return Nested(kind, required=required)
    if isinstance(kind, list) and len(kind) == 1:
        (item,) = kind
        if _is_schema(item):
            return List(Nested(item), required=required, metadata=metadata)
        if isinstance(item, Field) or (isinstance(item, type) and issubclass(item, Field)):
            return List(item, required=required, metadata=metadata)
    if callable(kind):
        return kind(required=required, metadata=metadata)
    return kind


def _is_schema(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Schema)
