"""Completions: workspaces, tags, domains and ids while a person types them."""

from typing import Any, Literal

from mcp.server import MCPServer
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.mcp.auth import Caller, current_caller
from reasoning_bank.mcp.errors import as_protocol_error
from reasoning_bank.mcp.opening import BankOpening

Kind = Literal["workspace", "tag", "domain", "memory", "trace"]
MOST_VALUES = 100
"""The protocol's bound."""
_KINDS: dict[str, Kind] = {"workspace": "workspace", "tag": "tag", "domain": "domain"}
OUTCOMES = ("success", "failure", "partial", "unknown")


def add_completions(server: MCPServer[Any], opening: BankOpening) -> None:
    """Registers the completion handler."""

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        if isinstance(ref, PromptReference) and argument.name == "outcome":
            return _completion([outcome for outcome in OUTCOMES if outcome.startswith(argument.value)])
        kind = _kind(ref, argument.name)
        if kind is None:
            return Completion(values=[])
        try:
            caller = current_caller()
            caller.require("read")
            workspace = caller.workspace((context.arguments or {}).get("workspace") or None if context else None)
            return _completion(await _values(opening, caller, kind, argument.value, workspace))
        except ReasoningBankError as error:
            raise as_protocol_error(error) from error

    _ = complete  # registered by its decorator


async def _values(opening: BankOpening, caller: Caller, kind: Kind, prefix: str, workspace: str) -> list[str]:
    if kind == "workspace" and caller.grant is not None:
        return [workspace] if workspace.startswith(prefix) else []
    return list(await (await opening.bank()).complete(kind, prefix, workspace))


def _completion(values: list[str]) -> Completion:
    return Completion(values=values[:MOST_VALUES], total=len(values), has_more=len(values) > MOST_VALUES)


def _kind(ref: PromptReference | ResourceTemplateReference, argument: str) -> Kind | None:
    if isinstance(ref, PromptReference):
        return _KINDS.get(argument)
    if argument != "id":
        return None
    if ref.uri.startswith("bank://memories/"):
        return "memory"
    return "trace" if ref.uri.startswith("bank://traces/") else None
