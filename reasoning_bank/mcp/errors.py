"""The one place where our errors become what an MCP client reads.

The texts are written for the model: what was wrong and what to send instead; never a path, SQL or a key. Anything that
is not a `ReasoningBankError` is a bug: it passes through, the SDK hides its text from the client and logs it.
"""

from typing import assert_never

from mcp import MCPError
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from reasoning_bank.errors import (
    AssetError,
    BudgetSpentError,
    BusyError,
    ConfigError,
    InputError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    ReasoningBankError,
    StorageCode,
    StorageError,
    UpstreamError,
)

LONGEST_TEXT = 3_000
"""A hundred ids that are not found fit; an id of a megabyte is not sent back."""


def explain(error: ReasoningBankError) -> str:
    """Returns the text about `error` that a client may read."""
    text = _explain(error)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… [cut]"


def _explain(error: ReasoningBankError) -> str:
    match error:
        case InputError() | PermissionDeniedError() | BudgetSpentError():
            return str(error)
        case BusyError():
            return f"Busy: {error}. Try again in {error.retry_after_s:g} s."
        case UpstreamError():
            later = f" Try again in {error.retry_after_s:g} s." if error.retry_after_s is not None else ""
            return f"A remote model failed: {error}.{later}"
        case StorageError():
            return storage_advice(error.code)
        case ModelUnavailableError():
            return (
                "A model that this call needs is not available: the embedding model (`reasoning-bank doctor` says what"
                " to do), or the one that `compression.llmlingua_model` names."
            )
        case AssetError():
            return "A model file is missing or damaged; `reasoning-bank assets install` fetches it again."
        case ConfigError():
            return "The server is configured wrongly; `reasoning-bank doctor` says what to change."
        case _:
            return "The bank could not do this; `reasoning-bank doctor` says what to do."


def storage_advice(code: StorageCode) -> str:
    """Returns the one sentence for a kind of storage failure: what happened and what the user must do."""
    match code:
        case "full":
            return "The disk is full: nothing was stored. Free some space, then send the same call again."
        case "read_only":
            return "The bank cannot be written: its data directory is read-only. Make it writable, then try again."
        case "damaged":
            return (
                "The bank's database file is damaged and was left untouched. Run `reasoning-bank doctor`; it names the "
                "backups to restore from."
            )
        case "locked":
            return "Another process holds the bank too long: nothing was stored. Send the same call again."
        case "foreign":
            return (
                "The bank's data directory belongs to someone else or is open to everyone, so it is not used. "
                "Run `reasoning-bank doctor`."
            )
        case "io":
            return "The disk reported an error: nothing was stored. Run `reasoning-bank doctor`, then try again."
        case _:
            assert_never(code)


def as_tool_error(error: ReasoningBankError) -> ToolError:
    """Returns the error result of a tool call."""
    return ToolError(explain(error))


def as_resource_error(error: ReasoningBankError) -> ResourceError:
    """Returns the error of a resource read: -32602 when there is no such item, else -32603."""
    return ResourceNotFoundError(explain(error)) if isinstance(error, NotFoundError) else ResourceError(explain(error))


def as_protocol_error(error: ReasoningBankError) -> MCPError:
    """Returns the JSON-RPC error of a prompt or completion."""
    code = INVALID_PARAMS if isinstance(error, InputError) else INTERNAL_ERROR
    return MCPError(code=code, message=explain(error))
