"""The tools, one file each: what a model calls to remember before a task and to learn after it."""

from typing import Any

from reasoning_bank.mcp.tool import ToolSpec
from reasoning_bank.mcp.tools.capture_knowledge import CAPTURE_KNOWLEDGE
from reasoning_bank.mcp.tools.compress_prompt import COMPRESS_PROMPT
from reasoning_bank.mcp.tools.forget_memory import FORGET_MEMORY
from reasoning_bank.mcp.tools.get_memory import GET_MEMORY
from reasoning_bank.mcp.tools.rate_memory import RATE_MEMORY
from reasoning_bank.mcp.tools.retrieve_memory import RETRIEVE_MEMORY
from reasoning_bank.mcp.tools.store_trace import STORE_TRACE
from reasoning_bank.mcp.tools.update_memory import UPDATE_MEMORY

CORE: tuple[ToolSpec[Any, Any], ...] = (RETRIEVE_MEMORY, STORE_TRACE, RATE_MEMORY, GET_MEMORY, COMPRESS_PROMPT)
FULL: tuple[ToolSpec[Any, Any], ...] = (*CORE, UPDATE_MEMORY, FORGET_MEMORY, CAPTURE_KNOWLEDGE)
