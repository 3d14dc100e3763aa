"""Chat Completions: OpenAI, OpenRouter, Ollama, vLLM, LM Studio and most others."""

from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Final, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator

from reasoning_bank.llm.exchange import Finish, ModelRequest, Reply, TokenUsage
from reasoning_bank.llm.pool import APIConnectionPool
from reasoning_bank.llm.sse import Event
from reasoning_bank.llm.wire import Body, Endpoint, ReportedError
from reasoning_bank.records import JsonValue

_DISPENSABLE: Final = {"max_tokens": "max_completion_tokens", "temperature": None, "stream_options": None}
_CUT: Final = frozenset({"length", "max_tokens", "model_length"})
_REFUSED: Final = frozenset({"content_filter", "refusal", "safety"})
_PASSING: Final = frozenset[object]({408, 409, 429, "server_error", "rate_limit_exceeded", "overloaded_error"})


def _texts(value: object) -> object:
    """Some servers send the content as a list of parts."""
    if not isinstance(value, list):
        return value or ""
    parts = cast("list[object]", value)
    found = [cast("Mapping[str, object]", part).get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in found if isinstance(text, str))


Text = Annotated[str, BeforeValidator(_texts)]


class _Details(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None

    def normal(self) -> TokenUsage:
        """Cached input is part of the input here."""
        cached = (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0
        return TokenUsage(max(0, (self.prompt_tokens or 0) - cached), cached, self.completion_tokens or 0)


class _Words(BaseModel):
    content: Text = ""
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None

    @property
    def words(self) -> _Words:
        """What is said, whole or as a piece."""
        return self.message or self.delta or _Words()


class _Problem(BaseModel):
    message: str = "no reason given"
    type: str | None = None
    code: int | str | None = None

    def error(self) -> ReportedError:
        """A proxy such as OpenRouter passes on the status of the server behind it as the code."""
        known = self.type in _PASSING or self.code in _PASSING
        return ReportedError(self.message, passes=known or (isinstance(self.code, int) and self.code >= 500))


class _Payload(BaseModel):
    """A whole answer or one piece of a stream; servers differ in what they leave out, and in what is null."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Problem | str | None = None

    @classmethod
    def read(cls, content: str | bytes) -> "_Payload":
        """The payload, unless it is an error."""
        payload = cls.model_validate_json(content)
        match payload.error:
            case None:
                return payload
            case str() as said:
                raise ReportedError(said, passes=False)
            case _Problem() as problem:
                raise problem.error()


class ChatCompletionsClient:
    """Asks a server that speaks Chat Completions.

    Args:
        pool: whose connections are used.
        base_url: the API's root, such as `https://api.openai.com/v1`.
        api_key: sent as a bearer token; None for servers without keys.
    """

    def __init__(self, pool: APIConnectionPool, *, base_url: str, api_key: str | None = None) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        url = f"{base_url.rstrip('/')}/chat/completions"
        self._endpoint = Endpoint(pool, url, headers=headers, dispensable=_DISPENSABLE)
        self._routed = urlsplit(base_url).hostname == "openrouter.ai"

    async def complete(self, request: ModelRequest, *, model: str, timeout_s: float) -> Reply:
        """Returns the whole answer.

        Raises:
            UpstreamError: no usable answer within `timeout_s`, retries included.
        """
        return await self._endpoint.ask(self._body(request, model), model=model, read=_whole, timeout_s=timeout_s)

    def stream(self, request: ModelRequest, *, model: str, timeout_s: float) -> AsyncGenerator[str | Reply]:
        """Yields the answer piece by piece, then the whole of it.

        Raises:
            UpstreamError: as `complete`; `partial` holds what had come.
        """
        body = self._body(request, model)
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        return self._endpoint.stream(body, model=model, reader=_Reader, timeout_s=timeout_s)

    def _body(self, request: ModelRequest, model: str) -> Body:
        body: Body = {
            "model": model,
            "messages": [{"role": message.role, "content": message.text} for message in request.messages],
            "max_tokens": request.max_tokens,
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.schema is not None:
            schema: JsonValue = {"name": request.schema_name, "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
            if self._routed:
                # Without it a request may land at a server that overlooks the schema.
                body["provider"] = {"require_parameters": True}
        elif request.json_object:
            body["response_format"] = {"type": "json_object"}
        return body


def _whole(content: bytes) -> Reply:
    payload = _Payload.read(content)
    if not payload.choices:
        raise ValueError("no choices")
    choice = payload.choices[0]
    words = choice.words
    usage = payload.usage.normal() if payload.usage else TokenUsage()
    finish = _finish(choice.finish_reason, words.refusal)
    return Reply(words.content or words.refusal or "", payload.model or "", usage, finish)


def _finish(reason: str | None, refusal: str | None) -> Finish:
    if refusal or reason in _REFUSED:
        return "refusal"
    return "length" if reason in _CUT else "stop"


class _Reader:
    """Puts a stream together; its end is the event `[DONE]`."""

    def __init__(self) -> None:
        self.finished = False
        self._model = ""
        self._usage = TokenUsage()
        self._reason: str | None = None
        self._refusal: str | None = None

    def feed(self, event: Event) -> str:
        if event.data.strip() == "[DONE]":
            self.finished = True
            return ""
        payload = _Payload.read(event.data)
        self._model = payload.model or self._model
        if payload.usage:
            self._usage = payload.usage.normal()
        if not payload.choices:
            return ""
        choice = payload.choices[0]
        self._reason = choice.finish_reason or self._reason
        words = choice.words
        self._refusal = words.refusal or self._refusal
        return words.content or words.refusal or ""

    def reply(self, text: str) -> Reply:
        return Reply(text, self._model, self._usage, _finish(self._reason, self._refusal))
