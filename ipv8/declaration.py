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

A method below ``@retrieve_cache`` gets the cache as ``cache``, which is no field; one of its fields is ``identifier``.
Messages that are answered are declared with :func:`ipv8.asking.request`.

A wrong declaration raises ``TypeError``: when the class is made or, for what depends on the types of the fields, when
the overlay is made.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from functools import update_wrapper
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, get_origin, overload

from .lazy_community import (
    CacheRetrieval,
    Declared,
    MessageHandler,
    lazy_wrapper,
    lazy_wrapper_unsigned,
    only_in_sessions,
    retrieval_of,
    take_cache,
)
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
    from types import FunctionType, MethodType

    from .messaging.serialization import Payload
    from .streams import Stream

__all__ = ["BoundMessage", "Message", "StreamDeclaration", "checked_id", "confidential", "is_payload_class", "message",
           "stream"]

HIGHEST_ID = 230
"""The ids above are used by every overlay (doc/protocol/packets.md section 5)."""

P = ParamSpec("P")
S = TypeVar("S")
F = TypeVar("F")
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
        payloads = (self._declaration.make(*args, **kwargs),)
        self._overlay._ez_send_numbered(to, self._declaration.msg_id, payloads, self._declaration.signed)

    def __call__(self, source: Peer | Address, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call the handler, as if ``source`` had sent the message."""
        result: Result = self._declaration.call(self._overlay, source, *args, **kwargs)
        return result


class Message(Declared, Generic[S, Source, P]):
    """A message of a class of overlays, which is declared by its handler."""

    def __init__(self, handler: Callable[Concatenate[S, Source, P], Any], msg_id: int | None, signed: bool) -> None:
        self.__doc__ = handler.__doc__
        self.__name__ = handler.__name__
        #: The cache that the handler gets with the message, if any.
        self.retrieval: CacheRetrieval | None = retrieval_of(handler)
        self.handler: Callable[..., Any] = handler if self.retrieval is None else self.retrieval.handler
        self.signed = signed
        #: Whether it is only accepted in an encrypted session.
        self.confidential = False
        self._msg_id = msg_id
        self._payload_class: type[Payload] | None = None
        self._whole = False  # the only field is the payload itself
        self._source, *self._fields = self._parameters()
        self._scope = local_scope(cast("FunctionType", self.handler))

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
    def payload_classes(self) -> tuple[type[Payload], ...]:
        """The classes of all payloads of a packet; the last one is ``payload_class``."""
        return (self.payload_class,)

    @property
    def msg_id(self) -> int:
        """The id on the wire, which the declaration or the payload class gives."""
        if self._msg_id is None:
            declared = getattr(self.payload_class, "msg_id", None)
            if declared is None:
                msg = f"{self.__name__} needs an id: use @message(number), or a payload class with a msg_id"
                raise TypeError(msg)
            self._msg_id = checked_id(declared)
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
        if self.retrieval is not None:
            others = [parameter for parameter in parameters if parameter.name != "cache"]
            if others == parameters:
                msg = f"{self.__name__} must have a parameter cache, for what @retrieve_cache finds"
                raise TypeError(msg)
            parameters = others
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

    def hint(self, name: str, annotation: Any) -> Any:
        """The type that an annotation means; ``TypeError`` if it is not defined where the handler is.

        :param name: the parameter that has the annotation; ``return`` for what the handler returns.
        """
        # One at a time: the types of other parameters may be imported for type checkers only.
        alone = SimpleNamespace(__annotations__={name: annotation})
        module = getattr(inspect.unwrap(self.handler), "__globals__", {})
        try:
            return typing.get_type_hints(alone, module, self._scope, include_extras=True)[name]
        except NameError as e:
            msg = f"{self.__name__} names a type for {name} that its module does not define: {e}"
            raise TypeError(msg) from e

    def _describe(self) -> type[Payload]:
        """The payload class that the parameters of the handler describe."""
        self._check_source()
        kinds = [self.hint(parameter.name, parameter.annotation) for parameter in self._fields]
        if len(kinds) == 1 and is_payload_class(kinds[0]):
            self._whole = True
            described = cast("type[Payload]", kinds[0])
        else:
            fields = [self._field(parameter, kind) for parameter, kind in zip(self._fields, kinds, strict=True)]
            described = self.make_class("Payload", fields, self._msg_id)
        if self.retrieval is not None and "identifier" not in getattr(described, "names", ["identifier"]):
            msg = f"{self.__name__} needs a field identifier, by which @retrieve_cache finds the cache"
            raise TypeError(msg)
        return described

    def make_class(self, ending: str, fields: list[tuple[str, Any, Any]], msg_id: int | None) -> type[Payload]:
        """A payload class with these fields. Its name is that of the handler, with ``ending``."""
        made = dataclasses.make_dataclass(f"{self.__name__.title().replace('_', '')}{ending}", fields,
                                          bases=(DataClassPayload,), namespace={"__module__": self.handler.__module__})
        convert_to_payload(made, msg_id)
        return cast("type[Payload]", made)

    def _check_source(self) -> None:
        """``TypeError`` if the first parameter is a field, and not the sender of the message."""
        try:
            kind = self.hint(self._source.name, self._source.annotation)
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
        self.check_format(kind, parameter.name)
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        return parameter.name, kind, dataclasses.field(default=default, kw_only=keyword)

    def check_format(self, kind: Any, name: str) -> None:
        """``TypeError`` if there is no format for the type of a field."""
        try:
            type_map(kind)
        except NotImplementedError:
            shown = kind.__qualname__ if type(kind) is type else kind
            msg = f"{self.__name__}: no format for the type {shown} of {name}: use {ALLOWED_TYPES}"
            raise TypeError(msg) from None

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

    def call(self, overlay: Any, source: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call the handler of an overlay with the fields of a message from ``source``."""
        if self.retrieval is None:
            return self.handler(overlay, source, *args, **kwargs)
        return self.unfold()(overlay, source, self.make(*args, **kwargs))

    def unfold(self) -> Callable[[Any, Any, Payload], Any]:
        """What calls the handler with the fields of a payload: ``(overlay, source, payload)``."""
        _ = self.payload_class  # decides whether it is the whole payload that the handler gets
        handler, retrieval, whole = self.handler, self.retrieval, self._whole
        by_name = [field.name for field in self._fields if field.kind is field.KEYWORD_ONLY]
        by_position = [field.name for field in self._fields if field.kind is not field.KEYWORD_ONLY]

        def call(overlay: Any, source: Any, payload: Payload) -> Any:
            return handler(overlay, source, *[getattr(payload, name) for name in by_position],
                           **{name: getattr(payload, name) for name in by_name})

        def call_with_whole(overlay: Any, source: Any, payload: Payload) -> Any:
            return handler(overlay, source, *[payload for _ in by_position], **dict.fromkeys(by_name, payload))

        def call_with_cache(overlay: Any, source: Any, payload: Payload) -> Any:
            assert retrieval is not None, "it is called only for handlers with a cache"
            cache = take_cache(overlay, retrieval.cache_class, payload)
            if cache is None:
                return None
            return handler(overlay, source, *[payload if whole else getattr(payload, name) for name in by_position],
                           **{name: payload if whole else getattr(payload, name) for name in by_name}, cache=cache)

        chosen = call_with_cache if retrieval is not None else call_with_whole if whole else call
        return update_wrapper(chosen, handler, updated=())  # the names are for error messages

    def receiver(self) -> Callable[[Any, Address, bytes], Result]:
        """The message handler, ``(overlay, source address, packet)``, for the table of an overlay."""
        payload_class = self.payload_class
        as_it_is = self._whole and self.retrieval is None and self._fields[0].kind is not inspect.Parameter.KEYWORD_ONLY
        wrap = lazy_wrapper if self.signed else lazy_wrapper_unsigned
        return self.guard(wrap(payload_class)(self.handler if as_it_is else self.unfold()))

    def guard(self, handler: MessageHandler) -> MessageHandler:
        """``handler``, which refuses what came in clear if the message is confidential."""
        return only_in_sessions(handler) if self.confidential else handler

    def receivers(self, overlay: Any) -> list[tuple[int, MethodType]]:
        """The ids of the messages that an overlay receives, and the methods that handle their packets."""
        return [(self.msg_id, cast("Any", self.receiver()).__get__(overlay))]


def is_payload_class(kind: Any) -> bool:
    """Whether a type is a payload class."""
    # In Python 3.10, list[int] is an instance of type.
    return isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Serializable)


