"""What the wire formats share: a request goes out, a whole answer or a stream of events comes back as a Reply."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Protocol

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.call import Call
from reasoning_bank.llm.exchange import Reply
from reasoning_bank.llm.failures import AttemptError
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.sse import Event, events
from reasoning_bank.records import JsonValue
from reasoning_bank.upstream import presentable

Body = dict[str, JsonValue]

_ABOUT_THE_REQUEST: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_DRAIN_S: Final = 0.25
"""What an ended answer's connection may take to end its body too, so that it can be kept."""


class ReportedError(Exception):
    """A server reports an error within an answer that began as a success.

    Attributes:
        passes: whether asking again may help.
    """

    def __init__(self, message: str, *, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


class Reader(Protocol):
    """Puts one streamed answer together."""

    @property
    def finished(self) -> bool:
        """Whether the mark of its end came."""
        ...

    def feed(self, event: Event) -> str:
        """Returns the text that an event adds, often none.

        Raises:
            ReportedError: the event is an error.
            ValueError: it is not in the format.
        """
        ...

    def reply(self, text: str) -> Reply:
        """Returns the whole answer, given all the text that `feed` returned."""
        ...


class Endpoint:
    """One URL of a model server.

    Args:
        pool: whose connections are used.
        url: where requests go.
        headers: sent with each, the key among them.
        dispensable: fields that some models refuse, and what they want instead (None: nothing). A refusal that names
            one is taken as its model's rule from then on.
        new_key: makes idempotency keys.
    """

    def __init__(
        self,
        pool: APIConnectionPool,
        url: str,
        *,
        headers: Mapping[str, str],
        dispensable: Mapping[str, str | None],
        new_key: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self._pool = pool
        self._url = url
        self._headers = headers
        self._dispensable = dispensable
        self._new_key = new_key
        self._refused: dict[str, set[str]] = {}

    async def ask(self, body: Body, *, model: str, read: Callable[[bytes], Reply], timeout_s: float) -> Reply:
        """Returns the whole answer.

        Args:
            body: the request.
            model: who is asked.
            read: raises ReportedError or ValueError for an answer that is no use.
            timeout_s: longest time, retries included.

        Raises:
            UpstreamError: no usable answer.
        """
        clock = asyncio.get_running_loop().time
        deadline, earlier = clock() + timeout_s, 0
        while True:
            call = self._call(body, model)
            usable = _usable(call, read)
            try:
                reply, attempts = await self._pool.post(call, usable, timeout_s=deadline - clock())
            except UpstreamError as error:
                if not self._adapts(error, body, model):
                    raise
                earlier += error.attempts
            else:
                return replace(reply, model=reply.model or model, attempts=earlier + attempts)

    async def stream(
        self, body: Body, *, model: str, reader: Callable[[], Reader], timeout_s: float
    ) -> AsyncGenerator[str | Reply]:
        """Yields the answer piece by piece, then as a whole.

        Raises:
            UpstreamError: no usable answer; `partial` holds what had come.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        while True:
            try:
                async with aclosing(self._pieces(self._call(body, model), reader, deadline - clock())) as pieces:
                    async for piece in pieces:
                        yield piece
            except UpstreamError as error:
                if not self._adapts(error, body, model):
                    raise
            else:
                return

    async def _pieces(self, call: Call, reader: Callable[[], Reader], timeout_s: float) -> AsyncGenerator[str | Reply]:
        async def begin(chunks: AsyncIterator[bytes]) -> _Answer:
            answer = _Answer(events(chunks), reader(), call)
            await answer.advance()
            return answer

        texts: list[str] = []
        attempts = 0
        try:
            async with self._pool.stream(call, begin, timeout_s=timeout_s) as (answer, attempts):
                while answer.text:
                    texts.append(answer.text)
                    yield answer.text
                    await answer.advance()
                reply = answer.reader.reply("".join(texts))
                await answer.drain()
        except AttemptError as error:
            partial = "".join(texts)
            said = f"{error}, after {len(partial)} characters of its answer"
            raise UpstreamError(said, status=error.status, partial=partial, attempts=attempts) from error
        yield replace(reply, model=reply.model or call.model, attempts=attempts)

    def _call(self, body: Body, model: str) -> Call:
        refused = self._refused.get(model, ())
        fields: dict[str, JsonValue] = {}
        for name, value in body.items():
            wanted = self._dispensable.get(name) if name in refused else name
            if wanted is not None:
                fields[wanted] = value
        # Half of a surrogate pair, as cut text has it, is not JSON's business: it becomes a question mark.
        content = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return Call(self._url, content, {**self._headers, "idempotency-key": self._new_key()}, model)

    def _adapts(self, error: UpstreamError, body: Body, model: str) -> bool:
        """Whether the error is about a field that can be left out, which it is from now on."""
        if error.status not in _ABOUT_THE_REQUEST:
            return False
        refused = self._refused.setdefault(model, set())
        named = {name for name in self._dispensable if name in body and name not in refused and name in str(error)}
        refused |= named
        return bool(named)


@dataclass(slots=True)
class _Answer:
    """An answer that comes in events; `text` is what came last, empty at the end."""

    events: AsyncIterator[Event]
    reader: Reader
    call: Call
    text: str = ""

    async def advance(self) -> None:
        """Takes the next text.

        Raises:
            AttemptError: an error came instead, or the stream ended without its mark.
        """
        with _problems(self.call):
            async for event in self.events:
                self.text = self.reader.feed(event)
                if self.text or self.reader.finished:
                    return
        raise AttemptError(f"{self.call.whom} ended its answer without saying that it is complete", passes=True)

    async def drain(self) -> None:
        """Reads what comes after the mark of the end."""
        with suppress(TimeoutError, AttemptError):
            async with asyncio.timeout(_DRAIN_S):
                async for _ in self.events:
                    pass


def _usable(call: Call, read: Callable[[bytes], Reply]) -> Callable[[bytes], Reply]:
    def usable(content: bytes) -> Reply:
        with _problems(call):
            return read(content)

    return usable


@contextmanager
def _problems(call: Call) -> Generator[None]:
    """Turns an answer that is no use into a failure."""
    try:
        yield
    except ReportedError as error:
        health = "failure" if error.passes else "well"
        said = presentable(str(error), key=call.key)
        raise AttemptError(f"{call.whom} reports: {said}", passes=error.passes, health=health) from error
    except ValueError as error:
        raise AttemptError(f"{call.whom} answered what is not in its format") from error
