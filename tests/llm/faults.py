"""Every fault of a model server, and what must come of it."""

from contextlib import aclosing
from dataclasses import dataclass

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.exchange import Message, ModelRequest, Provider, Reply

from . import endpoint
from .endpoint import Fault

REQUEST = ModelRequest(messages=(Message("user", "What now?"),))


@dataclass(frozen=True)
class Case:
    """A fault and what is expected.

    Attributes:
        faults: one per request; afterwards the server answers, or repeats the last one.
        expected: "answer", or words of the error.
        attempts: requests that are made; None: it depends on chance and time.
        timeout_s: deadline of the call.
        repeats: the last fault never ends.
        warm: a connection is kept from an earlier call.
        streams: the answer is streamed.
        partial: text that came before the failure is kept in the error.
        retry_after_s: what the error says about coming back.
    """

    name: str
    faults: tuple[Fault, ...]
    expected: str = "answer"
    attempts: int | None = 1
    timeout_s: float = 10.0
    repeats: bool = False
    warm: bool = False
    streams: bool = False
    partial: bool = False
    retry_after_s: float | None = None


def _wait(value: str, name: str = "retry-after") -> Fault:
    return endpoint.status(429, {name: value})


CASES = (
    Case("no fault", ()),
    Case("no fault, streamed", (), streams=True),
    Case("connection refused", (), "cannot be reached", 4),
    Case("hangs before the answer", (endpoint.hang,), "did not finish its answer in time", timeout_s=1.0),
    Case("hangs in the answer", (endpoint.hang_in_body,), "did not finish its answer in time", timeout_s=1.0),
    Case("drips a byte every 20 ms", (endpoint.drip,), "did not finish its answer in time", timeout_s=1.0),
    Case("429, Retry-After: 1", (_wait("1"),), attempts=2),
    Case("429, Retry-After: a date", (endpoint.dated(429, in_s=2),), attempts=2),
    Case("429, retry-after-ms: 200", (_wait("200", "retry-after-ms"),), attempts=2),
    Case("429, Retry-After: -5", (_wait("-5"),), attempts=2),
    Case("429, Retry-After: 1e12", (_wait("1e12"),), attempts=2),
    Case("429, Retry-After: soon", (_wait("soon"),), attempts=2),
    Case("429, no Retry-After", (endpoint.status(429),), attempts=2),
    Case("429, Retry-After: 120", (_wait("120"),), "HTTP 429", retry_after_s=120.0),
    Case("429, Retry-After beyond the deadline", (_wait("30"),), "HTTP 429", retry_after_s=30.0),
    Case("two times 500", (endpoint.status(500), endpoint.status(500)), attempts=3),
    Case("529", (endpoint.status(529),), attempts=2),
    Case("500 for ever", (endpoint.status(500),), r"HTTP 500.*\(after 4 attempts\)", 4, repeats=True, timeout_s=20.0),
    Case("500, x-should-retry: false", (endpoint.status(500, {"x-should-retry": "false"}),), "HTTP 500"),
    Case("400", (endpoint.status(400),), "HTTP 400: as told"),
    Case("401", (endpoint.status(401),), "HTTP 401: as told .*check llm.api_key"),
    Case("403", (endpoint.status(403),), "HTTP 403"),
    Case("404", (endpoint.status(404),), "HTTP 404.*check the provider's base_url"),
    Case("422", (endpoint.status(422),), "HTTP 422"),
    Case("redirect", (endpoint.status(302, {"location": "http://127.0.0.1:9/"}),), "redirects, which is not followed"),
    Case("invalid JSON", (endpoint.content(b'{"choices": [{'),), "not in its format"),
    Case("gzip bomb (200 MB)", (endpoint.gzip_bomb(),), "more than 8 MB"),
    Case("body cut off", (endpoint.cut_body,), attempts=2),
    Case("connection reset in the answer", (endpoint.reset,), attempts=2),
    Case("closed without a byte", (endpoint.vanish,), attempts=2),
    Case("stale keep-alive", (endpoint.vanish_if_kept,), attempts=2, warm=True),
    Case("stream cut off", (endpoint.cut_stream,), "broke the connection", streams=True, partial=True),
    Case("stream without its end mark", (endpoint.no_mark,), "without saying", streams=True, partial=True),
    Case("error in the middle of a stream", (endpoint.error_midway,), "fell over", streams=True, partial=True),
    Case("broken JSON in a stream", (endpoint.not_json_midway,), "not in its format", streams=True, partial=True),
    Case("stream hangs", (endpoint.hang_midway,), "in time", streams=True, partial=True, timeout_s=1.0),
    Case("error before the first word", (endpoint.error_at_once,), attempts=2, streams=True),
    Case("503 before a stream", (endpoint.status(503),), attempts=2, streams=True),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    said: str
    attempts: int
    partial: str = ""
    retry_after_s: float | None = None


async def outcome_of(provider: Provider, case: Case) -> Outcome:
    """Asks once."""
    try:
        if not case.streams:
            reply = await provider.complete(REQUEST, model="m", timeout_s=case.timeout_s)
            return Outcome("answer", reply.attempts)
        async with aclosing(provider.stream(REQUEST, model="m", timeout_s=case.timeout_s)) as stream:
            *_, last = [piece async for piece in stream]
        assert isinstance(last, Reply)
        return Outcome("answer", last.attempts)
    except UpstreamError as error:
        return Outcome(str(error), error.attempts, error.partial, error.retry_after_s)


async def prepare(server: endpoint.ModelServer, case: Case, provider: Provider) -> None:
    """Makes the server fail as the case says."""
    if case.warm:
        await provider.complete(REQUEST, model="m", timeout_s=case.timeout_s)
    server.faults.extend(case.faults)
    if case.repeats:
        server.otherwise = case.faults[-1]
