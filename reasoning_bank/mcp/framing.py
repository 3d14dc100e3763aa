"""Lines on a pipe as JSON-RPC messages, and the answer to a line that is none.

The SDK is silent about lines it cannot read; a client then waits forever. Here every line that may be a request gets an
answer, with the request's id whenever it can be made out.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
)
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError
from pydantic_core import from_json

END_BYTES = 4_096
"""How much of both ends of an oversized line is kept: enough to hold the members around `params`."""

_SCALAR = rb'(?:-?\d{1,18}|"(?:[^"\\\x00-\x1f]|\\.){0,256}"|true|false|null)'
_MEMBER = rb'\s*"(?:jsonrpc|method|id)"\s*:\s*' + _SCALAR + rb"\s*"
_ID = rb'\s*"id"\s*:\s*(?P<id>-?\d{1,18}|"(?:[^"\\\x00-\x1f]|\\.){0,256}")\s*'
_LEADING_ID = re.compile(rb"\s*\{(?:" + _MEMBER + rb",)*" + _ID + rb"[,}]")
_TRAILING_ID = re.compile(rb"," + _ID + rb"(?:," + _MEMBER + rb")*\}\s*$")
"""Members before or after `params` are scalars, so an `id` among them is the request's own and not one inside it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What to answer to a line that could not be read."""

    answer: JSONRPCError


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line over the limit, of which only the ends were kept."""

    size: int
    head: bytes
    tail: bytes


def read_lines(read: Callable[[], bytes], limit: int) -> Iterator[bytes | Oversized]:
    """Yields the lines of a byte stream; of a longer one than `limit` bytes only its ends are ever held.

    Args:
        read: returns the next bytes, or none at the end.
        limit: longest line in bytes; more than `END_BYTES`.
    """
    line = _Line(limit)
    while chunk := read():
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            line.add(part)
            yield line.whole()
            line = _Line(limit)
        line.add(rest)
    if line.size:
        yield line.whole()


class _Line:
    """A line as it arrives."""

    __slots__ = ("_kept", "_limit", "_tail", "size")

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._kept = bytearray()
        self._tail = b""

    def add(self, part: bytes) -> None:
        fitted = self.size <= self._limit
        self.size += len(part)
        if self.size <= self._limit:
            self._kept += part
        elif fitted:
            self._tail = (self._kept[-END_BYTES:] + part)[-END_BYTES:]
            self._kept = (self._kept + part[:END_BYTES])[:END_BYTES]
        else:
            self._tail = (self._tail + part)[-END_BYTES:]

    def whole(self) -> bytes | Oversized:
        if self.size <= self._limit:
            return bytes(self._kept)
        return Oversized(self.size, bytes(self._kept), bytes(self._tail))


def parse(line: bytes | Oversized, limit: int) -> JSONRPCMessage | Refusal | None:
    """Returns the message on a line; what to answer when it cannot be read; None when silence is right.

    Args:
        line: from `read_lines`.
        limit: longest line in bytes, for the message.
    """
    if isinstance(line, Oversized):
        return _refusal(
            _id_at_the_ends(line.head, line.tail),
            INVALID_REQUEST,
            f"the message has {line.size:,} bytes, the limit is {limit:,}: send less at once",
        )
    if not line.strip():
        return None
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        return _explain(line)
    if isinstance(message, JSONRPCNotification) and b'"id"' in line and "id" in json.loads(line):
        # The SDK takes a request whose id is no id for a notification, and would never answer it.
        return _refusal(None, INVALID_REQUEST, "the id of a request must be text or an integer")
    return message


def _explain(line: bytes) -> Refusal | None:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return _refusal(_id_in(line), PARSE_ERROR, "the line is not UTF-8")
    except RecursionError:
        return _refusal(_id_in(line), PARSE_ERROR, "the message is nested too deep")
    except ValueError:
        return _refusal(_id_in(line), PARSE_ERROR, "the line is not JSON")
    if isinstance(value, list):
        return _refusal(None, PARSE_ERROR, "JSON-RPC batches are not supported: send one message per line")
    if not isinstance(value, dict):
        return _refusal(None, INVALID_REQUEST, "the line is not a JSON-RPC message")
    return _explain_object(cast("dict[str, Any]", value), line)


def _explain_object(value: dict[str, Any], line: bytes) -> Refusal | None:
    if "method" not in value and ("result" in value or "error" in value):
        return None  # a response we never asked for
    if isinstance(value.get("method"), str) and "id" not in value:
        return None  # a notification is never answered
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int) or not _carriable(request_id):
        request_id = None
    try:
        from_json(line)
    except ValueError:
        # Python's parser takes what the SDK's refuses: half of a UTF-16 pair, deep nesting, huge numbers.
        told = "the message holds half of a UTF-16 pair (such as \\ud800), or is nested too deep"
        return _refusal(request_id, PARSE_ERROR, told)
    return _refusal(request_id, INVALID_REQUEST, "the line is not a JSON-RPC 2.0 request")


def _carriable(request_id: str | int) -> bool:
    if isinstance(request_id, int):
        return abs(request_id) < 2**63
    return request_id.isprintable() and len(request_id) <= 256


def _id_in(line: bytes) -> RequestId | None:
    return _id_at_the_ends(line[:END_BYTES], line[-END_BYTES:])


def _id_at_the_ends(head: bytes, tail: bytes) -> RequestId | None:
    match = _LEADING_ID.match(head) or _TRAILING_ID.search(tail)
    if match is None:
        return None
    try:
        return cast("RequestId", from_json(match["id"]))
    except ValueError:
        return None


def _refusal(request_id: RequestId | None, code: int, message: str) -> Refusal:
    error = ErrorData(code=code, message=message[:1].upper() + message[1:])
    return Refusal(JSONRPCError(jsonrpc="2.0", id=request_id, error=error))
