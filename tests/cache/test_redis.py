"""A Redis that is killed, frozen, emptied, full or locked: a miss for whoever asks, and never what was taken back."""

import asyncio
import logging
import re
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import trustme

from reasoning_bank.cache.hybrid import HybridStore
from reasoning_bank.cache.memory import MemoryCache
from reasoning_bank.cache.redis import RedisStore
from reasoning_bank.cache.redis_server import RedisServer
from reasoning_bank.errors import ConfigError
from tests.cache.own_redis import OwnRedis, own_redis

Open = Callable[[str], Awaitable[RedisStore]]
PATIENCE_S = 60


@pytest.fixture
async def reach() -> AsyncIterator[Open]:
    """Makes a store with a connection of its own."""
    async with AsyncExitStack() as stack:

        async def one(url: str) -> RedisStore:
            server = await stack.enter_async_context(RedisServer(url))
            assert await server.ready(PATIENCE_S)
            return RedisStore(server, "x", max_entries=100, max_bytes=1_000_000)

        yield one


async def put(store: RedisStore | HybridStore, key: str, value: bytes = b"v") -> None:
    """Put it so that it is there, however busy this machine is."""
    with anyio.fail_after(PATIENCE_S):
        while await store.get("w", key) != value:
            await store.put("w", key, value, ttl_s=1_000)
            await anyio.sleep(0.001)  # a server that is away answers at once: who probes it is to have its turn


async def back(store: RedisStore) -> None:
    assert await store._server.ready(PATIENCE_S)


