"""The words of a conversation with a language model, the same for every provider."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from reasoning_bank.records import JsonValue

Purpose = Literal["judge", "distil", "merge", "intent", "solve"]
"""What a question is for: each purpose has its model, its budget and its counters."""
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length", "refusal"]
"""Why a model stopped: only "stop" is a complete answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What is asked of a model.

    Attributes:
        messages: the conversation; the last turn is the user's.
        max_tokens: longest answer, in tokens of the model.
        temperature: 0..2; 0 is the most repeatable; None leaves it to the server.
        schema: JSON schema of the answer; None asks for text. Every property required, no others allowed.
        schema_name: name of that schema, `[A-Za-z0-9_-]`, at most 64 characters.
        json_object: without a schema: any JSON object, for servers that know JSON but no schemas.
        purpose: what it is for; never sent.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 1024
    temperature: float | None = 0.0
    schema: Mapping[str, JsonValue] | None = None
    schema_name: str = "answer"
    json_object: bool = False
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What an answer cost, in tokens; a server that does not say counts as zero.

    Attributes:
        input_uncached: tokens read at the full price.
        input_cached: tokens the server had read before.
        output: tokens written, reasoning included.
    """

    input_uncached: int = 0
    input_cached: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered.

    Attributes:
        text: the answer; incomplete when `finish` is "length", the refusal's words when it is "refusal".
        model: the model that answered, in the server's words.
        usage: tokens read and written.
        finish: why it stopped.
        attempts: HTTP requests it took, at least 1.
    """

    text: str
    model: str
    usage: TokenUsage
    finish: Finish
    attempts: int = 1


class Provider(Protocol):
    """Somebody who answers requests: a server, or a script."""

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        """Returns the whole answer.

        Raises:
            UpstreamError: no usable answer within `timeout_s`, retries included.
        """
        ...

    def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        """Yields the answer piece by piece, then the whole of it as a Reply; close it to stop early.

        Raises:
            UpstreamError: as `complete`; `partial` holds the text that had come when it broke off.
        """
        ...
