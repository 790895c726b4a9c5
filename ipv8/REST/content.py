"""Saves bytes of responses: those that a client has already are not sent again, and large ones are compressed."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from typing import TypeGuard

    from aiohttp.web import Request, StreamResponse

__all__ = ["can_be_shortened", "shortened"]

LONG = 1024
"""Bytes above which responses are compressed and have tags: less is sent in one packet in any case."""

LEAST_IN_THREAD = 256 * 1024
"""Bytes above which that is done in a thread, as it takes more than a few milliseconds."""

LEVEL = 1
"""The fastest compression, which makes JSON with many keys about a third as long."""

GZIP = 16 + zlib.MAX_WBITS
TAG_MASK = (1 << 64) - 1
READING = frozenset({"GET", "HEAD"})


def can_be_shortened(response: StreamResponse) -> TypeGuard[web.Response]:
    """Whether a response is long, or clients keep it; streams cannot be shortened."""
    return (isinstance(response, web.Response) and isinstance(body := response.body, bytes)
            and (len(body) > LONG or "Cache-Control" in response.headers))


async def shortened(request: Request, response: web.Response) -> StreamResponse:
    """What is sent in place of a response that can be shortened; errors are left as they are.

    A response gets the header ``ETag``, by its content. A request with that in ``If-None-Match`` is answered 304.
    """
    body = response.body
    if not isinstance(body, bytes) or request.method not in READING or response.status != 200:
        return response
    headers = response.headers
    if "ETag" not in headers:
        tag = f"{hash(body) & TAG_MASK:016x}"  # by SipHash, with a key of this process
        headers["ETag"] = f'W/"{tag}"'
        if "If-None-Match" in request.headers and any(
                known.value in {tag, "*"} for known in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": headers["ETag"]})
    if len(body) > LONG and "Content-Encoding" not in headers:
        headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(request):
            await _compress(response, body)
    return response


def _takes_gzip(request: Request) -> bool:
    """Whether a client reads what is compressed (RFC 9110 section 12.5.3)."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() in {"gzip", "*"}:
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


async def _compress(response: web.Response, body: bytes) -> None:
    if len(body) > LEAST_IN_THREAD:
        response.body = await asyncio.get_running_loop().run_in_executor(None, _gzip, body)
    else:
        response.body = _gzip(body)
    response.headers["Content-Encoding"] = "gzip"


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    return compressor.compress(body) + compressor.flush()
