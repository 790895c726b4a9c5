"""The recorded exchanges of another implementation: those that are normative, and all of them with its errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openapi_schema_validator import OAS31Validator
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipv8.REST.rest_manager import RESTManager
    from tests.REST.conftest import Serve
    from tests.REST.world import World

#: Errors that are answered better by default.
INFORMATIVE = {"HTTPNotFound", "HTTPMethodNotAllowed", "Error", "JSONDecodeError", "TypeError"}
UNORDERED = {"services", "peer_flags"}


def is_informative(exchange: dict[str, Any]) -> bool:
    error = exchange["response"].get("error") if isinstance(exchange["response"], dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return exchange["status"] == 500 and code in INFORMATIVE


def is_corrected(exchange: dict[str, Any], removed: bool) -> bool:
    """Whether the default is another one.

    Preflight requests need no key, the DHT may work later, and a pseudonym that is not loaded can be removed.
    """
    if exchange["path"].startswith("/identity?") and removed:
        return True
    return exchange["method"] == "OPTIONS" or (exchange["status"] == 500 and "DHTError" in str(exchange["response"]))


def comparable(value: Any, volatile: set[str], name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: comparable(entry, volatile, key) for key, entry in value.items() if key not in volatile}
    if isinstance(value, list):
        entries = [comparable(entry, volatile) for entry in value]
        return sorted(entries) if name in UNORDERED else entries
    return value


def without_additions(value: Any, expected: Any) -> Any:
    """The response without fields that this implementation adds to those of the recorded one."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return {key: without_additions(entry, expected[key]) for key, entry in value.items() if key in expected}
    if isinstance(value, list) and isinstance(expected, list) and len(value) == len(expected):
        return [without_additions(*pair) for pair in zip(value, expected, strict=True)]
    return value


def assert_described(manager: RESTManager, exchange: dict[str, Any], content: Any) -> None:
    """The response is as the OpenAPI document says."""
    assert manager.documentation is not None
    document = manager.documentation.describe("3.1.0")
    path = exchange["path"].partition("?")[0].split("/")
    for pattern, operations in document["paths"].items():
        parts = pattern.split("/")
        if len(parts) == len(path) and all(part in {given, f"{{{part[1:-1]}}}"}
                                           for part, given in zip(parts, path, strict=True)):
            described = operations[exchange["method"].lower()]["responses"]["200"]["content"]["application/json"]
            OAS31Validator({**described["schema"], "components": document["components"]}).validate(content)
            return
    raise AssertionError(f"{exchange['path']} is not described")


async def replay(serve: Serve, world: World, vectors: Any, legacy: bool) -> None:
    volatile = set(vectors["volatile_fields"])
    phase, removed = "empty", False
    async with serve(api_key=vectors["api_key"], legacy_errors=legacy) as (manager, client):
        for number, exchange in enumerate(vectors["exchanges"]):
            if exchange["phase"] != phase:
                phase = exchange["phase"]
                world.populate(manager.root_endpoint)  # type: ignore[arg-type]
            removed |= "/remove" in exchange["path"]
            body = None if exchange["body"] is None else json.dumps(exchange["body"])
            response = await client.request(exchange["method"], URL(exchange["path"], encoded=True),
                                            headers=exchange["headers"], data=body)
            if not legacy and (is_informative(exchange) or is_corrected(exchange, removed)):
                assert response.status != 500
                continue
            where = number, exchange["method"], exchange["path"]
            text = await response.text()
            assert (*where, response.status) == (*where, exchange["status"]), text
            for name, value in exchange["response_headers"].items():
                assert response.headers[name] == value, where
            if response.status == 200 and response.content_type == "application/json":
                assert_described(manager, exchange, json.loads(text))
            expected = comparable(exchange["response"], volatile)
            if expected == "":
                assert not text, where
                continue
            found = comparable(json.loads(text), volatile)
            if expected:
                found = without_additions(found, expected)
            assert found == expected, where


@pytest.mark.parametrize("legacy", [False, True])
async def test_exchanges(serve: Serve, world: World, load_vectors: Callable[[str], Any], legacy: bool) -> None:
    await replay(serve, world, load_vectors("rest-http"), legacy)
