"""What can go wrong with one HTTP request to a model server, and what each failure allows."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from reasoning_bank.errors import UpstreamError
from reasoning_bank.upstream import retry_after_s

Health = Literal["well", "failure", "refused", "unknown"]
"""What an attempt says about a server: it works, it is in trouble, it refuses the key, or nothing."""

_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


class AttemptError(UpstreamError):
    """One HTTP request that failed.

    Attributes:
        passes: whether the same request may do better later.
        sent: whether a request was made at all.
        stale: a kept connection was closed under the request: no byte came back, so asking again costs nothing.
        health: what it says about the server.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        passes: bool = False,
        sent: bool = True,
        stale: bool = False,
        health: Health = "failure",
    ) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)
        self.passes = passes
        self.sent = sent
        self.stale = stale
        self.health: Health = health


def status_failure(status: int, headers: Mapping[str, str], said: str, *, wall: float) -> AttemptError:
    """Returns the failure that an HTTP status means.

    Args:
        status: not 2xx.
        headers: of the answer; names in lower case, or a mapping that does not mind.
        said: what happened, in words.
        wall: now, in seconds since 1970.
    """
    passes = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    wish = headers.get("x-should-retry", "").lower()
    return AttemptError(
        said,
        status=status,
        retry_after_s=retry_after_s(headers, wall=wall),
        passes=passes if wish not in {"true", "false"} else wish == "true",
        health=_health(status),
    )


def _health(status: int) -> Health:
    if status == HTTPStatus.UNAUTHORIZED:
        return "refused"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "unknown"
    return "failure" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "well"
