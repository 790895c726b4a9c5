"""Responses to requests that fail (doc/rest_api.md)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

from ..dht import DHTError
from .base_endpoint import HTTP_BAD_REQUEST, HTTP_INTERNAL_SERVER_ERROR, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse

    Handler = Callable[[Request], Awaitable[StreamResponse]]

__all__ = ["error_middleware", "error_response", "legacy_error_response", "refusal"]

logger = logging.getLogger("RESTManager")

RETRY_AFTER = 5
"""Seconds after which a client should try again what the DHT could not do."""


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """The response to a request that may not be answered."""
    return Response({"success": False, "error": {"code": code, "message": message}}, headers=headers, status=status)


def error_response(request: Request, error: Exception) -> Response:
    """The response to an exception: those of HTTP have their own status, those of the DHT 503, others 500.

    An exception that should not occur is logged. The response has only a number, by which it is found in the log.
    Redirections, and what tells that the client has left, are raised again.
    """
    if isinstance(error, ConnectionResetError):
        raise error
    if isinstance(error, web.HTTPException):
        if error.status < HTTP_BAD_REQUEST:
            raise error
        if error.content_type == "application/json":
            return Response(error.body, status=error.status, content_type="application/json")
        headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return refusal(error.status, type(error).__name__, error.reason, headers)
    if isinstance(error, DHTError):
        return refusal(503, "DHTError", str(error), {"Retry-After": str(RETRY_AFTER)})
    number = uuid4().hex
    logger.error("The request %s %s failed (request %s)", request.method, request.path, number, exc_info=error)
    return Response({"success": False, "error": {"code": "InternalError", "message": "see the log of the node",
                                                 "request_id": number}}, status=HTTP_INTERNAL_SERVER_ERROR)


def legacy_error_response(request: Request, error: Exception) -> Response:
    """The response to an exception, as other implementations give it: with status 500, its class and its text."""
    if isinstance(error, ConnectionResetError):
        raise error
    cause: BaseException = error
    if isinstance(error, web.HTTPException):
        if error.status < HTTP_BAD_REQUEST:
            raise error
        cause = error.__cause__ or error
    elif not isinstance(error, DHTError):
        logger.error("The request %s %s failed", request.method, request.path, exc_info=error)
    message = cause.reason if isinstance(cause, web.HTTPException) else str(cause)
    return refusal(HTTP_INTERNAL_SERVER_ERROR, type(cause).__name__, message)


@web.middleware
async def error_middleware(request: Request, handler: Handler) -> StreamResponse:
    """Answer exceptions as :func:`error_response` does."""
    try:
        return await handler(request)
    except Exception as e:  # noqa: BLE001 - answered, and logged unless it is of a known kind
        return error_response(request, e)
