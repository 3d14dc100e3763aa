"""Short forms for what nearly every test of the surface does."""

import json
from typing import Any

from mcp import Client

LESSON: dict[str, Any] = {
    "title": "Parse dates strictly",
    "description": "When a csv import holds dates in several formats",
    "content": "Try datetime.fromisoformat first, then an explicit list of formats; never guess the order.",
}
TASK = "Fix the csv import that mixes up dates in several formats"


def text_of(result: Any) -> str:
    """The text copy of a tool's result."""
    (block,) = result.content
    return block.text


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a call that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that must be refused."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return text_of(result)


async def stored(client: Client, *, task: str = TASK, **arguments: Any) -> str:
    """The id of a lesson stored for it."""
    told = await answer(
        client, "store_trace", **{"task": task, "outcome": "success", "memories": [LESSON], **arguments}
    )
    (memory,) = told["memories"]
    assert memory["action"] == "created", memory
    return memory["id"]


async def read(client: Client, uri: str) -> dict[str, Any]:
    """A JSON resource."""
    (content,) = (await client.read_resource(uri)).contents
    assert content.mime_type == "application/json"
    text = getattr(content, "text", "")
    assert "\n" not in text  # compact: indentation would cost the reader tokens
    return json.loads(text)
