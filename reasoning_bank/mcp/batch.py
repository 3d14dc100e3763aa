"""`POST /batch/…`: many calls of one tool in one request, for programs; the tools' schemas stay as small as they are.

The body is a JSON list of the tool's arguments. The answer is a list in the same order: for each item `{"answer": …}`,
what the tool answers, or `{"error": …}`, what it would be refused with.
"""

import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reasoning_bank.batches import in_order
from reasoning_bank.errors import InputError, PermissionDeniedError, ReasoningBankError
from reasoning_bank.mcp.arguments import Answer, explain_arguments
from reasoning_bank.mcp.auth import current_caller
from reasoning_bank.mcp.errors import explain
from reasoning_bank.mcp.opening import BankOpening
from reasoning_bank.mcp.routes import add_route
from reasoning_bank.mcp.tool import Call, ToolSpec, client_name
from reasoning_bank.mcp.tools.compress_prompt import COMPRESS_PROMPT
from reasoning_bank.mcp.tools.retrieve_memory import RETRIEVE_MEMORY
from reasoning_bank.mcp.tools.store_trace import STORE_TRACE, StoreArguments, reported, stored_answer
from reasoning_bank.records import JsonValue, StoreResult
from reasoning_bank.settings import Settings

if TYPE_CHECKING:
    from reasoning_bank.learning.recording import Told

T = TypeVar("T")

MOST_ITEMS = 100
"""Items of one request: a longer list is sent in parts, so that nobody else waits long for their turn."""
_GONE = 499
"""Nobody reads this answer; the status is what proxies log for it."""

RunAll = Callable[[Call, Sequence[Any]], Coroutine[Any, Any, list[Answer | ReasoningBankError]]]
"""What the tool answers to each of checked arguments, or refuses them with, in their order."""


def add_batches(
    server: MCPServer[Any],
    opening: BankOpening,
    settings: Settings,
    *,
    security: TransportSecuritySettings,
    own_workspace: str,
) -> None:
    """Let the HTTP application of `server` answer lists at /batch/retrieve, /batch/compress and /batch/store."""

    def add(name: str, spec: ToolSpec[Any, Any], run: RunAll) -> None:
        batch = _Batch(spec, run, opening, settings)
        add_route(server, f"/batch/{name}", batch.answer, method="POST", security=security, own_workspace=own_workspace)

    add("retrieve", RETRIEVE_MEMORY, partial(_each_by_itself, RETRIEVE_MEMORY))
    add("compress", COMPRESS_PROMPT, partial(_each_by_itself, COMPRESS_PROMPT))
    add("store", STORE_TRACE, _stored_together)


class _Batch:
    """One of the paths."""

    def __init__(self, spec: ToolSpec[Any, Any], run: RunAll, opening: BankOpening, settings: Settings) -> None:
        self._spec = spec
        self._run = run
        self._opening = opening
        self._settings = settings

    async def answer(self, request: Request) -> Response:
        """The answers to a list, or the one reason why there are none."""
        caller = current_caller()
        caller.require(self._spec.access)
        body = await _body(request, most=self._settings.limits.message_bytes)
        if body is None:
            limit = self._settings.limits.message_bytes
            return JSONResponse({"error": f"more than {limit} bytes"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        items = [self._checked(item) for item in _items(body)]
        bank = await self._opening.bank()
        call = Call(bank, self._settings, caller, client_name(request.headers.get("user-agent", "")), _unheard)
        with bank.monitor.measure(f"batch.{self._spec.name}"):
            answers = await _unless_gone(
                request, self._run(call, [item for item in items if not isinstance(item, str)])
            )
        if answers is None:
            return Response(status_code=_GONE)
        told = iter(answers)
        return JSONResponse([{"error": item} if isinstance(item, str) else _told(next(told)) for item in items])

    def _checked(self, item: JsonValue) -> Any:
        """The arguments of one call, or what is wrong with them as text."""
        if not isinstance(item, dict):
            return f"an item is an object with the arguments of {self._spec.name}"
        try:
            return self._spec.arguments.model_validate(item)
        except ValidationError as error:
            return explain_arguments(error, self._spec.arguments, self._spec.name)


async def _each_by_itself(
    spec: ToolSpec[Any, Any], call: Call, items: Sequence[Any]
) -> list[Answer | ReasoningBankError]:
    async def one(item: Any) -> Answer:
        answer, _text = await spec.run(call, item)
        return answer

    return await in_order([partial(one, item) for item in items])


async def _stored_together(call: Call, items: Sequence[StoreArguments]) -> list[Answer | ReasoningBankError]:
    from reasoning_bank.learning.recording import Told  # noqa: PLC0415 -- SQLAlchemy comes with it: no handshake waits

    answers: dict[int, Answer | ReasoningBankError] = {}
    placed: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        try:
            placed.setdefault(call.caller.workspace(item.workspace), []).append(number)
        except PermissionDeniedError as refused:
            answers[number] = refused
    for workspace, numbers in placed.items():
        traces = [
            Told(*reported(items[number], call.caller.actor), items[number].idempotency_key) for number in numbers
        ]
        for number, result in zip(numbers, await _kept(call, workspace, traces), strict=True):
            answers[number] = stored_answer(result) if isinstance(result, StoreResult) else result
    return [answers[number] for number in range(len(items))]


async def _kept(call: Call, workspace: str, traces: "Sequence[Told]") -> Sequence[StoreResult | ReasoningBankError]:
    try:
        return await call.bank.batches.store_traces(workspace, traces, source=call.source())
    except ReasoningBankError as failed:
        return [failed] * len(traces)


def _told(answer: Answer | ReasoningBankError) -> dict[str, JsonValue]:
    if isinstance(answer, ReasoningBankError):
        return {"error": explain(answer)}
    return {"answer": answer.model_dump(mode="json")}


def _items(body: bytes) -> list[JsonValue]:
    try:
        items: JsonValue = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the body is no JSON: send a list of objects") from error
    if not isinstance(items, list):
        raise InputError("the body is no list: send one, of objects with the arguments of each call")
    if len(items) > MOST_ITEMS:
        raise InputError(f"{len(items)} items, the limit is {MOST_ITEMS}: send them in parts")
    return items


async def _body(request: Request, *, most: int) -> bytes | None:
    """The body, or None where it has more than `most` bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return bytes(body)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns, or None: it is cancelled when the client leaves. Raises what it is refused with."""
    answers: list[T] = []
    refused: list[ReasoningBankError] = []
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            answers.append(await work)
        except ReasoningBankError as error:  # raised below: inside it would come out as a group of one
            refused.append(error)
        group.cancel_scope.cancel()
    if refused:
        raise refused[0]
    return answers[0] if answers else None


async def _unheard(_share: float) -> None:
    """Nobody is told how far a batch is."""
