"""HTTP requests to one gateway, for the library ``async-upnp-client``.

Whoever answered a search may send anything. So a requester talks to one host only, follows no redirection, and limits
how much is read, for how long, and how deep its XML is nested.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from .gateway import PortMappingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Requester", "check_xml"]

MAX_BODY = 262144
"""Bytes of a description or of the result of an action."""

MAX_DEPTH = 32
"""Elements of XML in one another; descriptions of gateways have about ten."""

MAX_REQUESTS = 32
"""Requests for the descriptions of one gateway: one, and one for each of its services."""

PADDING = b" \t\r\n\0"
"""Bytes that some gateways send behind XML."""


def check_xml(data: bytes) -> None:
    """Make sure that XML can be parsed without harm: well-formed, not nested deeply, and without entities.

    :raises PortMappingError: otherwise.
    """
    depth = 0

    def enter(_name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise PortMappingError("the gateway sent XML that is nested too deeply")

    def leave(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise PortMappingError("the gateway sent XML with a document type, which UPnP does not use")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as e:
        raise PortMappingError(f"the gateway sent malformed XML: {e}") from None


class Requester:
    """Does the requests of the library.

    :param host: the address of the gateway, the only host that is asked.
    :param timeout: seconds that a request may take.
    """

    def __init__(self, host: str, timeout: float) -> None:
        self._host = host
        self._timeout = timeout
        #: How many more requests are done.
        self.left: float = MAX_REQUESTS

    def lift(self) -> None:
        """Do any number of requests from now on."""
        self.left = inf

    async def async_http_request(self, http_request: Any) -> Any:
        """Do one request, of the library's class ``HttpRequest``, and return a ``HttpResponse``.

        :raises PortMappingError: if the gateway does not answer as it should.
        """
        aiohttp, url = import_module("aiohttp"), import_module("yarl").URL(http_request.url)
        if url.scheme != "http" or url.host != self._host or url.user is not None:
            raise PortMappingError(f"the gateway {self._host} names another host, which is not asked: {url.host}")
        if self.left <= 0:
            raise PortMappingError(f"the gateway {self._host} has too many services")
        self.left -= 1
        headers = {**(http_request.headers or {}), "Accept-Encoding": "identity"}
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
                                      timeout=aiohttp.ClientTimeout(total=self._timeout)) as session,
                session.request(http_request.method, url, headers=headers, data=http_request.body,
                                allow_redirects=False) as response,
            ):
                body = await self._read(response)
                status, received = response.status, dict(response.headers)
        except asyncio.TimeoutError:
            raise PortMappingError(f"the gateway {self._host} takes too long") from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise PortMappingError(f"the gateway {self._host} cannot be asked: {e}") from e
        if body:
            check_xml(body)
        response_class: Any = import_module("async_upnp_client.const").HttpResponse
        return response_class(status, received, body.decode(errors="replace"))

    async def _read(self, response: Any) -> bytes:
        """The body of a response; ``PortMappingError`` if it is not what a gateway should send."""
        headers: Mapping[str, str] = response.headers
        if 300 <= response.status < 400:
            raise PortMappingError(f"the gateway {self._host} redirects, which is not followed")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise PortMappingError(f"the gateway {self._host} compresses, which it was not asked to do")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                raise PortMappingError(f"the gateway {self._host} sends too much")
        return bytes(body).rstrip(PADDING)
