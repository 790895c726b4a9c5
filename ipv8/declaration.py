"""Messages that are declared by the methods that receive them.

.. code-block:: python

    class Chat(Community):
        @message(1)
        def said(self, peer: Peer, text: str) -> None:
            print(peer, text)

        def say(self, text: str) -> None:
            for peer in self.get_peers():
                self.said.send(peer, text)

The parameters after ``peer`` are the fields of the message, in their order, with the types of
:mod:`ipv8.messaging.payload_dataclass`. Those after a ``*`` are sent and received by name. A method whose only field
has a payload class as its type receives that payload. On the wire these are ordinary messages, which overlays in the
classic form send and receive as well.

A wrong declaration raises ``TypeError``: when the class is made or, for what depends on the types of the fields, when
the overlay is made.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, get_origin, overload

from .lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from .messaging.address import Address
from .messaging.payload_dataclass import (
    ALLOWED_TYPES,
    DataClassPayload,
    convert_to_payload,
    is_field_name,
    local_scope,
    type_map,
)
from .messaging.serialization import Serializable
from .peer import Peer

if TYPE_CHECKING:
    from types import FunctionType

    from .messaging.serialization import Payload

__all__ = ["BoundMessage", "Message", "message"]

HIGHEST_ID = 230
"""The ids above are used by every overlay (doc/protocol/packets.md section 5)."""

P = ParamSpec("P")
S = TypeVar("S")
Source = TypeVar("Source", Peer, Address)
Result = Awaitable[None] | None


class BoundMessage(Generic[P]):
    """A message of one overlay object, which can be sent, and whose handler can be called like any method."""

    __slots__ = ("_declaration", "_overlay")

    def __init__(self, declaration: Message[Any, Any, P], overlay: Any) -> None:
        self._declaration = declaration
        self._overlay = overlay

    @property
    def payload_class(self) -> type[Payload]:
        """The class of the payload on the wire."""
        return self._declaration.payload_class

    def send(self, to: Peer | Address, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send the message to a peer, at its preferred address, or to an address."""
        address = to.address if isinstance(to, Peer) else to
        payload = self._declaration.make(*args, **kwargs)
        packet = self._overlay.ezr_pack(self._declaration.msg_id, payload, sig=self._declaration.signed)
        self._overlay.endpoint.send(address, packet)

    def __call__(self, source: Peer | Address, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call the handler, as if ``source`` had sent the message."""
        return self._declaration.handler(self._overlay, source, *args, **kwargs)


class Message(Generic[S, Source, P]):
    """A message of a class of overlays, which is declared by its handler."""

    def __init__(self, handler: Callable[Concatenate[S, Source, P], Result], msg_id: int | None, signed: bool) -> None:
        self.__doc__ = handler.__doc__
        self.__name__ = handler.__name__
        self.handler: Callable[..., Result] = handler
        self.signed = signed
        self._msg_id = msg_id
        self._payload_class: type[Payload] | None = None
        self._whole = False  # the only field is the payload itself
        self._source, *self._fields = self._parameters()
        self._scope = local_scope(cast("FunctionType", handler))

    @overload
    def __get__(self, instance: None, owner: type) -> Message[S, Source, P]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> BoundMessage[P]: ...

    def __get__(self, instance: object | None, owner: type) -> Message[S, Source, P] | BoundMessage[P]:
        return self if instance is None else BoundMessage(self, instance)

    @property
    def payload_class(self) -> type[Payload]:
        """The class of the payload on the wire; ``TypeError`` if the handler does not describe one."""
        if self._payload_class is None:
            self._payload_class = self._describe()
        return self._payload_class

    @property
    def msg_id(self) -> int:
        """The id on the wire, which the declaration or the payload class gives."""
        if self._msg_id is None:
            declared = getattr(self.payload_class, "msg_id", None)
            if declared is None:
                msg = f"{self.__name__} needs an id: use @message(number), or a payload class with a msg_id"
                raise TypeError(msg)
            self._msg_id = _checked_id(declared)
        return self._msg_id

    def _parameters(self) -> list[inspect.Parameter]:
        """The parameters after ``self``: first the sender of the message, then its fields."""
        parameters = [] if isinstance(self.handler, (staticmethod, classmethod)) else [
            *inspect.signature(self.handler).parameters.values()]
        named = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        if [parameter.kind in named for parameter in parameters[:2]] != [True, True]:
            source = "the peer that sent the message" if self.signed else "the address that the message came from"
            msg = f"{self.__name__} must be a method whose parameters are self, {source}, and then the fields"
            raise TypeError(msg)
        for parameter in parameters[2:]:
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                msg = f"{self.__name__} must name each field of its message: replace *{parameter.name} by the fields"
                raise TypeError(msg)
            if parameter.annotation is parameter.empty:
                msg = f"{self.__name__} must annotate the parameter {parameter.name} with the type of the field"
                raise TypeError(msg)
            if type(parameter.default).__hash__ is None:
                msg = (f"{self.__name__} must not give {parameter.name} a default that can change, because all "
                       "messages would share it: use an immutable one, such as () with the type tuple[int, ...]")
                raise TypeError(msg)
        return parameters[1:]

    def _hint(self, parameter: inspect.Parameter) -> Any:
        """The type of a parameter; ``TypeError`` if it is not defined where the handler is."""
        # One at a time: the types of other parameters may be imported for type checkers only.
        alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        module = getattr(inspect.unwrap(self.handler), "__globals__", {})
        try:
            return typing.get_type_hints(alone, module, self._scope, include_extras=True)[parameter.name]
        except NameError as e:
            msg = f"{self.__name__} names a type for {parameter.name} that its module does not define: {e}"
            raise TypeError(msg) from e

    def _describe(self) -> type[Payload]:
        """The payload class that the parameters of the handler describe."""
        self._check_source()
        kinds = [self._hint(parameter) for parameter in self._fields]
        # In Python 3.10, list[int] is an instance of type.
        if len(kinds) == 1 and isinstance(kinds[0], type) and get_origin(kinds[0]) is None \
                and issubclass(kinds[0], Serializable):
            self._whole = True
            return cast("type[Payload]", kinds[0])
        fields = [self._field(parameter, kind) for parameter, kind in zip(self._fields, kinds, strict=True)]
        made = dataclasses.make_dataclass(f"{self.__name__.title().replace('_', '')}Payload", fields,
                                          bases=(DataClassPayload,), namespace={"__module__": self.handler.__module__})
        convert_to_payload(made, self._msg_id)
        return cast("type[Payload]", made)

    def _check_source(self) -> None:
        """``TypeError`` if the first parameter is a field, and not the sender of the message."""
        try:
            kind = self._hint(self._source)
            fmt = None if isinstance(kind, TypeVar) else type_map(kind)
        except Exception:  # noqa: BLE001 - then it is not the type of a field
            return
        is_address = isinstance(fmt, str) and fmt in {"ipv4", "ip_address", "address"}
        if fmt is not None and (self.signed or not is_address):
            wanted = "peer" if self.signed else "source address"
            msg = f"{self.__name__} must have a parameter for the {wanted} in front of {self._source.name}"
            raise TypeError(msg)

    def _field(self, parameter: inspect.Parameter, kind: Any) -> tuple[str, Any, Any]:
        """A parameter as a field of a dataclass."""
        if not is_field_name(parameter.name):
            msg = f"{self.__name__} can have no field {parameter.name}: all payloads use that name. Choose another one"
            raise TypeError(msg)
        try:
            type_map(kind)
        except NotImplementedError:
            shown = kind.__qualname__ if type(kind) is type else kind
            msg = f"{self.__name__}: no format for the type {shown} of {parameter.name}: use {ALLOWED_TYPES}"
            raise TypeError(msg) from None
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        return parameter.name, kind, dataclasses.field(default=default, kw_only=keyword)

    def make(self, /, *args: Any, **kwargs: Any) -> Payload:
        """The payload that carries these arguments."""
        payload_class = self.payload_class
        if not self._whole:
            return payload_class(*args, **kwargs)
        (parameter,) = self._fields
        given = (*args, *kwargs.values())
        if len(given) != 1 or not isinstance(given[0], payload_class) or kwargs.keys() - {parameter.name}:
            msg = f"{self.__name__} carries one {payload_class.__name__} ({parameter.name}), and nothing else"
            raise TypeError(msg)
        return given[0]

    def receiver(self) -> Callable[[Any, Address, bytes], Result]:
        """The message handler, ``(overlay, source address, packet)``, for the table of an overlay."""
        handler = self.handler
        payload_class = self.payload_class
        whole = self._whole
        by_name = [field.name for field in self._fields if field.kind is field.KEYWORD_ONLY]
        by_position = [field.name for field in self._fields if field.kind is not field.KEYWORD_ONLY]

        def unfold(overlay: Any, source: Any, payload: Payload) -> Result:
            return handler(overlay, source, *[getattr(payload, name) for name in by_position],
                           **{name: payload if whole else getattr(payload, name) for name in by_name})

        wrap = lazy_wrapper if self.signed else lazy_wrapper_unsigned
        return wrap(payload_class)(handler if whole and by_position else unfold)


def _checked_id(declared: Any) -> int:
    if not isinstance(declared, int) or isinstance(declared, bool) or not 0 <= declared <= HIGHEST_ID:
        msg = f"a message id is a number from 0 to {HIGHEST_ID}, not {declared!r}"
        raise TypeError(msg)
    return declared


@overload
def message(declared: int, *, signed: Literal[True] = True) -> Callable[
        [Callable[Concatenate[S, Peer, P], Result]], Message[S, Peer, P]]: ...


@overload
def message(declared: int, *, signed: Literal[False]) -> Callable[
        [Callable[Concatenate[S, Address, P], Result]], Message[S, Address, P]]: ...


@overload
def message(declared: Callable[Concatenate[S, Peer, P], Result]) -> Message[S, Peer, P]: ...


def message(declared: Any, *, signed: bool = True) -> Any:
    """Declare a message by the method that receives it.

    :param declared: the id of the message, 0 to 230; without one (``@message`` alone), that of the payload class.
    :param signed: whether the message names its author and is signed. The handler of an unsigned message gets the
        source address in place of the peer.
    """
    if callable(declared):
        return Message(declared, None, signed)
    msg_id = _checked_id(declared)
    return lambda handler: Message(handler, msg_id, signed)
