"""Paths beside the MCP endpoint: as guarded as it, which the SDK leaves to us.

The token gate stands in front of every path (auth.py); Host, Origin and what a token allows are checked here.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reasoning_bank.errors import BusyError, InputError, PermissionDeniedError, ReasoningBankError
from reasoning_bank.mcp.auth import bind_caller
from reasoning_bank.mcp.errors import explain

Answer = Callable[[Request], Awaitable[Response]]
"""Answers one request, whose sender is `current_caller()`; a ReasoningBankError becomes a status and its text."""


def add_route(
    server: MCPServer[Any],
    path: str,
    answer: Answer,
    *,
    method: str,
    security: TransportSecuritySettings,
    own_workspace: str,
) -> None:
    """Let `server` answer at `path` of its HTTP application.

    Args:
        server: whose application it is.
        path: where; not the MCP endpoint's.
        answer: what answers.
        method: "GET" or "POST"; what is posted must say that it is JSON.
        security: which hosts and origins may ask.
        own_workspace: the workspace of callers without a token.
    """
    check = TransportSecurityMiddleware(security)

    async def guarded(request: Request) -> Response:
        refused = await check.validate_request(request, is_post=method == "POST")
        if refused is not None:
            return refused
        bind_caller(own_workspace, request)
        try:
            return await answer(request)
        except ReasoningBankError as error:
            return _refusal(error)

    server.custom_route(path, methods=[method])(guarded)


def _refusal(error: ReasoningBankError) -> Response:
    headers = {"retry-after": f"{error.retry_after_s:.0f}"} if isinstance(error, BusyError) else None
    return JSONResponse({"error": explain(error)}, _status(error), headers)


def _status(error: ReasoningBankError) -> HTTPStatus:
    match error:
        case InputError():
            return HTTPStatus.BAD_REQUEST
        case PermissionDeniedError():
            return HTTPStatus.FORBIDDEN
        case _:
            return HTTPStatus.SERVICE_UNAVAILABLE
