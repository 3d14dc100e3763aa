"""What every tool shares: checked arguments, one error mapping, a structured answer with a short text copy."""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from reasoning_bank.concurrency.repeats import RepeatedCalls
from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.mcp.arguments import Answer, Arguments, Schema, explain_arguments, input_schema, output_schema
from reasoning_bank.mcp.auth import Access, Caller, current_caller
from reasoning_bank.mcp.errors import as_tool_error
from reasoning_bank.mcp.opening import BankOpening
from reasoning_bank.records import Source
from reasoning_bank.settings import Settings
from reasoning_bank.text.sanity import strip_invisible

if TYPE_CHECKING:
    from reasoning_bank.bank import ReasoningBank

logger = logging.getLogger(__name__)

_CLIENT_CHARACTERS = 100

A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Answer)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        caller: what the token allows, or whoever may reach this process without one.
        client: name and version of the program that calls, as it introduced itself: nothing is decided by it.
        report: tells the caller the share done (0..1).
    """

    bank: "ReasoningBank"
    settings: Settings
    caller: Caller
    client: str | None
    report: Callable[[float], Coroutine[Any, Any, object]]

    def source(self, kind: Literal["mcp", "capture"] = "mcp") -> Source:
        """The way by which what is stored came."""
        return Source(kind, self.client, self.caller.actor)


@dataclass(frozen=True, slots=True)
class ToolSpec(Generic[A, R]):
    """One tool: its name, the prompt that tells a model when to call it, and its function.

    Attributes:
        run: returns the structured answer and its text copy, which is written for the model to read.
        access: what a token must allow.
        configured: what the settings add to the schema of arguments, by name.
    """

    name: str
    description: str
    arguments: type[A]
    answer: type[R]
    run: Callable[[Call, A], Awaitable[tuple[R, str]]]
    access: Access
    annotations: ToolAnnotations
    configured: Callable[[Settings], dict[str, Schema]] = lambda _settings: {}
    meta: dict[str, Any] | None = None


class BankTool(Tool):
    """A tool of the bank inside the SDK: it runs its own checks instead of the SDK's lenient ones."""

    spec: Any
    opening: Any
    bank_settings: Any
    repeats: Any

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Returns the result of one call.

        Raises:
            ToolError: the arguments are wrong, or the bank refused or could not do it.
            UnexpectedToolError: a bug.
        """
        spec = cast("ToolSpec[Any, Any]", self.spec)
        try:
            checked = spec.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ToolError(explain_arguments(error, spec.arguments, spec.name)) from None
        started = time.perf_counter()
        try:
            caller = current_caller()
            caller.require(spec.access)
            bank = await cast("BankOpening", self.opening).bank()
            with bank.monitor.measure(f"tool.{spec.name}"):
                report = partial(context.report_progress, total=1.0)
                call = Call(bank, self.bank_settings, caller, _client(context), report)
                answer, text = await spec.run(call, checked)
            if spec.access == "read" and self._repeated(call, arguments, text):
                bank.monitor.count("calls.repeated")  # of what is stored twice the answer says so
        except ReasoningBankError as error:
            logger.info("%s refused: %s", spec.name, type(error).__name__)
            raise as_tool_error(error) from error
        except (ToolError, MCPError):
            raise
        except Exception as error:
            # A bug: the SDK logs the traceback of this kind, and the client reads nothing of it.
            raise UnexpectedToolError(f"{spec.name} failed; the server's log says why") from error
        logger.info("%s answered in %.1f ms", spec.name, (time.perf_counter() - started) * 1000)
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=answer.model_dump(mode="json")
        )

    def _repeated(self, call: Call, arguments: dict[str, Any], text: str) -> bool:
        told_as = "/".join(filter(None, (call.caller.actor, call.client))) or "a client"
        return cast("RepeatedCalls", self.repeats).note(told_as, self.name, arguments, text) > 1


def _client(context: Context[Any, Any]) -> str | None:
    params = context.session.client_params
    if params is None:
        return None
    return client_name(f"{params.client_info.name}/{params.client_info.version}")


def client_name(told: str) -> str | None:
    """Returns how a client calls itself, fit to be kept and logged; None where nothing is left of it."""
    return strip_invisible(told)[:_CLIENT_CHARACTERS] or None


def build_tool(spec: ToolSpec[Any, Any], opening: BankOpening, settings: Settings, repeats: RepeatedCalls) -> BankTool:
    """Returns `spec` as the SDK serves it; `repeats` notices who asks the same again and again."""
    metadata = FuncMetadata(
        arg_model=spec.arguments, output_schema=output_schema(spec.answer), output_model=spec.answer
    )
    return BankTool(
        fn=spec.run,
        name=spec.name,
        title=None,
        description=spec.description,
        context_kwarg=None,
        parameters=input_schema(spec.arguments, spec.configured(settings)),
        fn_metadata=metadata,
        is_async=True,
        annotations=spec.annotations,
        meta=spec.meta,
        spec=spec,
        opening=opening,
        bank_settings=settings,
        repeats=repeats,
    )