async def test_a_killed_server_is_a_miss_and_is_used_again_once_it_is_back(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    await put(store, "k")
    redis.kill()
    assert [await store.get("w", "k") for _ in range(50)] == [None] * 50
    await store.put("w", "k", b"v", ttl_s=10)
    held = await store.statistics()
    assert (held["entries"], held["failures"]) == (0, 52)
    redis.start()
    await back(store)
    assert await store.get("w", "k") is None
    await put(store, "k")


async def test_only_the_calls_that_are_waiting_then_pay_for_a_frozen_server(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    await put(store, "k")
    redis.freeze()
    with anyio.fail_after(PATIENCE_S):
        # Each at 0.2 s they would take far longer.
        assert [await store.get("w", "k") for _ in range(2_000)] == [None] * 2_000
    redis.thaw()
    await back(store)
    await put(store, "k")


async def test_what_was_deleted_while_the_server_was_away_does_not_come_back_with_it(
    redis: OwnRedis, reach: Open
) -> None:
    store = await reach(redis.url)
    for key in ("deleted", "overwritten", "kept"):
        await put(store, key)
    redis.freeze()
    assert await store.get("w", "kept") is None
    await store.delete("w", "deleted")
    await store.put("w", "overwritten", b"new", ttl_s=10)
    redis.thaw()
    await back(store)
    assert await store.get("w", "deleted") is None
    assert await store.get("w", "overwritten") is None
    assert await store.get("w", "kept") == b"v"
    redis.freeze()
    assert await store.get("w", "kept") is None
    for number in range(2_000):
        await store.delete("w", str(number))
    redis.thaw()
    await back(store)
    assert await store.get("w", "kept") is None, "more than can be remembered: then nothing is left"


async def test_an_emptied_server_is_a_miss_and_goes_on(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("DEL", "{rb:x}"), ("DEL", "{rb:x}:uses")):
        await put(store, "k")
        redis.ask(*words)
        assert await store.get("w", "k") == (b"v" if words[0] == "SCRIPT" else None)
        await put(store, "k")
        assert (await store.statistics())["entries"] == 1
        await store.clear()


async def test_a_full_server_keeps_nothing_new_and_still_serves_what_it_has(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    await put(store, "k")
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    await store.put("w", "new", b"v", ttl_s=10)
    assert (await store.get("w", "k"), await store.get("w", "new")) == (b"v", None)
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    await put(store, "new")


async def test_nothing_is_left_in_the_server_when_its_time_is_over(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    await store.put("a private space", "a private key", b"v", ttl_s=0.05)
    assert b"private" not in redis.ask("KEYS", "*")
    with anyio.fail_after(PATIENCE_S):
        while redis.ask("DBSIZE") != b":0":  # noqa: ASYNC110 -- time is over without an event
            await anyio.sleep(0.01)


async def test_a_password_is_used_and_never_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, reach: Open) -> None:
    with caplog.at_level(logging.DEBUG), own_redis(tmp_path, "--requirepass", "hunter2") as server:
        store = await reach(server.url.replace("//", "//:hunter2@"))
        await put(store, "k")
        async with RedisServer(server.url.replace("//", "//somebody:hunter3@")) as refused:
            other = RedisStore(refused, "x", max_entries=1, max_bytes=100)
            assert await other.get("w", "k") is None
        server.kill()
        assert await store.get("w", "k") is None
    assert f"127.0.0.1:{server.port} does not answer" in caplog.text
    assert "hunter" not in caplog.text


async def test_tls_with_a_certificate_nobody_vouches_for_is_a_miss_and_with_its_authority_it_serves(
    tmp_path: Path, reach: Open
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    with own_redis(tmp_path) as server:
        for name, value in (("cert-file", "cert.pem"), ("key-file", "key.pem"), ("ca-cert-file", "ca.pem")):
            if server.ask("CONFIG", "SET", f"tls-{name}", str(tmp_path / value)) != b"+OK":
                pytest.skip("this Redis was built without TLS")
        server.ask("CONFIG", "SET", "tls-auth-clients", "no")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        assert server.ask("CONFIG", "SET", "tls-port", str(port)) == b"+OK"
        async with RedisServer(f"rediss://127.0.0.1:{port}/0") as stranger:
            assert await RedisStore(stranger, "x", max_entries=1, max_bytes=100).get("w", "k") is None
        await put(await reach(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}"), "k")


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@host",
        "redis://:hun/ter2@host/0",
        "redis://:hunter2@host:port/0",
        "redis://:11/hunter2@host",
        "redis://:hunter2@host/first",
        "redis://:hun#ter2@host/0",
        "redis://:hunter2@host/0?decode_responses=true",
        "rediss://:hunter2@host/0?socket_timeout=abc",
        "redis://:hunter2@[host/0",
        "redis://:hunter2@:6379/0",
        "unix://:hun/ter2@/run/redis.sock",
        "unix://:hunter2@",
    ],
)
def test_what_is_no_address_of_a_redis_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="write redis://") as refused:
        RedisServer(url)
    shown = "".join(traceback.format_exception(refused.value)).replace(url, "")
    assert not re.search("hun|ter2", shown)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://host", "host:6379"),
        ("rediss://user:a%2Fb@host:1/2?ssl_cert_reqs=none", "host:1"),
        ("redis://[::1]:7/", "::1:7"),
        ("unix://user:secret@/run/redis.sock?db=3", "/run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, place: str) -> None:
    assert RedisServer(url).place == place


async def test_an_error_that_nobody_expected_is_a_miss_and_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TypeError("unexpected 'hunter2'")

    monkeypatch.setattr("redis.asyncio.BlockingConnectionPool.from_url", refuse)
    async with RedisServer("redis://127.0.0.1:1/0") as server:
        store = RedisStore(server, "x", max_entries=1, max_bytes=100)
        assert not await server.ready(PATIENCE_S)
        assert [await store.get("w", "k") for _ in range(3)] == [None] * 3
        await store.delete("w", "k")
        assert (await store.statistics())["failures"] == 5
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "redis at 127.0.0.1:1 cannot be used, its caches are left out: TypeError"
    ]


async def test_what_a_stranger_writes_into_the_channel_is_ignored(redis: OwnRedis, reach: Open) -> None:
    store = await reach(redis.url)
    memory = HybridStore(MemoryCache(), store)
    await remembered(memory, store)
    listening = store._server._listening
    for said in ("x", "x 4096", "x -1", f"x {'9' * 5_000}", "x slot", "\\xff 1"):
        with anyio.fail_after(PATIENCE_S):
            while redis.ask("PUBLISH", "rb:changes", f'"{said}"') != b":1":  # noqa: ASYNC110 -- it may subscribe anew
                await anyio.sleep(0.01)
    await remembered(memory, store)
    assert listening is not None
    assert store._server._listening is listening
    assert not listening.done()


async def test_memory_in_front_is_not_trusted_while_nobody_can_tell_what_others_change(
    redis: OwnRedis, reach: Open
) -> None:
    store = await reach(redis.url)
    memory = HybridStore(MemoryCache(), store)
    await remembered(memory, store)
    redis.freeze()
    await forgotten(memory)
    redis.thaw()
    await back(store)
    await remembered(memory, store)
    redis.kill()
    redis.start()
    await forgotten(memory)  # what another process changed while nobody listened is not known
    await remembered(memory, store)


async def remembered(memory: HybridStore, store: RedisStore) -> None:
    """The value is served from memory."""
    await put(memory, "k")
    before = memory._hits
    with anyio.fail_after(PATIENCE_S):
        while memory._hits == before:
            await put(memory, "k")
            await anyio.sleep(0.01)
    assert store.version("w", "k") is not None


async def forgotten(memory: HybridStore) -> None:
    """The value is not served from memory any more."""
    with anyio.fail_after(PATIENCE_S):
        while await memory.get("w", "k") is not None:  # noqa: ASYNC110 -- no event tells what is not known
            await anyio.sleep(0.01)


async def test_a_caller_who_is_cancelled_is_cancelled(redis: OwnRedis, reach: Open) -> None:
    """`asyncio.wait_for`, in redis where it has a `socket_timeout`, lost half of all cancellations on Python 3.11."""
    store = await reach(redis.url)
    await put(store, "k")

    async def ask() -> None:
        for _ in range(3):
            await store.get("w", "k")

    for number in range(300):
        caller = asyncio.create_task(ask())
        for _ in range(number % 30):
            await asyncio.sleep(0)
        if not caller.done():
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
    await put(store, "k")
