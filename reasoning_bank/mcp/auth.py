"""Who is calling, and the workspace that this decides.

Over HTTP a bearer token decides the workspace of every request (the protocol has no session to lean on); an
`Authorization` header is always verified, also where none is required. Over stdio the process belongs to its user.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, cast

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reasoning_bank.errors import BusyError, PermissionDeniedError, ReasoningBankError

logger = logging.getLogger(__name__)

Access = Literal["read", "write", "metrics"]
"""What a token may allow: its workspace's memories, and `metrics`: the figures of the whole process, nothing else."""
_MEANING: Mapping[Access, str] = {
    "read": "read",
    "write": "write",
    "metrics": "see the figures of the whole server",
}
SCOPE_KEY = "reasoning_bank.grant"
"""Where the verified grant of a request stands in its ASGI scope."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows.

    Attributes:
        workspace: the only workspace it opens.
        actor: the token's id or name, kept with what is written.
        scopes: each an `Access`.
    """

    workspace: str
    actor: str
    scopes: tuple[str, ...]


VerifyToken = Callable[[str], Awaitable[Grant | None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the holder of a token, or whoever may reach this process without one."""

    own_workspace: str
    grant: Grant | None = None

    @property
    def actor(self) -> str | None:
        """The name kept with what this caller writes."""
        return self.grant.actor if self.grant else None

    def workspace(self, argument: str | None) -> str:
        """Returns the workspace this call works in.

        Raises:
            PermissionDeniedError: the token is bound to another workspace than the argument names.
        """
        if self.grant is None:
            return argument or self.own_workspace
        if argument and argument != self.grant.workspace:
            raise PermissionDeniedError(
                "This token is bound to another workspace than `workspace` names: leave `workspace` out."
            )
        return self.grant.workspace

    def require(self, access: Access) -> None:
        """Raises PermissionDeniedError when the token does not allow `access`."""
        if not self.may(access):
            raise PermissionDeniedError(
                f"This token does not allow to {_MEANING[access]}: use one with the scope {access!r}."
            )

    def may(self, access: Access) -> bool:
        """Whether the token allows `access`; who needs none may do everything."""
        return self.grant is None or access in self.grant.scopes


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Returns who sent the request that is being handled."""
    return _CALLER.get()


def bind_caller(own_workspace: str, request: object) -> None:
    """Makes the sender of `request` (an HTTP request, None on stdio) the current caller of this task."""
    scope = getattr(request, "scope", None)
    grant = cast("Scope", scope).get(SCOPE_KEY) if isinstance(scope, dict) else None
    _CALLER.set(Caller(own_workspace, grant if isinstance(grant, Grant) else None))


class BearerGate:
    """ASGI: verifies bearer tokens in front of the MCP endpoint and answers 401 itself.

    It also trims blanks around header values, which HTTP excludes from them and not every parser removes.

    Args:
        app: what is guarded.
        verify: returns what a token allows, or None when it is wrong, expired or revoked.
        required: whether a request without an `Authorization` header is refused.
        open_paths: paths that anyone may read (liveness only).
    """

    def __init__(
        self, app: ASGIApp, verify: VerifyToken, *, required: bool, open_paths: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._verify = verify
        self._required = required
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with its grant in the scope, or answers 401 or 503."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope = {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
        if scope["path"] in self._open_paths:
            return await self._app(scope, receive, send)
        header = Headers(scope=scope).get("authorization")
        if header is None:
            if self._required:
                return await _refuse(send, HTTPStatus.UNAUTHORIZED, "a bearer token is required")
            return await self._app(scope, receive, send)
        scheme, _, token = header.partition(" ")
        try:
            grant = await self._verify(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        except (BusyError, ReasoningBankError):
            logger.warning("a token could not be verified because the bank is not available")
            return await _refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, "the bank is not available")
        if grant is None:
            return await _refuse(send, HTTPStatus.UNAUTHORIZED, "the token is wrong, expired or revoked")
        return await self._app({**scope, SCOPE_KEY: grant}, receive, send)


async def _refuse(send: Send, status: HTTPStatus, description: str) -> None:
    error = "invalid_token" if status is HTTPStatus.UNAUTHORIZED else "temporarily_unavailable"
    body = json.dumps({"error": error, "error_description": description}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status is HTTPStatus.UNAUTHORIZED:
        challenge = f'Bearer realm="reasoning-bank", error="{error}", error_description="{description}"'
        headers.append((b"www-authenticate", challenge.encode()))
    else:
        headers.append((b"retry-after", b"5"))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