def checked_id(declared: Any) -> int:
    """The id of a message; ``TypeError`` if programs cannot use it."""
    if not isinstance(declared, int) or isinstance(declared, bool) or not 0 <= declared <= HIGHEST_ID:
        msg = f"a message id is a number from 0 to {HIGHEST_ID}, not {declared!r}"
        raise TypeError(msg)
    return declared


def confidential(handler: F) -> F:
    """Accept a message only in an encrypted session. What comes in clear is counted and dropped.

    ::

        @confidential
        @message(1)
        def note(self, peer: Peer, text: str) -> None: ...

    It is used above ``@message``, ``@request`` or ``@lazy_wrapper``. It says what is accepted. That nothing is *sent*
    in clear is said by the policy ``encryption = "require"`` of the overlay (doc/encryption.md).
    """
    if isinstance(handler, Message):
        handler.confidential = True
        return handler
    if not callable(handler) or isinstance(handler, Declared):
        raise TypeError("put @confidential above @message, @request or @lazy_wrapper")
    return cast("F", only_in_sessions(handler))


class StreamDeclaration(Declared):
    """The streams of one name that a class of overlays serves, declared by their handler."""

    def __init__(self, name: str, handler: Callable[..., Any]) -> None:
        if not inspect.iscoroutinefunction(handler):
            msg = f"@stream is used on a method that is declared with async def, self, a peer and a stream: {handler!r}"
            raise TypeError(msg)
        update_wrapper(cast("Any", self), handler, updated=())
        #: The name that peers give to open such a stream.
        self.name = name
        self.handler = handler

    @overload
    def __get__(self, instance: None, owner: type) -> StreamDeclaration: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Callable[[Peer, Stream], Awaitable[None]]: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else cast("Any", self.handler).__get__(instance, owner)

    def receivers(self, overlay: Any) -> list[tuple[int, MethodType]]:  # noqa: ARG002 - as the other declarations
        """None: streams are no messages."""
        return []

    def attach(self, overlay: Any) -> None:
        """Let an overlay serve the streams."""
        overlay.add_stream_handler(self.name, self.__get__(overlay, type(overlay)))


def stream(name: str) -> Callable[[Callable[[S, Peer, Stream], Awaitable[None]]], StreamDeclaration]:
    """Serve the streams of a name that peers open to this overlay (doc/streams.md).

    ::

        @stream("log")
        async def log(self, peer: Peer, stream: Stream) -> None:
            async for chunk in stream: ...

    :param name: at most 255 bytes.
    """
    if not isinstance(name, str):
        raise TypeError('a stream is declared by its name: @stream("name")')
    return lambda handler: StreamDeclaration(name, handler)


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
    msg_id = checked_id(declared)
    return lambda handler: Message(handler, msg_id, signed)
