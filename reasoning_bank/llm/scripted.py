"""A model that replays a file: for demonstrations and tests, without a network and without chance.

The first reply that fits answers, so what is special stands before what is general:

    [[reply]]
    purpose = "judge"
    match = "exit code [1-9]"
    json = { outcome = "failure", confidence = 0.9 }

    [[reply]]
    match = "overloaded"
    error = "the model is overloaded"
    times = 2

    [[reply]]
    text = "I do not know."
"""

import json
import re
import tomllib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from reasoning_bank.errors import ConfigError, UpstreamError
from reasoning_bank.llm.exchange import Finish, ModelRequest, Purpose, Reply, TokenUsage

_BYTES_PER_TOKEN: Final = 4
_PIECES: Final = re.compile(r"\s*\S+|\s+$")


class ScriptedReply(BaseModel):
    """One line of the script.

    Attributes:
        purpose: replies only to requests for it; None: to any.
        match: regular expression that must be found in a message; empty: in any.
        text: the answer.
        json_value: the answer as JSON, where `text` is not given; written `json` in the file.
        finish: why the model stopped.
        error: fails with these words instead of answering.
        status: HTTP status of that failure.
        times: used at most so often; None: always.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    purpose: Purpose | None = None
    match: re.Pattern[str] = re.compile("")
    text: str | None = None
    json_value: JsonValue = Field(default=None, alias="json")
    finish: Finish = "stop"
    error: str | None = None
    status: int | None = None
    times: int | None = Field(default=None, ge=1)

    def fits(self, request: ModelRequest) -> bool:
        """Whether it replies to that request."""
        if self.purpose not in {None, request.purpose}:
            return False
        return any(self.match.search(message.text) for message in request.messages)

    @property
    def answer(self) -> str:
        """What the model says."""
        return self.text if self.text is not None else json.dumps(self.json_value, ensure_ascii=False)


def read_script(path: Path) -> tuple[ScriptedReply, ...]:
    """Returns the replies of a TOML file (tables `[[reply]]`) or of a JSONL file (an object per line).

    Raises:
        ConfigError: the file cannot be read or says something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = _jsonl(text) if path.suffix == ".jsonl" else cast("list[Any]", tomllib.loads(text).get("reply", []))
        return tuple(ScriptedReply.model_validate(row) for row in rows)
    except (OSError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigError(f"the script of the model, {path.name}: {said}") from error


def _jsonl(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


@dataclass(slots=True)
class _Line:
    reply: ScriptedReply
    left: int | None


class ScriptedProvider:
    """Answers with the first reply that fits and is not used up; tokens are a quarter of the bytes.

    Args:
        replies: in the order in which they are tried.

    Attributes:
        requests: what it was asked, oldest first.
    """

    def __init__(self, replies: Sequence[ScriptedReply]) -> None:
        self.requests: list[ModelRequest] = []
        self._lines = [_Line(reply, reply.times) for reply in replies]

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        """Returns the scripted answer; nothing is waited for.

        Raises:
            UpstreamError: the script says so, or has no reply.
        """
        self.requests.append(request)
        line = next((line for line in self._lines if line.left != 0 and line.reply.fits(request)), None)
        if line is None:
            raise UpstreamError(
                f"the script has no reply for {request.purpose or 'this request'}", status=404, attempts=1
            )
        if line.left is not None:
            line.left -= 1
        reply = line.reply
        if reply.error is not None:
            raise UpstreamError(reply.error, status=reply.status, attempts=1)
        usage = TokenUsage(_tokens(*(message.text for message in request.messages)), 0, _tokens(reply.answer))
        return Reply(reply.answer, model, usage, reply.finish)

    async def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        """Yields the scripted answer word by word, then the whole of it.

        Raises:
            UpstreamError: as `complete`.
        """
        reply = await self.complete(request, model=model, timeout_s=timeout_s)
        for piece in _PIECES.findall(reply.text):
            yield piece
        yield reply


def _tokens(*texts: str) -> int:
    return sum(len(text.encode("utf-8", "replace")) for text in texts) // _BYTES_PER_TOKEN
