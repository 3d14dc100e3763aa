"""What the process measured, over HTTP: `/metrics` for Prometheus, `/performance` as JSON.

Both tell of every workspace of the server. So they are for its owner (loopback without a token) and for tokens made
with the scope "metrics", not for the holder of a token that opens one workspace.
"""

import time
from collections.abc import Collection, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from reasoning_bank.mcp.auth import current_caller
from reasoning_bank.mcp.opening import BankOpening
from reasoning_bank.mcp.routes import add_route

METRICS_PATH: Final = "/metrics"
PERFORMANCE_PATH: Final = "/performance"
_REFUSED: Final = frozenset(
    (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.MISDIRECTED_REQUEST,
    )
)


def add_figures(
    server: MCPServer[Any], opening: BankOpening, *, security: TransportSecuritySettings, own_workspace: str
) -> None:
    """Let `server` tell its figures at both paths."""

    async def metrics(request: Request) -> Response:
        current_caller().require("metrics")
        from reasoning_bank.monitoring.exposition import exposition  # noqa: PLC0415 -- prometheus-client: 0.1 s

        bank = await opening.bank()
        body, content_type = exposition(bank.monitor.snapshot(), accept=request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def performance(request: Request) -> Response:
        current_caller().require("metrics")
        bank = await opening.bank()
        return JSONResponse(await bank.performance(request.query_params.get("name")))

    for path, answer in ((METRICS_PATH, metrics), (PERFORMANCE_PATH, performance)):
        add_route(server, path, answer, method="GET", security=security, own_workspace=own_workspace)


class TimedRequests:
    """ASGI: counts each HTTP request as one call of `http`, once the bank is open; failed are those of status 5xx.

    Those that the gate refused (401, 403, 404, 405, 421) are not counted: they did no work and would hide who waits.

    Args:
        app: what answers.
        opening: of the bank whose monitor is told.
        apart: paths that are not counted either: whoever watches the server asks for them all the time.
    """

    def __init__(self, app: ASGIApp, opening: BankOpening, *, apart: Collection[str] = ()) -> None:
        self._app = app
        self._opening = opening
        self._apart = frozenset(apart)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and counts it when its answer has ended, of GET when it has begun."""
        if scope["type"] != "http" or scope["path"] in self._apart:
            return await self._app(scope, receive, send)
        status, ended = HTTPStatus.INTERNAL_SERVER_ERROR.value, 0.0

        async def heard(message: MutableMapping[str, Any]) -> None:
            nonlocal status, ended
            status = message.get("status", status)
            # What is asked for with GET may be a stream that stays open as long as its client.
            ended = ended or (time.perf_counter() if scope["method"] == "GET" else 0.0)
            await send(message)

        started = time.perf_counter()
        try:
            return await self._app(scope, receive, heard)
        finally:
            if self._opening.opened and status not in _REFUSED:
                bank = await self._opening.bank()
                seconds = (ended or time.perf_counter()) - started
                bank.monitor.observe("http", seconds, status >= HTTPStatus.INTERNAL_SERVER_ERROR)
