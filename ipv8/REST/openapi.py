"""Describes the routes of an application in OpenAPI, from what decorators left on their handlers."""

from __future__ import annotations

import warnings
from copy import deepcopy
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

__all__ = ["KEY_SCHEME", "describe"]

SWAGGER = "2.0"
KEY_SCHEME = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
PLACES = {"querystring": "query", "query": "query", "headers": "header", "cookies": "cookie", "match_info": "path",
          "path": "path"}
"""Where OpenAPI says that parameters are, by where our decorators say it."""

OPERATION = ("tags", "summary", "description", "operationId", "deprecated")
"""What is taken over as it is."""

ANYTHING: dict[str, Any] = {"type": "object"}


def describe(app: web.Application, title: str, version: str, openapi_version: str = "3.1.0",
             needs_key: bool = False) -> dict[str, Any]:
    """The description of all routes with documentation.

    :param openapi_version: ``"3.1.0"``, or ``"2.0"`` for Swagger.
    :param needs_key: whether requests need a key.
    """
    options: dict[str, Any] = {"security": [{"apiKey": []}]} if needs_key else {}
    spec = APISpec(title, version, openapi_version, plugins=[MarshmallowPlugin(_name_of)], **options)
    if needs_key:
        spec.components.security_scheme("apiKey", dict(KEY_SCHEME))
    described: dict[str, dict[str, Any]] = {}
    for path, method, handler in _routes(app):
        described.setdefault(path, {})[method] = _Operation(handler, path, openapi_version == SWAGGER).as_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # schemas of one name, which get numbers
        for path, operations in described.items():
            spec.path(path, operations=operations)
        found: dict[str, Any] = _without_nothing(spec.to_dict())
    return found


def _name_of(schema: Any) -> str:
    """The name under which a schema is described."""
    name: str = (schema if isinstance(schema, type) else type(schema)).__name__
    name = name.removesuffix("Schema") or name
    return f"Partial-{name}" if getattr(schema, "partial", False) else name


def _routes(app: web.Application) -> Iterator[tuple[str, str, Any]]:
    for route in app.router.routes():
        if route.resource is not None and route.method not in {"HEAD", "*"} and hasattr(route.handler, "__apispec__"):
            yield route.resource.canonical, route.method.lower(), route.handler


def _without_nothing(value: Any) -> Any:
    """A description without texts that are ``None``, and in which objects may have more than is said of them."""
    if isinstance(value, dict):
        return {name: _without_nothing(entry) for name, entry in value.items()
                if (entry is not None or name not in {"description", "title", "summary"})
                and (entry is not False or name != "additionalProperties")}
    return [_without_nothing(entry) for entry in value] if isinstance(value, list) else value


class _Operation:
    """One method of a path.

    :param handler: a function that was decorated by ``apidocs`` or by ``aiohttp_apispec``, whose generator may have
        changed what it found there.
    """

    def __init__(self, handler: Any, path: str, swagger: bool) -> None:
        self._metadata = handler.__apispec__
        self._schemas = self._metadata.get("schemas") or getattr(handler, "__schemas__", [])
        self._responses = getattr(handler, "__response_schemas__", {})
        self._path = path
        self._swagger = swagger

    def as_dict(self) -> dict[str, Any]:
        """Its description."""
        operation = {name: deepcopy(self._metadata[name]) for name in OPERATION if name in self._metadata}
        operation["parameters"] = list(self._parameters())
        operation["responses"] = {str(code): self._response(str(code), response)
                                  for code, response in self._metadata.get("responses", {}).items()}
        if not operation["responses"]:
            operation["responses"] = {"200": {"description": "OK"}}
        body = next((entry["schema"] for entry in self._schemas if entry["location"] in {"json", "body"}), None)
        if self._swagger:
            operation["produces"] = list(self._metadata.get("produces", ["application/json"]))
            if body is not None:
                operation["parameters"].append({"in": "body", "name": "body", "required": True, "schema": body})
        elif body is not None:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        return operation

    def _parameters(self) -> Iterator[dict[str, Any]]:
        named = set()
        for parameter in self._metadata.get("parameters", ()):
            if not isinstance(parameter, dict) or parameter.get("in") in {"body", "formData"}:
                continue
            named.add((parameter.get("in"), parameter.get("name")))
            yield self._parameter(parameter)
        for entry in self._schemas:
            place = PLACES.get(entry["location"])
            for name, field in entry["schema"].fields.items() if place is not None else ():
                if (place, name) not in named:
                    named.add((place, name))
                    yield self._parameter({"in": place, "name": name, "required": field.required,
                                           "description": field.metadata.get("description"), "type": "string"})
        for part in self._path.split("{")[1:]:
            name = part.partition("}")[0]
            if ("path", name) not in named:
                named.add(("path", name))
                yield self._parameter({"in": "path", "name": name, "type": "string"})

    def _parameter(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A parameter as this version has it, from one of Swagger 2.0."""
        parameter: dict[str, Any] = {name: deepcopy(raw[name]) for name in ("in", "name", "description", "required")
                                     if name in raw}
        if parameter["in"] == "path":
            parameter["required"] = True
        rest = {name: deepcopy(entry) for name, entry in raw.items() if name not in parameter}
        if self._swagger:
            return {**parameter, "type": "string", **rest}
        return {**parameter, "schema": rest.pop("schema", {"type": "string", **rest})}

    def _response(self, code: str, raw: dict[str, Any]) -> dict[str, Any]:
        schema = self._responses.get(code) or raw.get("schema")
        if isinstance(schema, dict) and "$ref" in schema:  # into another document
            schema = dict(ANYTHING)
        response: dict[str, Any] = {"description": raw.get("description") or _phrase(code)}
        if schema is None:
            return response
        if isinstance(schema, type) and issubclass(schema, Schema):
            schema = schema()
        if self._swagger:
            return {**response, "schema": schema}
        media_type = next(iter(self._metadata.get("produces", ())), "application/json")
        if media_type == "text/event-stream" and code != "200":
            media_type = "application/json"
        return {**response, "content": {media_type: {"schema": schema}}}


def _phrase(code: str) -> str:
    try:
        return HTTPStatus(int(code)).phrase
    except ValueError:
        return "A response"
