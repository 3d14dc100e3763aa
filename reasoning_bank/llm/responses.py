"""OpenAI's Responses API."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final, Literal

from pydantic import BaseModel, Field

from reasoning_bank.llm.exchange import Finish, ModelRequest, Reply, TokenUsage
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.sse import Event
from reasoning_bank.llm.wire import Body, Endpoint, ReportedError

_DISPENSABLE: Final = {"temperature": None}
_LEAST_TOKENS: Final = 16
"""The API refuses to answer with fewer."""
_PASSING: Final = frozenset({"server_error", "rate_limit_exceeded", "overloaded"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXTS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})


class _Part(BaseModel):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Item(BaseModel):
    type: str = ""
    content: list[_Part] | None = None


class _Details(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None

    def normal(self) -> TokenUsage:
        """Cached input is part of the input here."""
        cached = (self.input_tokens_details and self.input_tokens_details.cached_tokens) or 0
        return TokenUsage(max(0, self.input_tokens - cached), cached, self.output_tokens)


class _Reason(BaseModel):
    reason: str | None = None


class _Problem(BaseModel):
    message: str = "no reason given"
    code: str | None = None

    def error(self) -> ReportedError:
        return ReportedError(self.message, passes=self.code in _PASSING)


class _Response(BaseModel):
    status: Literal["completed", "incomplete", "failed", "cancelled", "in_progress", "queued"]
    model: str = ""
    output: list[_Item] = Field(default_factory=list[_Item])
    usage: _Usage | None = None
    incomplete_details: _Reason | None = None
    error: _Problem | None = None

    @property
    def parts(self) -> list[_Part]:
        """What the model says, without its reasoning."""
        return [part for item in self.output if item.type == "message" for part in item.content or ()]

    def reply(self) -> Reply:
        if self.error or self.status not in ("completed", "incomplete"):
            raise (self.error or _Problem(message=f"status {self.status}")).error()
        text = "".join(part.text or part.refusal for part in self.parts)
        return Reply(text, self.model, self.usage.normal() if self.usage else TokenUsage(), self._finish())

    def _finish(self) -> Finish:
        reason = self.incomplete_details and self.incomplete_details.reason
        if reason == "content_filter" or any(part.type == "refusal" for part in self.parts):
            return "refusal"
        return "stop" if self.status == "completed" else "length"


class ResponsesAPIClient:
    """Asks a server that speaks the Responses API; nothing is stored there.

    Args:
        pool: whose connections are used.
        base_url: the API's root.
        api_key: sent as a bearer token.
    """

    def __init__(
        self,
        pool: APIConnectionPool,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        url = f"{base_url.rstrip('/')}/responses"
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
    body: Body = {
        "model": model,
        "input": [{"role": message.role, "content": message.text} for message in request.messages],
        "max_output_tokens": max(_LEAST_TOKENS, request.max_tokens),
        "store": False,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.schema is not None:
        schema = dict(request.schema)
        body["text"] = {
            "format": {"type": "json_schema", "name": request.schema_name, "strict": True, "schema": schema}
        }
    elif request.json_object:
        body["text"] = {"format": {"type": "json_object"}}
    return body


def _whole(content: bytes) -> Reply:
    return _Response.model_validate_json(content).reply()


class _Kind(BaseModel):
    type: str = ""


class _Delta(BaseModel):
    delta: str


class _End(BaseModel):
    response: _Response


class _Error(BaseModel):
    error: _Problem | None = None
    message: str = "no reason given"
    code: str | None = None


class _Reader:
    """Puts a stream together; its end is an event that holds the whole answer."""

    def __init__(self) -> None:
        self._whole: Reply | None = None

    @property
    def finished(self) -> bool:
        return self._whole is not None

    def feed(self, event: Event) -> str:
        """Most of the many kinds of events do not concern us, whatever they hold."""
        kind = _Kind.model_validate_json(event.data).type
        if kind in _TEXTS:
            return _Delta.model_validate_json(event.data).delta
        if kind in _ENDS:
            self._whole = _End.model_validate_json(event.data).response.reply()
        elif kind == "error":
            told = _Error.model_validate_json(event.data)
            raise (told.error or _Problem(message=told.message, code=told.code)).error()
        return ""

    def reply(self, text: str) -> Reply:
        assert self._whole is not None
        return replace(self._whole, text=text or self._whole.text)
