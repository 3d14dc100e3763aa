"""What a call may name and ask for, checked before any room sees it."""

from typing import Final

from reasoning_bank.errors import InputError
from reasoning_bank.records import Query
from reasoning_bank.settings import LimitSettings
from reasoning_bank.text.sanity import required_text

WORKSPACE_CHARACTERS: Final = 200


def named_workspace(workspace: str) -> str:
    """The name of a workspace that may be made; raises InputError."""
    required_text(workspace, "workspace")
    if len(workspace) > WORKSPACE_CHARACTERS:
        raise InputError(f"workspace has {len(workspace)} characters, the limit is {WORKSPACE_CHARACTERS}")
    return workspace


def check_query(query: Query, limits: LimitSettings) -> None:
    """Raise InputError where a query has no task, or asks for more than the limits allow."""
    required_text(query.task, "task")
    if query.k > limits.k:
        raise InputError(f"k is {query.k}, the limit is {limits.k}: ask for fewer memories")
    if (size := len(query.task.encode())) > limits.task_bytes:
        raise InputError(f"task is {size} bytes, the limit is {limits.task_bytes}: send the part that says what to do")
