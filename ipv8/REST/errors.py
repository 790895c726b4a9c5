"""Responses to requests that fail (doc/rest_api.md)."""

from __future__ import annotations

import logging
from binascii import Error as BinasciiError
from json import JSONDecodeError
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web
from aiohttp.http import HttpProcessingError

from ..dht import DHTError
from .base_endpoint import HTTP_BAD_REQUEST, HTTP_INTERNAL_SERVER_ERROR, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse

    Handler = Callable[[Request], Awaitable[StreamResponse]]

__all__ = ["SERVER_LOG", "error_middleware", "error_response", "legacy_error_response", "refusal"]

logger = logging.getLogger("RESTManager")

RETRY_AFTER = 5
"""Seconds after which a client should try again what the DHT could not do."""

UNREADABLE = (JSONDecodeError, BinasciiError)
"""What handlers of programs raise because of a request that is not as it should be."""

NO_HTTP = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""What aiohttp raises because of a client that does not speak HTTP, or has left."""


class _NoHttp(logging.Filter):
    """Logs what clients do wrong at the level debug, as everybody who reaches the server can do that at any time.

    The text of such an error is left out, as it has a part of the request, which may have the key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        error = None if record.exc_info is None else record.exc_info[1]
        if not isinstance(error, NO_HTTP):
            return True
        record.msg, record.args = "%s: %s", (record.getMessage(), type(error).__name__)
        record.exc_info = None
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return SERVER_LOG.isEnabledFor(logging.DEBUG)


SERVER_LOG = logging.getLogger("RESTManager.http")
"""For what servers of aiohttp log."""
SERVER_LOG.addFilter(_NoHttp())


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """The response to a request that may not be answered."""
    return Response({"success": False, "error": {"code": code, "message": message}}, headers=headers, status=status)


def error_response(request: Request, error: Exception) -> Response:
    """The response to an exception: those of HTTP have their own status, those of the DHT 503, others 500.

    A body that is no JSON, or no hexadecimal digits, gets 400. An exception that should not occur is logged. The
    response has only a number, by which it is found in the log. What no response can be sent to is raised again.
    """
    _raise_unanswerable(request, error)
    if isinstance(error, web.HTTPException):
        if error.content_type == "application/json":
            return Response(error.body, status=error.status, content_type="application/json")
        headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return refusal(error.status, type(error).__name__, error.reason, headers)
    if isinstance(error, DHTError):
        return refusal(503, "DHTError", str(error), {"Retry-After": str(RETRY_AFTER)})
    if isinstance(error, UNREADABLE):
        return refusal(HTTP_BAD_REQUEST, type(error).__name__, str(error))
    if isinstance(error, web.RequestPayloadError):
        return _closing(refusal(HTTP_BAD_REQUEST, "BadRequest", "the body is not encoded as the headers say"))
    number = uuid4().hex
    logger.error("The request %s %s failed (request %s)", request.method, request.path, number, exc_info=error)
    return Response({"success": False, "error": {"code": "InternalError", "message": "see the log of the node",
                                                 "request_id": number}}, status=HTTP_INTERNAL_SERVER_ERROR)


def legacy_error_response(request: Request, error: Exception) -> Response:
    """The response to an exception, as other implementations give it: with status 500, its class and its text."""
    _raise_unanswerable(request, error)
    cause: BaseException = error
    if isinstance(error, web.HTTPException):
        cause = error.__cause__ or error
    elif not isinstance(error, (DHTError, *UNREADABLE, *NO_HTTP)):
        logger.error("The request %s %s failed", request.method, request.path, exc_info=error)
    message = cause.reason if isinstance(cause, web.HTTPException) else str(cause)
    response = refusal(HTTP_INTERNAL_SERVER_ERROR, type(cause).__name__, message)
    return _closing(response) if isinstance(error, web.RequestPayloadError) else response


def _raise_unanswerable(request: Request, error: Exception) -> None:
    """Raise an exception again that no response is sent to.

    That is a redirection, what tells that the client has left, and any after a part of another response was sent: the
    connection is closed then.
    """
    if isinstance(error, ConnectionResetError):
        raise error
    if request.writer is not None and request.writer.output_size:
        logger.error("The response to %s %s ended early", request.method, request.path, exc_info=error)
        raise ConnectionAbortedError("a part of the response was sent already") from error
    if isinstance(error, web.HTTPException) and error.status < HTTP_BAD_REQUEST:
        raise error


def _closing(response: Response) -> Response:
    """A response after which the connection is closed, as nobody knows where the next request begins."""
    response.force_close()
    return response


@web.middleware
async def error_middleware(request: Request, handler: Handler) -> StreamResponse:
    """Answer exceptions as :func:`error_response` does."""
    try:
        return await handler(request)
    except Exception as e:  # noqa: BLE001 - answered, and logged unless it is of a known kind
        return error_response(request, e)
