"""The real HTTP application on a real socket: hosts, origins, tokens, limits, and a clean end."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from mcp import Client

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.errors import ConfigError, StorageError
from reasoning_bank.mcp.http import build_application, is_loopback, listen, needs_token, transport_security
from reasoning_bank.records import MemoryItem
from reasoning_bank.settings import HttpSettings, Settings, load_settings
from reasoning_bank.storage.tokens import Token
from tests.mcp.standin import StandInBank

TLS = ssl.create_default_context()
"""Made once: each client that makes its own reads every certificate of the machine first, for plain HTTP too."""
REPOSITORY = Path(__file__).resolve().parents[2]
LESSON = MemoryItem(text="parse dates", title="Parse dates strictly", content="Use ISO.")
META: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
JSON_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def token(workspace: str, *scopes: str) -> Token:
    return Token(f"id-{workspace}", "name", workspace, scopes, datetime(2026, 1, 1, tzinfo=UTC), None, None)


@asynccontextmanager
async def serving(bank: StandInBank | ReasoningBank, settings: Settings) -> AsyncGenerator[str]:
    application = await asyncio.to_thread(build_application, lambda: bank, settings)  # pyright: ignore[reportArgumentType]
    with listen(settings.http) as listener:
        async with running(application, listener) as url:
            yield url


@asynccontextmanager
async def running(application: Any, listener: socket.socket) -> AsyncGenerator[str]:
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, ws="none", lifespan="on"))
    task = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture
def http_settings() -> Settings:
    return load_settings(http={"port": 0}, limits={"message_bytes": 65_536})


@pytest.fixture
def guarded() -> Settings:
    return load_settings(http={"port": 0, "auth": "required"})


@pytest.fixture
def everywhere() -> Settings:
    return load_settings(http={"port": 0, "host": "0.0.0.0", "allowed_hosts": ("bank.example.com",)})


def modern(method: str, **parameters: Any) -> tuple[dict[str, str], dict[str, Any]]:
    headers = JSON_HEADERS | {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in parameters:
        headers["mcp-name"] = parameters["name"]
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**parameters, "_meta": META}}


async def post(url: str, method: str = "tools/list", *, extra: dict[str, str] | None = None, **parameters: Any) -> Any:
    headers, body = modern(method, **parameters)
    # Forty at once on a busy machine: the client's own five seconds would be a test of the machine.
    async with httpx2.AsyncClient(timeout=60, verify=TLS) as client:
        return await client.post(f"{url}/mcp", headers=headers | (extra or {}), json=body)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def search(url: str, *, extra: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    call = {"name": "retrieve_memory", "arguments": {"task": "parse dates", **arguments}}
    return (await post(url, "tools/call", extra=extra, **call)).json()["result"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_works_in_both_eras(bank: StandInBank, http_settings: Settings, mode: str) -> None:
    bank.add(LESSON)
    async with serving(bank, http_settings) as url, Client(f"{url}/mcp", mode=mode) as client:
        result = await client.call_tool("retrieve_memory", {"task": "parse dates"})
        assert result.structured_content is not None
        assert result.structured_content["memories"][0]["id"] == "m1"


HOSTS = [
    ("127.0.0.1:{port}", 200), ("localhost:{port}", 200), ("[::1]:{port}", 200), ("localhost", 200),
    ("evil.example", 421), ("evil.example:{port}", 421), ("127.0.0.1.evil.example", 421), ("0.0.0.0:{port}", 421),
]  # fmt: skip
ORIGINS = [
    (None, 200), ("http://localhost:{port}", 200), ("http://127.0.0.1:9", 200),
    ("http://evil.example", 403), ("https://localhost.evil.example", 403), ("null", 403), ("file://", 403),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["loopback", "token"])
async def test_only_known_hosts_and_origins_are_served(bank: StandInBank, http_settings: Settings, mode: str) -> None:
    bank.tokens["good"] = token("w", "read")
    extra = bearer("good") if mode == "token" else {}
    async with serving(bank, http_settings) as url:
        port = url.rsplit(":", 1)[1]
        for host, host_status in HOSTS:
            for origin, origin_status in ORIGINS:
                headers = extra | {"host": host.format(port=port)}
                if origin is not None:
                    headers["origin"] = origin.format(port=port)
                expected = host_status if host_status != 200 else origin_status
                assert (await post(url, extra=headers)).status_code == expected, (host, origin)


async def test_hosts_are_checked_on_every_address_too(bank: StandInBank, everywhere: Settings) -> None:
    bank.tokens["good"] = token("w", "read")
    async with serving(bank, everywhere) as url:
        assert (await post(url)).status_code == 401
        assert (await post(url, extra=bearer("good"))).status_code == 200
        assert (await post(url, extra=bearer("good") | {"host": "evil.example"})).status_code == 421
        assert (await post(url, extra=bearer("good") | {"host": "bank.example.com"})).status_code == 200


async def test_what_is_read_is_private_and_what_is_listed_is_public(bank: StandInBank, http_settings: Settings) -> None:
    async with serving(bank, http_settings) as url:
        listed = (await post(url, "tools/list")).json()["result"]
        extra = {"mcp-name": "bank://stats"}
        found = (await post(url, "resources/read", extra=extra, uri="bank://stats")).json()["result"]
    assert (listed["cacheScope"], listed["ttlMs"]) == ("public", 60_000)
    assert (found["cacheScope"], found["ttlMs"]) == ("private", 0)


async def test_bad_requests_have_their_codes(bank: StandInBank, http_settings: Settings) -> None:
    headers, body = modern("tools/list")
    async with serving(bank, http_settings) as url, httpx2.AsyncClient(base_url=url) as client:
        plain = await client.post("/mcp", headers=headers | {"content-type": "text/plain"}, content=json.dumps(body))
        big = await client.post("/mcp", headers=headers, json={**body, "x": "y" * 70_000})
        elsewhere = await client.post("/other", headers=headers, json=body)
        no_method = {key: value for key, value in headers.items() if key != "mcp-method"}
        unnamed = await client.post("/mcp", headers=no_method, json=body)
        got = await client.get("/mcp", headers=headers)
        garbage = await client.post("/mcp", headers=headers, content=b"garbage")
        legacy_accept = JSON_HEADERS | {"accept": "application/json"}
        no_stream = await client.post("/mcp", headers=legacy_accept, json={**body, "params": {}})
    codes = [reply.status_code for reply in (plain, big, elsewhere, unnamed, got, garbage, no_stream)]
    assert codes == [400, 413, 404, 400, 405, 400, 406]
    assert unnamed.json()["error"]["code"] == -32020
    assert garbage.json()["error"]["code"] == -32700


async def test_a_lone_surrogate_in_a_valid_request_is_answered(bank: StandInBank, http_settings: Settings) -> None:
    headers, _ = modern("tools/call", name="retrieve_memory")
    call: dict[str, object] = {"name": "retrieve_memory", "arguments": {"task": "SURROGATE"}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).replace(
        "SURROGATE", "\\ud800"
    )
    legacy_body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"a": "X"}})
    async with serving(bank, http_settings) as url, httpx2.AsyncClient(base_url=url) as client:
        modern_reply = await client.post("/mcp", headers=headers, content=body)
        legacy = await client.post("/mcp", headers=JSON_HEADERS, content=legacy_body.replace("X", "\\ud800"))
    result = modern_reply.json()["result"]
    assert result["isError"] is True
    assert "half of a UTF-16 pair" in result["content"][0]["text"]
    assert legacy.json()["error"]["code"] == -32700


async def test_liveness_needs_no_token_and_tells_nothing(bank: StandInBank, guarded: Settings) -> None:
    async with serving(bank, guarded) as url, httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await post(url)).status_code == 401
    assert bank.entered == 0


async def test_a_required_token_is_asked_for_in_the_standard_way(bank: StandInBank, guarded: Settings) -> None:
    bank.tokens["good"] = token("w", "read")
    async with serving(bank, guarded) as url:
        missing, wrong, basic, empty, good = [
            await post(url, extra=extra)
            for extra in (
                None,
                bearer("bad"),
                {"authorization": "Basic Z29vZA=="},
                {"authorization": "Bearer"},
                bearer("good"),
            )
        ]
    assert [reply.status_code for reply in (missing, wrong, basic, empty, good)] == [401, 401, 401, 401, 200]
    for refused in (missing, wrong, basic, empty):
        assert refused.headers["www-authenticate"].startswith("Bearer ")
        assert refused.json()["error"] == "invalid_token"


async def test_the_token_decides_the_workspace(bank: StandInBank, http_settings: Settings) -> None:
    bank.add(LESSON, workspace="mine", id="own")
    bank.add(LESSON, workspace="other", id="theirs")
    bank.tokens["secret"] = token("mine", "read", "write")
    async with serving(bank, http_settings) as url:
        found = await search(url, extra=bearer("secret"))
        named = await search(url, extra=bearer("secret"), workspace="mine")
        foreign = await search(url, extra=bearer("secret"), workspace="other")
        call = {"name": "get_memory", "arguments": {"ids": ["theirs"]}}
        by_id = (await post(url, "tools/call", extra=bearer("secret"), **call)).json()["result"]
        headers, body = modern("resources/read", uri="bank://memories/theirs")
        async with httpx2.AsyncClient(base_url=url) as client:
            headers |= bearer("secret") | {"mcp-name": "bank://memories/theirs"}
            resource = (await client.post("/mcp", headers=headers, json=body)).json()
            headers, body = modern("resources/read", uri="bank://workspaces")
            headers |= bearer("secret") | {"mcp-name": "bank://workspaces"}
            visible = (await client.post("/mcp", headers=headers, json=body)).json()
    assert [memory["id"] for memory in found["structuredContent"]["memories"]] == ["own"]
    assert found["structuredContent"]["memories"] == named["structuredContent"]["memories"]
    assert foreign["isError"] is True
    assert "bound to another workspace" in foreign["content"][0]["text"]
    assert by_id["isError"] is True
    assert resource["error"]["code"] == -32602
    assert json.loads(visible["result"]["contents"][0]["text"])["workspaces"] == [{"name": "mine"}]
    assert {workspace for workspace, _ in bank.queries} == {"mine"}


async def test_on_loopback_without_a_token_the_argument_decides(bank: StandInBank, http_settings: Settings) -> None:
    bank.add(LESSON, workspace="other", id="theirs")
    async with serving(bank, http_settings) as url:
        found = await search(url, workspace="other")
    assert [memory["id"] for memory in found["structuredContent"]["memories"]] == ["theirs"]


async def test_a_wrong_token_is_refused_even_where_none_is_needed(bank: StandInBank, http_settings: Settings) -> None:
    async with serving(bank, http_settings) as url:
        assert (await post(url)).status_code == 200
        assert (await post(url, extra=bearer("bad"))).status_code == 401


async def test_each_request_has_its_own_caller(bank: StandInBank, http_settings: Settings) -> None:
    names = [f"w{number}" for number in range(8)]
    for name in names:
        bank.tokens[f"secret-{name}"] = token(name, "read")
        bank.add(LESSON, workspace=name, id=f"id-{name}")
    async with serving(bank, http_settings) as url:

        async def one(name: str) -> tuple[str, list[str]]:
            answer = await search(url, extra=bearer(f"secret-{name}"))
            return name, [memory["id"] for memory in answer["structuredContent"]["memories"]]

        found = await asyncio.gather(*(one(name) for name in names * 5))
    assert all(ids == [f"id-{name}"] for name, ids in found)


async def test_a_token_without_the_scope_may_not_write(bank: StandInBank, http_settings: Settings) -> None:
    bank.tokens["reader"] = token("w", "read")
    call = {"name": "store_trace", "arguments": {"task": "x"}}
    async with serving(bank, http_settings) as url:
        result = (await post(url, "tools/call", extra=bearer("reader"), **call)).json()["result"]
    assert result["isError"] is True
    assert "scope 'write'" in result["content"][0]["text"]
    assert bank.traces == {}


async def test_a_token_without_the_scope_may_not_read_any_report(bank: StandInBank, http_settings: Settings) -> None:
    bank.tokens["blind"] = token("acme", "write")
    async with serving(bank, http_settings) as url, httpx2.AsyncClient() as client:
        for report in ("stats", "performance", "health", "workspaces"):
            headers, body = modern("resources/read", uri=f"bank://{report}")
            headers |= {"authorization": "Bearer blind", "mcp-name": f"bank://{report}"}
            reply = await client.post(f"{url}/mcp", headers=headers, json=body)
            assert "does not allow to" in reply.text, report


async def test_a_token_for_one_workspace_does_not_tell_how_busy_the_others_are(
    http_settings: Settings, data_dir: Path
) -> None:
    """The latencies, counters and queues of a server are of everybody it serves."""
    settings = http_settings.model_copy(
        update={
            "data_dir": data_dir,
            "embeddings": http_settings.embeddings.model_copy(update={"backend": "hashing"}),
            "compression": http_settings.compression.model_copy(update={"tokenizer": "estimated"}),
        }
    )
    async with ReasoningBank(settings) as bank:
        made = await bank.upkeep.create_token("w", name="laptop", scopes=("read",))
    async with serving(ReasoningBank(settings), settings) as url:
        told = {
            (who, report): (await post(url, "resources/read", extra=extra | {"mcp-name": report}, uri=report)).json()
            for who, extra in {"token": bearer(made.secret), "owner": {}}.items()
            for report in ("bank://stats", "bank://performance")
        }
    mine = json.loads(told["token", "bank://stats"]["result"]["contents"][0]["text"])
    assert set(mine) == {
        *("workspace", "traces", "memories", "superseded", "deleted", "embedded", "tags"),
        *("model", "index", "language", "refused"),
    }
    assert set(mine["model"]) == {"status", "reason", "serving", "loaded_in_s"}
    assert "scope 'metrics'" in told["token", "bank://performance"]["error"]["message"]
    everything = json.loads(told["owner", "bank://stats"]["result"]["contents"][0]["text"])
    assert {"alerts", "operations", "counters", "caches", "background", "strategies"} <= set(everything)
    assert "result" in told["owner", "bank://performance"]


async def test_the_holder_of_a_token_is_kept_as_the_actor(bank: StandInBank, http_settings: Settings) -> None:
    bank.tokens["writer"] = token("w", "read", "write")
    call = {"name": "store_trace", "arguments": {"task": "x"}}
    async with serving(bank, http_settings) as url:
        await post(url, "tools/call", extra=bearer("writer"), **call)
    ((trace),) = bank.traces.values()
    assert (trace.workspace, trace.report.actor) == ("w", "id-w")


async def test_a_bank_that_cannot_verify_says_so_and_not_that_the_token_is_wrong(
    bank: StandInBank, http_settings: Settings
) -> None:
    bank.opening_failures = [StorageError("x", code="locked")]
    async with serving(bank, http_settings) as url:
        reply = await post(url, extra=bearer("good"))
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "5"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_leaves_cancels_its_call(bank: StandInBank, http_settings: Settings, mode: str) -> None:
    bank.gate = asyncio.Event()  # pyright: ignore[reportAttributeAccessIssue] -- waits like anyio's

    async def ask(url: str) -> None:
        async with Client(f"{url}/mcp", mode=mode) as client:
            await client.call_tool("retrieve_memory", {"task": "x"})

    async with serving(bank, http_settings) as url, asyncio.timeout(30):
        asking = asyncio.create_task(ask(url))
        while not bank.waiting:  # noqa: ASYNC110 -- neither waiting nor cancellation has an event
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while not bank.cancelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert bank.waiting == bank.cancelled == 1


def test_away_from_loopback_a_token_is_always_needed() -> None:
    assert [needs_token(HttpSettings(host=host)) for host in ("127.0.0.1", "::1", "localhost", "127.8.0.1")] == [
        False
    ] * 4
    assert [needs_token(HttpSettings(host=host)) for host in ("0.0.0.0", "::", "192.168.1.5", "example.com")] == [
        True
    ] * 4
    assert needs_token(HttpSettings(auth="required"))
    assert not is_loopback("127.0.0.1.example.com")
    with pytest.raises(ConfigError, match="on loopback only"):
        listen(HttpSettings(host="0.0.0.0", auth="off"))


def test_hosts_are_checked_away_from_loopback_too() -> None:
    security = transport_security(HttpSettings(host="0.0.0.0", allowed_hosts=("bank.example.com",)))
    assert security.enable_dns_rebinding_protection
    assert {"bank.example.com", "bank.example.com:*"} <= set(security.allowed_hosts)
    assert "*" not in security.allowed_hosts


def test_a_taken_port_is_a_configuration_error() -> None:
    with listen(HttpSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="choose another"):
            listen(HttpSettings(port=port))


def test_the_endpoint_cannot_stand_where_no_token_is_asked_for(bank: StandInBank) -> None:
    settings = load_settings(http={"path": "/healthz", "auth": "required"})
    with pytest.raises(ConfigError, match="answers without a token"):
        build_application(lambda: bank, settings)  # pyright: ignore[reportArgumentType]


async def test_answers_are_sent_at_once(http_settings: Settings) -> None:
    """Without TCP_NODELAY an answer of two packets waits for the client's delayed acknowledgement, 40 ms each."""
    at_once = asyncio.get_running_loop().create_future()

    def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        at_once.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = await asyncio.to_thread(listen, http_settings.http)
    async with await asyncio.start_server(accepted, sock=listener), asyncio.timeout(30):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await at_once
        writer.close()
