"""Connections: kept, limited, given back whatever happens; certificates, proxies, keys."""

import asyncio
import json
import logging
import ssl
from contextlib import aclosing
from pathlib import Path

import pytest
import trustme

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.call import Call
from reasoning_bank.llm.exchange import Provider, Reply
from reasoning_bank.llm.pool import APIConnectionPool

from . import endpoint, wires
from .conftest import BOUND_S, CLIENTS, KEY, REQUEST
from .endpoint import TEXT, Exchange, ModelServer, serving


async def test_no_more_requests_at_once_than_connections(server: ModelServer, pool: APIConnectionPool) -> None:
    at_once: list[int] = []
    gate = asyncio.Event()

    async def together(exchange: Exchange) -> None:
        at_once.append(pool.statistics().in_use)
        if len(at_once) == 4:
            gate.set()
        await gate.wait()
        await endpoint.answer()(exchange)

    server.otherwise = together
    client = CLIENTS["chat_completions"](pool, base_url=server.url)
    await asyncio.gather(*(client.complete(REQUEST, model="m", timeout_s=BOUND_S) for _ in range(12)))
    counted = pool.statistics()
    assert max(at_once) == 4
    assert server.connections == counted.connections == 4
    assert (counted.requests, counted.waits, counted.in_use) == (12, 8, 0)


async def test_call_that_gets_no_connection_in_time_says_so_and_blames_nobody(server: ModelServer) -> None:
    arrived = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        arrived.set()
        await endpoint.hang(exchange)

    server.otherwise = hang
    async with APIConnectionPool(pool_size=1) as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url)
        holder = asyncio.create_task(client.complete(REQUEST, model="held", timeout_s=BOUND_S))
        await arrived.wait()
        with pytest.raises(UpstreamError, match="all 1 connections were in use") as caught:
            await client.complete(REQUEST, model="m", timeout_s=0.05)
        assert caught.value.attempts == 0
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        server.otherwise = endpoint.answer()
        assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).text == TEXT


async def test_silent_server_is_asked_again_while_there_is_time(server: ModelServer) -> None:
    server.faults.append(endpoint.hang)
    async with APIConnectionPool(read_timeout=0.2) as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url)
        assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).attempts == 2
    server.otherwise = endpoint.hang
    async with APIConnectionPool(max_retries=0, read_timeout=0.2) as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url)
        with pytest.raises(UpstreamError, match="was silent for too long"):
            await client.complete(REQUEST, model="m", timeout_s=BOUND_S)


async def test_endless_reason_of_an_error_is_not_read(chat: Provider, server: ModelServer) -> None:
    server.otherwise = endpoint.status(400, said="x" * 100_000)
    with pytest.raises(UpstreamError, match=r"^'m' at 127.0.0.1:\d+ answered HTTP 400$"):
        await chat.complete(REQUEST, model="m", timeout_s=BOUND_S)


async def test_stream_that_has_ended_is_not_waited_for(chat: Provider, server: ModelServer) -> None:
    """The mark of the end came, but the server keeps the answer open."""

    async def tell(exchange: Exchange) -> None:
        await exchange.send_chunks(wires.streamed(exchange.wire, [TEXT]), end="never")
        await endpoint.hang(exchange)

    server.otherwise = tell
    async with aclosing(chat.stream(REQUEST, model="m", timeout_s=BOUND_S)) as stream:
        *_, reply = [piece async for piece in stream]
    assert isinstance(reply, Reply)
    assert reply.text == TEXT


async def test_cancelled_calls_give_their_connections_back(server: ModelServer) -> None:
    """The long version, 5,000 cancels, is `python -m tests.benchmarks llm-faults`."""
    async with APIConnectionPool(pool_size=4) as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url)

        async def call(number: int) -> None:
            if number % 2:
                await client.complete(REQUEST, model="m", timeout_s=BOUND_S)
                return
            async with aclosing(client.stream(REQUEST, model="m", timeout_s=BOUND_S)) as stream:
                async for _ in stream:
                    await asyncio.sleep(0)

        await call(1)
        for number in range(50):
            tasks = [asyncio.create_task(call(place)) for place in range(6)]
            for _ in range(number):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.statistics().in_use == 0
        replies = await asyncio.gather(*(client.complete(REQUEST, model="m", timeout_s=BOUND_S) for _ in range(8)))
        assert {reply.text for reply in replies} == {TEXT}
        assert pool.statistics().connections > 12, "calls were cancelled on their way"


