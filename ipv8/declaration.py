"""Messages that are declared by the method that receives them.

.. code-block:: python

    class Chat(Community):
        @message(1)
        def said(self, peer: Peer, text: str) -> None:
            print(peer, text)

        def say(self, text: str) -> None:
            for peer in self.get_peers():
                self.said.send(peer, text)

The parameters behind ``peer`` are the fields of the message, in their order, with the types of
:mod:`ipv8.messaging.payload_dataclass`; a method with one parameter that is a payload class receives that payload. On
the wire these are ordinary messages, which overlays in the classic form send and receive as well.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, TypeVar, cast, get_origin, overload

if TYPE_CHECKING:
    from .messaging.serialization import Payload

from typing import ParamSpec

from .lazy_community import lazy_wrapper, lazy_wrapper_unsigned
from .messaging.address import Address
from .messaging.payload_dataclass import DataClassPayload, convert_to_payload
from .messaging.serialization import Serializable
from .peer import Peer

__all__ = ["BoundMessage", "Message", "message"]

P = ParamSpec("P")
S = TypeVar("S")
Source = TypeVar("Source", Peer, Address)
Result = Awaitable[None] | None


class BoundMessage(Generic[P]):
    """A message of one overlay: how to send it, and the handler to call as any method."""

    __slots__ = ("_declaration", "_overlay")

    def __init__(self, declaration: Message[Any, Any, P], overlay: Any) -> None:
        self._declaration = declaration
        self._overlay = overlay

    @property
    def payload_class(self) -> type[Payload]:
        """The class of the payload on the wire."""
        return self._declaration.payload_class

    def send(self, to: Peer | Address, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send the message to a peer, at its preferred address, or to an address."""
        address = to.address if isinstance(to, Peer) else to
        payload = self._declaration.make(*args, **kwargs)
        packet = self._overlay.ezr_pack(self._declaration.msg_id, payload, sig=self._declaration.signed)
        self._overlay.endpoint.send(address, packet)

    def __call__(self, source: Peer | Address, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Run the handler here, as if ``source`` had sent the message."""
        return self._declaration.handler(self._overlay, source, *args, **kwargs)


class Message(Generic[S, Source, P]):
    """A message of a class of overlays, declared by its handler."""

    def __init__(self, handler: Callable[Concatenate[S, Source, P], Result], msg_id: int | None, signed: bool) -> None:
        self.handler: Callable[..., Result] = handler
        self.signed = signed
        self._msg_id = msg_id
        self._payload_class: type[Payload] | None = None
        self._spread = True
        self.__doc__ = handler.__doc__
        self.__name__ = handler.__name__

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
        """The id on the wire, given in the declaration or by the payload class."""
        if self._msg_id is None:
            declared = getattr(self.payload_class, "msg_id", None)
            if declared is None:
                msg = f"{self.__name__} needs an id: use @message(number), or a payload class with a msg_id"
                raise TypeError(msg)
            self._msg_id = int(declared)
        return self._msg_id

    def _describe(self) -> type[Payload]:
        """The payload class that the parameters of the handler mean."""
        parameters = list(inspect.signature(self.handler).parameters.values())[2:]
        try:
            hints = typing.get_type_hints(self.handler)
        except NameError as e:
            msg = f"{self.__name__} names a type that its module does not define: {e}"
            raise TypeError(msg) from e
        for parameter in parameters:
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                msg = f"{self.__name__} must name each field of its message: *{parameter.name} says too little"
                raise TypeError(msg)
            if parameter.name not in hints:
                msg = f"{self.__name__} must annotate the parameter {parameter.name} with the type of the field"
                raise TypeError(msg)
        kinds = [hints[parameter.name] for parameter in parameters]
        # Python 3.10 takes list[int] for a type.
        if len(kinds) == 1 and isinstance(kinds[0], type) and get_origin(kinds[0]) is None \
                and issubclass(kinds[0], Serializable):
            self._spread = False
            return cast("type[Payload]", kinds[0])
        fields: list[Any] = []
        for parameter, kind in zip(parameters, kinds, strict=False):
            fields.append((parameter.name, kind))
            if parameter.default is not parameter.empty:
                fields[-1] += (dataclasses.field(default=parameter.default),)
        made = dataclasses.make_dataclass(f"{self.__name__.title().replace('_', '')}Payload", fields,
                                          bases=(DataClassPayload,), namespace={"__module__": self.handler.__module__})
        convert_to_payload(made, self._msg_id)
        return cast("type[Payload]", made)

    def make(self, *args: Any, **kwargs: Any) -> Payload:
        """The payload that carries these arguments."""
        payload_class = self.payload_class
        return payload_class(*args, **kwargs) if self._spread else cast("Payload", args[0] if args else
                                                                          next(iter(kwargs.values())))

    def receiver(self) -> Callable[[Any, Address, bytes], Result]:
        """The message handler, ``(overlay, source address, packet)``, for the table of an overlay."""
        handler = self.handler
        payload_class = self.payload_class
        names: list[str] = payload_class.names if self._spread else []  # type: ignore[attr-defined]  # by _describe

        def unfold(overlay: Any, source: Any, payload: Payload) -> Result:
            return handler(overlay, source, *[getattr(payload, name) for name in names])

        wrap = lazy_wrapper if self.signed else lazy_wrapper_unsigned
        return wrap(payload_class)(unfold if self._spread else handler)


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

    :param declared: the id of the message, 0 to 230; without one (``@message`` alone) that of the payload class.
    :param signed: whether the message says who sent it and is signed. The handler of an unsigned message gets the
        source address in place of the peer.
    """
    if callable(declared):
        return Message(declared, None, signed)
    if not isinstance(declared, int) or not 0 <= declared <= 255:
        msg = f"a message id is a number from 0 to 230, not {declared!r}"
        raise TypeError(msg)
    return lambda handler: Message(handler, declared, signed)
