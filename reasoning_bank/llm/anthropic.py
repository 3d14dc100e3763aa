"""Anthropic's Messages API."""

from collections.abc import AsyncGenerator
from typing import Final

from pydantic import BaseModel, Field

from reasoning_bank.llm.exchange import Finish, ModelRequest, Reply, TokenUsage
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.sse import Event
from reasoning_bank.llm.wire import Body, Endpoint, ReportedError

_VERSION: Final = "2023-06-01"
_DISPENSABLE: Final = {"temperature": None}
_PASSING: Final = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})
_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})


class _Usage(BaseModel):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None

    def normal(self) -> TokenUsage:
        """Cached input is not part of the input here; what was newly put into the cache was read at full price."""
        read = (self.input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        return TokenUsage(read, self.cache_read_input_tokens or 0, self.output_tokens or 0)

    def updated(self, later: "_Usage") -> "_Usage":
        """Counts in a stream are totals so far, and each event has only some of them."""
        return self.model_copy(update=later.model_dump(exclude_none=True))


class _Block(BaseModel):
    type: str = ""
    text: str = ""


class _Message(BaseModel):
    model: str = ""
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage = Field(default_factory=_Usage)


class _Problem(BaseModel):
    type: str = ""
    message: str = "no reason given"

    def error(self) -> ReportedError:
        return ReportedError(self.message, passes=self.type in _PASSING)


class AnthropicClient:
    """Asks a server that speaks the Messages API.

    Args:
        pool: whose connections are used.
        base_url: the API's root.
        api_key: sent as `x-api-key`.
    """

    def __init__(
        self,
        pool: APIConnectionPool,
        *,
        base_url: str = "https://api.anthropic.com/v1",
        api_key: str | None = None,
    ) -> None:
        headers = {"anthropic-version": _VERSION, **({"x-api-key": api_key} if api_key else {})}
        url = f"{base_url.rstrip('/')}/messages"
        self._endpoint = Endpoint(pool, url, headers=headers, dispensable=_DISPENSABLE)

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        """Returns the whole answer.

        Raises:
            UpstreamError: no usable answer within `timeout_s`, retries included.
        """
        return await self._endpoint.ask(_body(request, model), model=model, read=_whole, timeout_s=timeout_s)

    def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        """Yields the answer piece by piece, then the whole of it.

        Raises:
            UpstreamError: as `complete`; `partial` holds what had come.
        """
        body = {**_body(request, model), "stream": True}
        return self._endpoint.stream(body, model=model, reader=_Reader, timeout_s=timeout_s)


def _body(request: ModelRequest, model: str) -> Body:
    """JSON without a schema cannot be asked for here: the words of the request must do."""
    system = "\n\n".join(message.text for message in request.messages if message.role == "system")
    turns = [message for message in request.messages if message.role != "system"]
    body: Body = {
        "model": model,
        "max_tokens": request.max_tokens,
        "messages": [{"role": message.role, "content": message.text} for message in turns],
    }
    if system:
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.schema)}}
    return body


def _whole(content: bytes) -> Reply:
    message = _Message.model_validate_json(content)
    text = "".join(block.text for block in message.content if block.type == "text")
    return Reply(text, message.model, message.usage.normal(), _finish(message.stop_reason))


def _finish(reason: str | None) -> Finish:
    if reason == "refusal":
        return "refusal"
    return "length" if reason in _CUT else "stop"


class _Delta(BaseModel):
    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class _Event(BaseModel):
    type: str = ""
    message: _Message | None = None
    delta: _Delta = Field(default_factory=_Delta)
    usage: _Usage = Field(default_factory=_Usage)
    error: _Problem = Field(default_factory=_Problem)


class _Reader:
    """Puts a stream together; its end is `message_stop`."""

    def __init__(self) -> None:
        self.finished = False
        self._model = ""
        self._usage = _Usage()
        self._reason: str | None = None

    def feed(self, event: Event) -> str:
        payload = _Event.model_validate_json(event.data)
        match payload.type:
            case "error":
                raise payload.error.error()
            case "message_start" if payload.message is not None:
                self._model = payload.message.model
                self._usage = payload.message.usage
            case "message_delta":
                self._usage = self._usage.updated(payload.usage)
                self._reason = payload.delta.stop_reason or self._reason
            case "message_stop":
                self.finished = True
            case "content_block_delta" if payload.delta.type == "text_delta":
                return payload.delta.text
            case _:
                pass  # pings, starts and ends of blocks, reasoning
        return ""

    def reply(self, text: str) -> Reply:
        return Reply(text, self._model, self._usage.normal(), _finish(self._reason))
