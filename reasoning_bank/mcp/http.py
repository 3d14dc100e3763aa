"""The server over Streamable HTTP: stateless, Host and Origin checked, bearer tokens, a bounded stop."""

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any, NoReturn

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from reasoning_bank.errors import ConfigError
from reasoning_bank.mcp.auth import BearerGate, Grant, VerifyToken
from reasoning_bank.mcp.batch import add_batches
from reasoning_bank.mcp.figures import METRICS_PATH, TimedRequests, add_figures
from reasoning_bank.mcp.logs import log_to_stderr
from reasoning_bank.mcp.opening import BankOpening, OpenBank
from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.mcp.stopping import DRAIN_S, exit_now, exit_within, on_stop_signal
from reasoning_bank.mcp.workspace import DEFAULT_WORKSPACE
from reasoning_bank.settings import HttpSettings, Settings

logger = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
GRACE_S = 3
"""Time for calls in flight; what is left of the time to stop is for closing the bank."""
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def serve_http(settings: Settings, *, ready: Callable[[str], None] | None = None) -> NoReturn:
    """Serves MCP over HTTP until the process is asked to stop, then exits with 0.

    Args:
        settings: address, tokens, limits.
        ready: called with the URL of the endpoint once it answers.

    Raises:
        ConfigError: the address cannot be used, or tokens are switched off away from loopback or there are none.
    """
    log_to_stderr(settings)
    listener = listen(settings.http)
    if needs_token(settings.http):
        anyio.run(_check_tokens, settings)
    url = endpoint_url(settings.http, listener)
    application = build_application(open_configured_bank(settings, warm=True), settings)
    server = HttpServer(application, announce=lambda: ready(url) if ready else None)
    anyio.run(server.serve, [listener])
    exit_now(0 if server.started else 1)


async def _check_tokens(settings: Settings) -> None:
    """Refuses to serve where every request needs a token and there is none; says what plain HTTP means."""
    from reasoning_bank.bank import ReasoningBank  # noqa: PLC0415 -- only here the bank is needed before serving

    async with ReasoningBank(settings) as bank:
        has_token = await bank.upkeep.has_token()
    if not has_token:
        raise ConfigError("every request would need a token and none is valid: `reasoning-bank token create` makes one")
    if not is_loopback(settings.http.host):
        logger.warning(
            "tokens and memories travel in plain text: put a proxy with TLS in front of %s", settings.http.host
        )


def listen(http: HttpSettings) -> socket.socket:
    """Returns a listening socket.

    Raises:
        ConfigError: the address is taken or not ours, or tokens are switched off away from loopback.
    """
    if http.auth == "off" and not is_loopback(http.host):
        raise ConfigError("`http.auth = off` is allowed on loopback only: remove it, or listen on 127.0.0.1")
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    try:
        listener = socket.create_server((http.host, http.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {http.host} port {http.port} ({error.strerror}): another server may be there already, "
            "which clients can share; or choose another port (--port, `http.port`; 0 takes a free one)"
        ) from error
    # asyncio sends at once (TCP_NODELAY) only where the socket says that it is TCP, which this one does not: every
    # answer of two packets would wait 40 ms for the acknowledgement of the first.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())


def endpoint_url(http: HttpSettings, listener: socket.socket) -> str:
    """Returns the URL that clients use, with the port that was really taken."""
    host = f"[{http.host}]" if ":" in http.host else http.host
    return f"http://{host}:{listener.getsockname()[1]}{http.path}"


def build_application(open_bank: OpenBank, settings: Settings) -> ASGIApp:
    """Returns the ASGI application: MCP, batches and figures behind the token gate, and a liveness path."""
    opening = BankOpening(open_bank)
    own = settings.workspace or DEFAULT_WORKSPACE
    server = build_server(open_bank, settings, own_workspace=own, opening=opening)
    add_batches(server, opening, settings, security=transport_security(settings.http), own_workspace=own)
    add_figures(server, opening, security=transport_security(settings.http), own_workspace=own)
    application = secured_application(server, settings, _verifier(opening))
    return TimedRequests(application, opening, apart=(HEALTH_PATH, METRICS_PATH))


def secured_application(server: MCPServer[Any], settings: Settings, verify: VerifyToken) -> ASGIApp:
    """Returns `server` as an ASGI application with every check that a listening process needs.

    Raises:
        ConfigError: the endpoint would lie where anyone may read.
    """
    if settings.http.path.rstrip("/") == HEALTH_PATH:
        raise ConfigError(f"`http.path` is {HEALTH_PATH}, which answers without a token: choose another path")

    @server.custom_route(HEALTH_PATH, methods=["GET"])
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})  # never authenticated: liveness only, no figures

    _ = healthz  # registered by its decorator
    application = server.streamable_http_app(
        streamable_http_path=settings.http.path,
        stateless_http=True,  # no session to expire or to steal
        json_response=False,  # JSON alone would drop progress in both eras
        max_request_body_size=settings.limits.message_bytes,
        transport_security=transport_security(settings.http),
        host=settings.http.host,
    )
    required = needs_token(settings.http)
    return BearerGate(application, verify, required=required, open_paths=frozenset({HEALTH_PATH}))


def needs_token(http: HttpSettings) -> bool:
    """Whether a request without a token is refused: always off loopback, on loopback when configured so."""
    return http.auth == "required" or (http.auth == "auto" and not is_loopback(http.host))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def transport_security(http: HttpSettings) -> TransportSecuritySettings:
    """Returns the Host and Origin check; the SDK alone would switch it off away from loopback."""
    own = () if is_loopback(http.host) else (f"[{http.host}]" if ":" in http.host else http.host,)
    hosts = [*LOOPBACK_NAMES, *own, *http.allowed_hosts]
    origins = [f"http://{name}" for name in LOOPBACK_NAMES] + list(http.allowed_origins)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=_with_any_port(hosts),
        allowed_origins=_with_any_port(origins),
    )


def _with_any_port(names: list[str]) -> list[str]:
    return [form for name in names for form in ((name,) if name.endswith(":*") else (name, f"{name}:*"))]


def _verifier(opening: BankOpening) -> VerifyToken:
    async def verify(token: str) -> Grant | None:
        bank = await opening.bank()
        found = await bank.upkeep.verify_token(token)
        return None if found is None else Grant(found.workspace, found.id, tuple(found.scopes))

    return verify


class HttpServer(uvicorn.Server):
    """uvicorn that exits with 0 when it is asked to stop, and within a bounded time."""

    def __init__(self, application: ASGIApp, *, announce: Callable[[], object] = lambda: None) -> None:
        config = uvicorn.Config(
            application,
            lifespan="on",
            ws="none",
            log_config=None,  # stderr is set up by the command; uvicorn's own would write access lines to stdout
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening and says so."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Turns stop signals into a bounded, clean stop."""
        # uvicorn's own raises the signal again after a clean stop, which turns exit code 0 into -15.
        with on_stop_signal(self._stop):
            yield

    def _stop(self) -> None:
        exit_within(DRAIN_S)
        self.should_exit = True
