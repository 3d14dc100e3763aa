"""One POST to a model server: what is sent, how far it got, and its failures in words.

Nothing of a request is ever part of an error: keys are in headers, prompts in bodies, and neither is shown.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx2

from reasoning_bank.llm.failures import AttemptError, Health, status_failure
from reasoning_bank.upstream import reason_of

CONNECT_S: Final = 5.0
LONGEST_ANSWER_BYTES: Final = 8 << 20
_ERROR_BYTES: Final = 64 << 10
_SECRET_HEADERS: Final = ("authorization", "x-api-key")
_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "check llm.api_key",
    HTTPStatus.FORBIDDEN: "check llm.api_key and what it may use",
    HTTPStatus.NOT_FOUND: "check the provider's base_url and the model's name",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One POST, with the same bytes and the same idempotency key in each attempt.

    Attributes:
        url: where to.
        body: JSON.
        headers: of the request, the key among them.
        model: who is asked there; each model of a host has its own circuit breaker.
    """

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    model: str = ""

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def key(self) -> str:
        """What must not be repeated; empty where nothing is secret."""
        return next(
            (self.headers[name].removeprefix("Bearer ") for name in _SECRET_HEADERS if name in self.headers), ""
        )

    @property
    def whom(self) -> str:
        """Whose answer is awaited, in words."""
        return f"{self.model!r} at {self.host}" if self.model else self.host


@dataclass(slots=True)
class Trip:
    """One request on its way: how far it got, and until when it may take.

    Attributes:
        call: what is sent.
        deadline: in seconds of the event loop's clock.
        sent: whether a connection was had and writing began.
        connected: whether a connection was opened for it.
        answered: whether the head of an answer came.
    """

    call: Call
    deadline: float
    sent: bool = False
    connected: bool = False
    answered: bool = False

    @property
    def reused(self) -> bool:
        """Whether it went over a kept connection."""
        return self.sent and not self.connected

    def request(self, client: httpx2.AsyncClient) -> AbstractAsyncContextManager[httpx2.Response]:
        """Returns the request, sent on entering; leaving closes its answer."""
        return client.stream(
            "POST",
            self.call.url,
            content=self.call.body,
            headers={**self.call.headers, "content-type": "application/json", "accept-encoding": "gzip"},
            extensions={"trace": self._trace},
        )

    async def _trace(self, name: str, info: Mapping[str, object]) -> None:
        self.connected |= name.endswith("connect_tcp.complete")
        self.sent |= name.endswith("send_request_headers.started")
        self.answered |= name.endswith("receive_response_headers.complete")

    async def chunks(self, response: httpx2.Response, most: int = LONGEST_ANSWER_BYTES) -> AsyncGenerator[bytes]:
        """The decoded body; each piece is awaited until the deadline only, since the reader may take its time."""
        pieces = response.aiter_bytes()
        size = 0
        with self.failures():
            while True:
                async with asyncio.timeout_at(self.deadline):
                    chunk = await anext(pieces, None)
                if chunk is None:
                    return
                size += len(chunk)
                if size > most:
                    raise AttemptError(f"{self.call.whom} answered more than {most >> 20} MB")
                yield chunk

    async def refusal(self, response: httpx2.Response, *, wall: float) -> AttemptError:
        """Returns the failure that an answer's status means; `wall` is now, in seconds since 1970."""
        status = response.status_code
        try:
            body = b"".join([chunk async for chunk in self.chunks(response, _ERROR_BYTES)])
        except AttemptError:
            body = b""  # the status says enough
        said = f"{self.call.whom} answered HTTP {status}"
        if reason := reason_of(body, key=self.call.key):
            said += f": {reason}"
        if response.is_redirect:
            said += " (it redirects, which is not followed: check the provider's base_url)"
        elif advice := _ADVICE.get(status):
            said += f" ({advice})"
        return status_failure(status, response.headers, said, wall=wall)

    @contextmanager
    def failures(self) -> Generator[None]:
        """Turns what the library raises into failures in words."""
        whom = self.call.whom
        try:
            yield
        except TimeoutError as error:
            raise AttemptError(f"{whom} did not finish its answer in time", passes=True) from error
        except httpx2.ConnectTimeout as error:
            raise AttemptError(f"{whom} cannot be reached within {CONNECT_S:g} s", passes=True) from error
        except httpx2.TimeoutException as error:
            raise AttemptError(f"{whom} was silent for too long", passes=True) from error
        except httpx2.ConnectError as error:
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            raise AttemptError(f"{whom} cannot be reached: {_words(error)}", passes=not untrusted) from error
        except httpx2.HTTPError as error:
            broken = isinstance(error, httpx2.NetworkError | httpx2.RemoteProtocolError)
            stale = broken and self.reused and not self.answered
            health: Health = "unknown" if stale else "failure"
            said = f"{whom} broke the connection: {_words(error)}"
            raise AttemptError(said, passes=broken, stale=stale, health=health) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
