"""What is sent and what is understood, in each of the three formats."""

import json
from contextlib import aclosing
from typing import Any

import pytest

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.exchange import Message, ModelRequest, Provider, Reply, TokenUsage
from reasoning_bank.llm.pool import APIConnectionPool

from . import endpoint
from .conftest import BOUND_S, CLIENTS, KEY, REQUEST
from .endpoint import TEXT, Fault, ModelServer

SCHEMA: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


async def streamed(provider: Provider, request: ModelRequest = REQUEST) -> tuple[list[str], Reply]:
    async with aclosing(provider.stream(request, model="m", timeout_s=BOUND_S)) as stream:
        *pieces, reply = [piece async for piece in stream]
    assert isinstance(reply, Reply)
    return [piece for piece in pieces if isinstance(piece, str)], reply


async def test_whole_answer_is_a_reply_with_its_usage(provider: Provider) -> None:
    reply = await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert reply == Reply(TEXT, "m", TokenUsage(10, 20, 5), "stop", attempts=1)


async def test_streamed_answer_comes_in_pieces_and_then_as_a_whole(provider: Provider) -> None:
    pieces, reply = await streamed(provider)
    assert pieces == endpoint.pieces_of(TEXT)
    assert reply == Reply(TEXT, "m", TokenUsage(10, 20, 5), "stop", attempts=1)


@pytest.mark.parametrize("cut", [endpoint.byte_by_byte, endpoint.crlf, endpoint.carriage_returns])
async def test_stream_may_be_cut_anywhere_and_end_its_lines_in_any_way(
    provider: Provider, server: ModelServer, cut: Fault
) -> None:
    server.faults.append(cut)
    pieces, reply = await streamed(provider)
    assert ("".join(pieces), reply.text, reply.usage) == (TEXT, TEXT, TokenUsage(10, 20, 5))


async def test_server_that_does_not_name_its_model_is_taken_at_our_word(
    provider: Provider, server: ModelServer
) -> None:
    server.otherwise = endpoint.answer(model="")
    assert (await provider.complete(REQUEST, model="ours", timeout_s=BOUND_S)).model == "ours"
    async with aclosing(provider.stream(REQUEST, model="ours", timeout_s=BOUND_S)) as stream:
        *_, reply = [piece async for piece in stream]
    assert isinstance(reply, Reply)
    assert reply.model == "ours"


@pytest.mark.parametrize("finish", ["length", "refusal"])
async def test_cut_and_refused_answers_are_no_success(provider: Provider, server: ModelServer, finish: str) -> None:
    server.otherwise = endpoint.answer("I cannot", finish=finish)
    reply = await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert (reply.text, reply.finish) == ("I cannot", finish)
    assert (await streamed(provider))[1].finish == finish


async def test_connections_are_kept_after_answers_and_after_streams(
    provider: Provider, server: ModelServer, pool: APIConnectionPool
) -> None:
    for _ in range(3):
        await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
        await streamed(provider)
    assert server.connections == 1
    counted = pool.statistics()
    assert (counted.requests, counted.connections, counted.reused, counted.in_use) == (6, 1, 5, 0)


async def test_request_carries_the_key_the_limits_and_the_turns(
    provider: Provider, server: ModelServer, wire: str
) -> None:
    await provider.complete(REQUEST, model="some/model", timeout_s=BOUND_S)
    sent = server.requests[0]
    user = {"role": "user", "content": "What now?"}
    system = {"role": "system", "content": "Be short."}
    expected: dict[str, dict[str, Any]] = {
        "chat_completions": {"messages": [system, user], "max_tokens": 1024},
        "responses": {"input": [system, user], "max_output_tokens": 1024, "store": False},
        "anthropic": {"system": "Be short.", "messages": [user], "max_tokens": 1024},
    }
    assert sent.body == {"model": "some/model", "temperature": 0.0, **expected[wire]}
    assert sent.headers["x-api-key" if wire == "anthropic" else "authorization"].removeprefix("Bearer ") == KEY


