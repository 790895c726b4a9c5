"""Schemas, decorators, the OpenAPI document and its page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from marshmallow import Schema
from marshmallow.fields import Integer, List, String
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from ipv8.REST import apidocs, schema as schemas
from ipv8.REST.apidocs import docs, json_schema, querystring_schema, request_schema, response_schema
from ipv8.REST.base_endpoint import Response
from ipv8.REST.documentation import FILES
from ipv8.REST.openapi import describe
from ipv8.REST.root_endpoint import RootEndpoint
from ipv8.REST.schema import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.REST.conftest import Serve


# -- schemas ---------------------------------------------------------------------------------------------------------

def test_forms_of_fields() -> None:
    made: Any = schema(Foo={"a*": (Integer, "d"), "b": [String], "c": schema(X={"y": Integer}), "d": List(String),
                            "e": "text", "f**": [schemas.Address]})
    assert (made.__name__, made.__bases__) == ("Foo", (Schema,))
    fields = made._declared_fields
    assert set(fields) == {"a", "b", "c", "d", "f"}
    assert fields["a"].required
    assert fields["a"].metadata == {"description": "d"}
    assert made.e == "text"
    assert fields["f"].required
    assert not schema(Empty={})._declared_fields


@pytest.mark.parametrize("arguments", [{}, {"A": {}, "B": {}}, {"A": "text"}])
def test_schema_takes_one_dictionary(arguments: Any) -> None:
    with pytest.raises(RuntimeError, match="schema required 1 keyword argument of type dict"):
        schema(**arguments)


# -- decorators ------------------------------------------------------------------------------------------------------

def decorated() -> Any:
    @docs(tags=["A"], summary="s", parameters=[{"in": "query", "name": "q", "type": "integer"}],
          responses={404: {"description": "nothing"}})
    @json_schema(schema(Body={"a*": Integer}))
    @querystring_schema(schema(Query={"limit": Integer}))
    @response_schema(schema(Answer={"b": String}), 200, description="fine")
    async def handler(_: Any) -> Response:
        return Response({})

    return handler


def test_metadata() -> None:
    handler = decorated()
    metadata = handler.__apispec__
    assert [entry["location"] for entry in metadata["schemas"]] == ["querystring", "json"]
    assert all(isinstance(entry["schema"], Schema) for entry in metadata["schemas"])
    assert metadata["schemas"][0]["options"] == {"required": False}
    assert [entry["put_into"] for entry in handler.__schemas__] == ["querystring", "json"]
    assert metadata["produces"] == ["application/json"]
    assert set(metadata["responses"]) == {"200", 404}
    with pytest.raises(RuntimeError, match="Multiple json locations are not allowed"):
        json_schema(schema(Other={}))(handler)
    with pytest.raises(ValueError, match="no location 'nowhere'"):
        request_schema(schema(Other={}), "nowhere")
    assert all(callable(getattr(apidocs, name)) for name in apidocs.__all__)


@pytest.mark.parametrize("version", ["2.0", "3.1.0"])
def test_metadata_that_another_generator_changed(version: str) -> None:
    handler = decorated()
    app = web.Application()
    app.router.add_put("/x/{part}", handler)
    before = describe(app, "t", "1", version)
    metadata = handler.__apispec__
    del metadata["schemas"]
    metadata["parameters"] += [{"in": "body", "name": "body", "schema": {"$ref": "#/definitions/Body"}},
                               {"in": "query", "name": "limit", "type": "integer", "required": False},
                               {"in": "path", "name": "part", "type": "string", "required": True}]
    metadata["responses"]["200"] = {"schema": {"$ref": "#/definitions/Answer"}, "description": "fine"}
    after = describe(app, "t", "1", version)
    operations = [document["paths"]["/x/{part}"]["put"] for document in (before, after)]
    for operation in operations:
        operation["parameters"] = sorted((parameter["in"], parameter["name"]) for parameter in operation["parameters"])
    assert operations[0] == operations[1]


def test_body_of_a_changed_handler_of_another_package() -> None:
    async def handler(_: Any) -> Response:
        return Response({})

    handler.__apispec__ = {"responses": {"200": {"schema": {"$ref": "#/definitions/Gone"}}},  # type: ignore[attr-defined]
                           "parameters": [{"in": "body", "name": "body", "schema": {"$ref": "#/definitions/Gone"}}]}
    app = web.Application()
    app.router.add_get("/x", handler)
    document = describe(app, "t", "1")
    OpenAPIV31SpecValidator(document).validate()
    assert "Gone" not in str(document)


# -- the document ----------------------------------------------------------------------------------------------------

@pytest.fixture
async def root() -> RootEndpoint:
    return RootEndpoint()


async def test_documents_are_valid(root: RootEndpoint) -> None:
    for needs_key in (False, True):
        modern, old = (describe(root.app, "t", "1", version, needs_key) for version in ("3.1.0", "2.0"))
        OpenAPIV31SpecValidator(modern).validate()
        OpenAPIV2SpecValidator(old).validate()
        assert ("security" in modern) == ("security" in old) == needs_key
        assert modern["paths"].keys() == old["paths"].keys()


async def test_all_routes_are_described(root: RootEndpoint) -> None:
    paths = describe(root.app, "t", "1")["paths"]
    for route in root.app.router.routes():
        if route.method != "HEAD":
            assert route.resource is not None
            operation = paths[route.resource.canonical][route.method.lower()]
            assert operation["summary"]
            assert operation["tags"]
            assert all(response["description"] for response in operation["responses"].values())
    assert not re.search(r"'description': None", str(paths))


async def test_nothing_is_lost_of_the_recorded_document(root: RootEndpoint, load_vectors: Callable[[str], Any]) -> None:
    recorded = load_vectors("rest-openapi")["document"]
    document = describe(root.app, "t", "1", "2.0")
    for path, operations in recorded["paths"].items():
        for method, operation in operations.items():
            found = document["paths"][path][method]
            assert found["tags"] == operation["tags"]
            names = {(parameter["in"], parameter["name"]) for parameter in found["parameters"]}
            assert names >= {(parameter["in"], parameter["name"].replace("goals_hops", "goal_hops"))
                             for parameter in operation.get("parameters", ())}, path
    for name, definition in recorded["definitions"].items():
        if name in {"SpeedTestResponse", "TunnelSettings", "DHTStats", "TunnelDHTPeersResponse",
                    "TunnelPEXPeersResponse"}:
            continue  # the answers are others than that document says
        fields = document["definitions"][name].get("properties", {})
        wrong = {"AsyncioLogResponse": {"debug"}, "DHTStoredValuesResponse": {"values"}}.get(name, set())
        assert set(definition.get("properties", ())) - wrong <= set(fields), name


# -- the page --------------------------------------------------------------------------------------------------------

async def test_page(serve: Serve) -> None:
    async with serve(api_key="secret") as (_, client):
        response = await client.get("/docs")
        page = await response.text()
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy
        assert "base-uri" in policy
        assert "form-action" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<script(?![^>]*src=)|style=|onclick=|https?://", page)
        files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert {name.rpartition("/")[2] for name in files} == set(FILES) - {"docs.html"}
        for name in files:
            assert (await client.get(name)).status == 200
            assert "http://" not in await (await client.get(name)).text()
        for name in ("..%2Fopenapi.py", "nothing.js"):
            assert (await client.get(f"/static/{name}")).status == 404
        assert "innerHTML" not in await (await client.get("/static/docs.js")).text()
        document = await (await client.get("/docs/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        assert document["info"] == {"title": "IPv8 REST API documentation", "version": "v3.2"}
        assert document["components"]["securitySchemes"]["apiKey"]["name"] == "X-Api-Key"
        assert (await (await client.get("/docs/swagger.json")).json())["swagger"] == "2.0"


async def test_no_documentation(serve: Serve) -> None:
    async with serve(docs=False) as (_, client):
        for path in ("/docs", "/docs/openapi.json", "/static/docs.js"):
            assert (await client.get(path)).status == 404
