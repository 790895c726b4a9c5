"""Decorators that describe handlers for the documentation.

They leave the same attributes as those of the package ``aiohttp_apispec``. So its generator documents our handlers, and
ours (``ipv8/REST/openapi.py``) documents handlers that were decorated with that package.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["cookies_schema", "docs", "form_schema", "headers_schema", "json_schema", "match_info_schema",
           "querystring_schema", "request_schema", "response_schema"]

HandlerT = TypeVar("HandlerT", bound="Callable[..., Any]")

LOCATIONS = frozenset({"json", "querystring", "form", "headers", "cookies", "match_info", "path", "query", "body",
                       "files"})
"""Where the values of a request may be."""


def _metadata(handler: Any) -> dict[str, Any]:
    if not hasattr(handler, "__apispec__"):
        handler.__apispec__ = {"schemas": [], "responses": {}, "parameters": []}
    if not hasattr(handler, "__schemas__"):
        handler.__schemas__ = []
    found: dict[str, Any] = handler.__apispec__
    return found


def docs(**kwargs: Any) -> Callable[[HandlerT], HandlerT]:
    """Describe a handler: ``tags``, ``summary``, ``parameters``, ``responses`` and so on, as in Swagger 2.0."""
    def decorate(handler: HandlerT) -> HandlerT:
        kwargs.setdefault("produces", ["application/json"])
        metadata = _metadata(handler)
        metadata["parameters"].extend(kwargs.get("parameters", ()))
        metadata["responses"].update(kwargs.get("responses", {}))
        metadata.update({name: value for name, value in kwargs.items() if name not in {"parameters", "responses"}})
        return handler

    return decorate


def request_schema(schema: Any, location: str = "json", put_into: str | None = None, example: Any = None,
                   add_to_refs: bool = False, **kwargs: Any) -> Callable[[HandlerT], HandlerT]:
    """Describe values of the request by a schema.

    :param location: where they are, as one of :data:`LOCATIONS`.
    :param put_into: where the validation of ``aiohttp_apispec`` puts what it has read.
    :param example: an example of them.
    :param add_to_refs: whether the example is to be shown where the schema is described.
    :raises ValueError: if there is no such location.
    """
    if location not in LOCATIONS:
        raise ValueError(f"there is no location {location!r}: use one of {', '.join(sorted(LOCATIONS))}")
    instance = schema() if callable(schema) else schema
    options = {"required": kwargs.get("required", False)}

    def decorate(handler: HandlerT) -> HandlerT:
        metadata = _metadata(handler)
        metadata.setdefault("schemas", [])
        if location == "json" and any(entry["location"] == "json" for entry in metadata["schemas"]):
            raise RuntimeError("Multiple json locations are not allowed")
        metadata["schemas"].append({"schema": instance, "location": location, "options": options,
                                    "example": {"add_to_refs": add_to_refs, "example": example}})
        handler.__schemas__.append(  # type: ignore[attr-defined]  # functions have attributes
            {"schema": instance, "location": location, "put_into": put_into})
        return handler

    return decorate


json_schema = partial(request_schema, location="json", put_into="json")
querystring_schema = partial(request_schema, location="querystring", put_into="querystring")
form_schema = partial(request_schema, location="form", put_into="form")
headers_schema = partial(request_schema, location="headers", put_into="headers")
cookies_schema = partial(request_schema, location="cookies", put_into="cookies")
match_info_schema = partial(request_schema, location="match_info", put_into="match_info")


def response_schema(schema: Any, code: int = 200, required: bool = False,
                    description: str | None = None) -> Callable[[HandlerT], HandlerT]:
    """Describe the response with a status code by a schema."""
    def decorate(handler: HandlerT) -> HandlerT:
        response = {"schema": schema, "required": required, "description": description}
        _metadata(handler)["responses"][str(code)] = response
        own = vars(handler).setdefault("__response_schemas__", {})  # other generators change what is in __apispec__
        own[str(code)] = schema
        return handler

    return decorate
