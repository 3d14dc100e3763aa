"""Lines on the pipe: every line that may be a request is answered, with its id where it can be made out."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest

from reasoning_bank.mcp.framing import END_BYTES, Oversized, Refusal, parse, read_lines

LIMIT = 65_536


def lines(chunks: Iterable[bytes], limit: int = LIMIT) -> list[bytes | Oversized]:
    source = iter([*chunks, b""])
    return list(read_lines(lambda: next(source), limit))


def refusal(line: bytes | Oversized) -> tuple[object, int, str]:
    refused = parse(line, LIMIT)
    assert isinstance(refused, Refusal)
    return refused.answer.id, refused.answer.error.code, refused.answer.error.message


@given(st.lists(st.binary(max_size=50).map(lambda part: part.replace(b"\n", b""))), st.integers(1, 7))
def test_lines_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], size: int) -> None:
    stream = b"".join(part + b"\n" for part in parts)
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert lines(chunks) == parts


def test_a_last_line_without_its_end_is_a_line() -> None:
    assert lines([b"a\nb"]) == [b"a", b"b"]


def test_a_line_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    exact, more = lines([b"x" * LIMIT + b"\n" + b"y" * (LIMIT + 1) + b"\nnext\n"])[:2]
    assert exact == b"x" * LIMIT
    assert more == Oversized(LIMIT + 1, b"y" * END_BYTES, b"y" * END_BYTES)


def test_of_an_oversized_line_only_the_ends_are_kept_and_the_next_line_is_whole() -> None:
    chunks = [b'{"id":7,', *[b"x" * 60_000] * 50, b'"tail"}\n{"next":1}\n']
    big, following = lines(chunks)
    assert isinstance(big, Oversized)
    assert big.size == sum(map(len, chunks)) - len(b'\n{"next":1}\n')
    assert big.head.startswith(b'{"id":7,')
    assert len(big.head) == len(big.tail) == END_BYTES
    assert big.tail.endswith(b'"tail"}')
    assert following == b'{"next":1}'


@pytest.mark.parametrize("sizes", [[100], [LIMIT, 5], [LIMIT + 5], [3, LIMIT, LIMIT, 3]])
def test_the_ends_of_an_oversized_line_are_right_however_it_arrives(sizes: list[int]) -> None:
    text = bytes(range(32, 127)) * 3_000
    chunks: list[bytes] = []
    rest = text + b"\n"
    while rest:
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(rest[:size])
        rest = rest[size:]
    assert lines(chunks) == [Oversized(len(text), text[:END_BYTES], text[-END_BYTES:])]


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"x":"' + b"y" * 70_000 + b'"}}', 5),
        (b'{"method":"tools/call","params":{"x":"' + b"y" * 70_000 + b'"},"jsonrpc":"2.0","id":"a-1"}', "a-1"),
        (b'{"params":{"id":9,"x":"' + b"y" * 70_000 + b'"},"method":"m"}', None),
        (b'{"params":{"x":"' + b"y" * 70_000 + b'","id":9}}', None),
        (b"y" * 70_000, None),
    ],
)
def test_an_oversized_request_is_refused_under_its_own_id(line: bytes, request_id: object) -> None:
    (big,) = lines([line + b"\n"])
    told = f"The message has {len(line):,} bytes, the limit is 65,536: send less at once"
    assert refusal(big) == (request_id, -32600, told)


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        (b"garbage", None, -32700),
        (b"{", None, -32700),
        (b'{"jsonrpc":"2.0","id":3,"method":"ping"', 3, -32700),
        (b'{"jsonrpc":"2.0","id":3,"method":"ping",}', 3, -32700),
        (b"\xff\xfe", None, -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, -32700),
        (b"[]", None, -32700),
        (b'{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"a":"\\ud800"}}', 8, -32700),
        (b'{"jsonrpc":"2.0","id":"s","method":"tools/call","params":{"\\udfff":1}}', "s", -32700),
        (b'{"jsonrpc":"2.0","id":4,"method":"m","params":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 4, -32700),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"1.0","id":2,"method":"ping"}', 2, -32600),
        (b'{"id":2,"method":5}', 2, -32600),
        (b'{"jsonrpc":"2.0","id":2,"method":"ping","params":[1]}', 2, -32600),
        (b"{}", None, -32600),
        (b'"text"', None, -32600),
        (b"12", None, -32600),
        (b"null", None, -32600),
    ],
)
def test_a_line_that_is_no_request_is_answered(line: bytes, request_id: object, code: int) -> None:
    assert refusal(line)[:2] == (request_id, code)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b"\r",
        b'{"jsonrpc":"2.0","method":"notifications/x","params":{"a":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":1,"result":7}',
    ],
)
def test_what_must_not_be_answered_is_not(line: bytes) -> None:
    assert parse(line, LIMIT) is None


def test_messages_pass_as_they_are() -> None:
    request = parse(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r', LIMIT)
    notification = parse('{"jsonrpc":"2.0","method":"n","params":{"a":"é\\ud83d\\ude00"}}'.encode(), LIMIT)
    assert isinstance(request, JSONRPCRequest)
    assert isinstance(notification, JSONRPCNotification)
    assert notification.params == {"a": "é😀"}


def test_an_error_that_a_client_sends_is_not_taken_for_our_refusal() -> None:
    sent = b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"refused":"message"}}}'
    assert isinstance(parse(sent, LIMIT), JSONRPCError)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_answered_or_passed_never_an_exception(value: object) -> None:
    parse(json.dumps({"jsonrpc": "2.0", "id": value, "method": value, "params": value}).encode(), LIMIT)
    parse(json.dumps(value).encode(), LIMIT)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_passed_never_an_exception(line: bytes) -> None:
    parse(line, LIMIT)