async def test_stream_that_is_left_early_gives_its_connection_back(provider: Provider, pool: APIConnectionPool) -> None:
    async with aclosing(provider.stream(REQUEST, model="m", timeout_s=BOUND_S)) as stream:
        assert await anext(stream) == TEXT[:3]
        assert pool.statistics().in_use == 1
    assert pool.statistics().in_use == 0


async def test_servers_that_close_idle_connections_are_not_noticed(server: ModelServer) -> None:
    """The client sends when the server hangs up: nearly half of such calls failed without the free retry."""
    server.idle_s = 0.02
    async with APIConnectionPool() as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url)
        for number in range(20):
            assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).text == TEXT
            await asyncio.sleep(0.018 + number % 5 * 0.001)


async def test_pool_posts_json_to_anything(server: ModelServer, pool: APIConnectionPool) -> None:
    call = Call(f"{server.url}/messages", b"{}", {"x-api-key": KEY}, "m")
    assert KEY not in repr(call)
    body, attempts = await pool.post(call, json.loads)
    assert (body["content"][0]["text"], attempts) == (TEXT, 1)


async def test_pool_can_be_used_again_after_it_was_closed(server: ModelServer) -> None:
    pool = APIConnectionPool()
    client = CLIENTS["chat_completions"](pool, base_url=server.url)
    for _ in range(2):
        async with pool:
            assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).text == TEXT
    assert server.connections == 2


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def test_https_is_spoken_where_the_certificate_is_trusted(
    authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    async with serving(tls) as server, APIConnectionPool(ca_file=file) as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url, api_key=KEY)
        for _ in range(2):
            assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).text == TEXT
        assert server.connections == 1


async def test_certificate_nobody_vouches_for_is_refused_once(tls: ssl.SSLContext) -> None:
    async with serving(tls) as server, APIConnectionPool() as pool:
        client = CLIENTS["chat_completions"](pool, base_url=server.url, api_key=KEY)
        with pytest.raises(UpstreamError, match=r"cannot be reached: .*CERTIFICATE_VERIFY_FAILED") as caught:
            await client.complete(REQUEST, model="m", timeout_s=BOUND_S)
        assert caught.value.attempts == 1
        assert server.requests == []


async def test_proxies_of_the_environment_are_used_only_when_asked(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{endpoint.closed_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{endpoint.closed_port()}")
    async with APIConnectionPool(max_retries=0) as direct, APIConnectionPool(max_retries=0, trust_env=True) as proxied:
        client = CLIENTS["chat_completions"](direct, base_url=server.url)
        assert (await client.complete(REQUEST, model="m", timeout_s=BOUND_S)).text == TEXT
        client = CLIENTS["chat_completions"](proxied, base_url=server.url)
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await client.complete(REQUEST, model="m", timeout_s=BOUND_S)


async def test_key_is_never_shown(
    provider: Provider, server: ModelServer, pool: APIConnectionPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the server repeats it, or a masked form of it."""
    caplog.set_level(logging.DEBUG, "reasoning_bank")
    said = f"Incorrect API key provided: {KEY}. Bearer {KEY} or sk-proj-abc***wxyz are not known."
    server.otherwise = endpoint.status(401, said=said)
    with pytest.raises(UpstreamError, match="Incorrect API key provided") as caught:
        await provider.complete(REQUEST, model="m", timeout_s=BOUND_S)
    shown = "".join([str(caught.value), repr(caught.value), repr(provider), repr(pool), caplog.text])
    assert KEY not in shown
    assert "wxyz" not in shown
