"""Resources: what the bank knows of itself, and single memories and traces by address."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer

from reasoning_bank.errors import ReasoningBankError
from reasoning_bank.mcp.answers import compact_json, full_memory, genealogy, short_trace, whole_trace
from reasoning_bank.mcp.auth import Access, current_caller
from reasoning_bank.mcp.errors import as_resource_error, explain
from reasoning_bank.mcp.opening import BankOpening

if TYPE_CHECKING:
    from reasoning_bank.bank import ReasoningBank

JSON = "application/json"
_OF_ONE_WORKSPACE = frozenset(
    (
        *("workspace", "traces", "memories", "superseded", "deleted", "embedded", "tags", "refused"),
        *("model", "index", "language"),  # whether these work, which its searches depend on
    )
)
"""What of `stats` the holder of a token for one workspace is told: how busy others are is not for them."""
Read = Callable[["ReasoningBank", str], Awaitable[Mapping[str, Any]]]
"""Reads something for one workspace."""


def add_resources(server: MCPServer[Any], opening: BankOpening) -> None:
    """Registers every resource and resource template of the bank."""
    _add_reports(server, opening)
    _add_items(server, opening)


def _add_reports(server: MCPServer[Any], opening: BankOpening) -> None:
    @server.resource(
        "bank://stats", mime_type=JSON, description="Counts of your workspace, model, index; caches and latencies"
    )
    async def stats() -> str:
        return await _read(opening, _stats)

    @server.resource("bank://performance", mime_type=JSON, description="Every figure of this process in every window")
    async def performance() -> str:
        return await _read(opening, lambda bank, _workspace: bank.performance(), access="metrics")

    @server.resource(
        "bank://performance/{name}",
        mime_type=JSON,
        description="Figures of one operation, counter or gauge, or of a group of them: retrieve_memory, tool, sql",
    )
    async def performance_of(name: str) -> str:
        return await _read(opening, lambda bank, _workspace: bank.performance(name), access="metrics")

    @server.resource("bank://health", mime_type=JSON, description="Whether storage, index and model work")
    async def health() -> str:
        try:
            await opening.bank()
        except ReasoningBankError as error:  # a bank that cannot be opened is what this resource is asked about
            return compact_json({"status": "unavailable", "reason": explain(error)})
        return await _read(opening, lambda bank, _workspace: bank.health())

    @server.resource("bank://workspaces", mime_type=JSON, description="The workspaces you may use")
    async def workspaces() -> str:
        return await _read(opening, _workspaces)

    _ = (stats, performance, performance_of, health, workspaces)  # registered by their decorators


def _add_items(server: MCPServer[Any], opening: BankOpening) -> None:
    @server.resource("bank://memories/{id}", mime_type=JSON, description="One memory in full, with its trace")
    async def memory(id: str) -> str:
        return await _read(opening, lambda bank, workspace: _memory(bank, workspace, id))

    @server.resource("bank://memories/{id}/genealogy", mime_type=JSON, description="What a memory came from and became")
    async def memory_genealogy(id: str) -> str:
        return await _read(opening, lambda bank, workspace: _genealogy(bank, workspace, id))

    @server.resource("bank://traces/{id}", mime_type=JSON, description="One trace with its complete trajectory")
    async def trace(id: str) -> str:
        return await _read(opening, lambda bank, workspace: _trace(bank, workspace, id))

    _ = (memory, memory_genealogy, trace)  # registered by their decorators


async def _read(opening: BankOpening, read: Read, *, access: Access = "read") -> str:
    """Returns what `read` finds in the caller's workspace as compact JSON (the SDK would indent it)."""
    try:
        caller = current_caller()
        caller.require(access)
        return compact_json(await read(await opening.bank(), caller.workspace(None)))
    except ReasoningBankError as error:
        raise as_resource_error(error) from error


async def _stats(bank: "ReasoningBank", workspace: str) -> Mapping[str, Any]:
    stats = await bank.stats(workspace)
    if current_caller().may("metrics"):
        return stats
    return {name: figures for name, figures in stats.items() if name in _OF_ONE_WORKSPACE}


async def _workspaces(bank: "ReasoningBank", own: str) -> Mapping[str, Any]:
    grant = current_caller().grant
    known = await bank.workspaces()
    visible = [found for found in known if grant is None or found.get("name") == grant.workspace]
    return {"own": own, "workspaces": visible}


async def _memory(bank: "ReasoningBank", workspace: str, memory_id: str) -> Mapping[str, Any]:
    (detail,) = await bank.get_memories(workspace, [memory_id])
    family = genealogy(detail.genealogy)
    return {**full_memory(detail.memory), "trace": short_trace(detail.trace), "genealogy": family}


async def _genealogy(bank: "ReasoningBank", workspace: str, memory_id: str) -> Mapping[str, Any]:
    return genealogy(await bank.genealogy(workspace, memory_id))


async def _trace(bank: "ReasoningBank", workspace: str, trace_id: str) -> Mapping[str, Any]:
    return whole_trace(await bank.get_trace(workspace, trace_id))