async def test_schema_is_asked_for_in_the_words_of_the_format(
    provider: Provider, server: ModelServer, wire: str
) -> None:
    request = ModelRequest(messages=(Message("user", "?"),), schema=SCHEMA, schema_name="verdict", temperature=None)
    await provider.complete(request, model="m", timeout_s=BOUND_S)
    sent = server.requests[0].body
    named = {"name": "verdict", "strict": True, "schema": SCHEMA}
    expected: dict[str, dict[str, Any]] = {
        "chat_completions": {"response_format": {"type": "json_schema", "json_schema": named}},
        "responses": {"text": {"format": {"type": "json_schema", **named}}},
        "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    }
    assert sent.items() >= expected[wire].items()
    assert "temperature" not in sent


async def test_json_without_a_schema_is_asked_for_where_the_format_can(
    provider: Provider, server: ModelServer, wire: str
) -> None:
    await provider.complete(
        ModelRequest(messages=(Message("user", "?"),), json_object=True), model="m", timeout_s=BOUND_S
    )
    expected: dict[str, dict[str, Any]] = {
        "chat_completions": {"response_format": {"type": "json_object"}},
        "responses": {"text": {"format": {"type": "json_object"}}},
        "anthropic": {},
    }
    assert server.requests[0].body.items() >= expected[wire].items()


async def test_field_that_a_model_refuses_is_left_out_from_then_on(provider: Provider, server: ModelServer) -> None:
    server.faults.append(endpoint.status(400, said="Unsupported value: 'temperature' must be 1 with this model."))
    reply = await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert (reply.text, reply.attempts) == (TEXT, 2)
    await streamed(provider)
    assert ["temperature" in request.body for request in server.requests] == [True, False, False]
    await provider.complete(REQUEST, model="another", timeout_s=BOUND_S)
    assert "temperature" in server.requests[-1].body


async def test_newer_models_want_another_name_for_the_limit(chat: Provider, server: ModelServer) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.faults.append(endpoint.status(400, said=said))
    await streamed(chat)
    assert [request.body.get("max_completion_tokens") for request in server.requests] == [None, 1024]
    assert "max_tokens" not in server.requests[1].body


async def test_openrouter_is_told_to_heed_the_schema(pool: APIConnectionPool) -> None:
    client = CLIENTS["chat_completions"](pool, base_url="https://openrouter.ai/api/v1")
    body = client._body(ModelRequest(messages=(), schema=SCHEMA), "m")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
    assert body["provider"] == {"require_parameters": True}


async def test_half_a_character_does_not_stop_a_request(provider: Provider, server: ModelServer) -> None:
    await provider.complete(ModelRequest(messages=(Message("user", "cut \ud83d"),)), model="m", timeout_s=BOUND_S)
    assert "cut ?" in str(server.requests[0].body)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (endpoint.content(b"<html>hello</html>"), "not in its format"),
        (endpoint.content(b"{}"), "not in its format"),
        (endpoint.gzip_bomb(20), "more than 8 MB"),
    ],
)
async def test_answers_that_are_no_use_are_said_so(
    provider: Provider, server: ModelServer, fault: Fault, said: str
) -> None:
    server.otherwise = fault
    with pytest.raises(UpstreamError, match=said):
        await provider.complete(ModelRequest(messages=(Message("user", "?"),)), model="m", timeout_s=BOUND_S)


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        ("chat_completions", b'{"error": "model not loaded"}'),
        ("responses", b'{"status": "cancelled"}'),
    ],
)
async def test_answer_that_was_never_given_is_an_error(provider: Provider, server: ModelServer, body: bytes) -> None:
    server.otherwise = endpoint.content(body)
    with pytest.raises(UpstreamError, match=r"reports: (model not loaded|status cancelled)"):
        await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)


@pytest.mark.parametrize("wire", ["responses"])
async def test_end_of_a_stream_without_the_answer_is_no_end(provider: Provider, server: ModelServer) -> None:
    async def tell(exchange: endpoint.Exchange) -> None:
        await exchange.send_chunks([b'data: {"type": "response.completed"}\n\n'])

    server.otherwise = tell
    with pytest.raises(UpstreamError, match="not in its format"):
        await streamed(provider)


@pytest.mark.parametrize("wire", ["chat_completions", "responses"])
async def test_error_in_an_answer_that_began_as_success_is_an_error(provider: Provider, server: ModelServer) -> None:
    server.otherwise = endpoint.content(b'{"error": {"message": "no such thing"}, "status": "failed"}')
    with pytest.raises(UpstreamError, match=r"'m' at .* reports: no such thing"):
        await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert len(server.requests) == 1


async def test_error_within_a_success_is_short_and_holds_no_key(chat: Provider, server: ModelServer) -> None:
    said = f"{KEY} is wrong" + "!" * 1_000
    server.otherwise = endpoint.content(json.dumps({"error": said}).encode())
    with pytest.raises(UpstreamError, match=r"reports: \[key\] is wrong!+…$") as caught:
        await chat.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert len(str(caught.value)) < 500


async def test_answer_in_parts_is_put_together(chat: Provider, server: ModelServer) -> None:
    parts = b'[{"type": "text", "text": "one "}, {"type": "image"}, {"type": "text", "text": "two"}]'
    server.faults.append(endpoint.content(b'{"choices": [{"message": {"content": ' + parts + b"}}]}"))
    reply = await chat.complete(REQUEST, model="m", timeout_s=BOUND_S)
    assert (reply.text, reply.finish, reply.usage) == ("one two", "stop", TokenUsage())


async def test_what_a_server_leaves_out_is_not_missed(chat: Provider, server: ModelServer) -> None:
    nothing = b'{"model": null, "usage": {"prompt_tokens": null}, "choices": [{"message": {"content": null}}]}'
    server.faults.append(endpoint.content(nothing))
    assert (await chat.complete(REQUEST, model="m", timeout_s=BOUND_S)) == Reply("", "m", TokenUsage(), "stop", 1)

    async def tell(exchange: endpoint.Exchange) -> None:
        pieces = ['{"choices": null}', '{"choices": [{"delta": null}]}', '{"choices": [{"delta": {"content": "x"}}]}']
        await exchange.send_chunks([*(f"data:{piece}\n\n".encode() for piece in pieces), b"data: [DONE]\n\n"])

    server.otherwise = tell
    assert await streamed(chat) == (["x"], Reply("x", "m", TokenUsage(), "stop", 1))


async def test_error_of_the_server_behind_a_proxy_is_tried_again(chat: Provider, server: ModelServer) -> None:
    server.faults.append(endpoint.content(b'{"error": {"message": "provider overloaded", "code": 502}}'))
    assert (await chat.complete(REQUEST, model="m", timeout_s=BOUND_S)).attempts == 2
