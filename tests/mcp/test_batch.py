"""Lists over HTTP: answers and errors in order, as guarded and as bounded as the MCP endpoint."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from reasoning_bank import ReasoningBank
from reasoning_bank.mcp.batch import MOST_ITEMS
from reasoning_bank.settings import Settings, load_settings
from tests.mcp.speaking import LESSON, TASK
from tests.mcp.standin import StandInBank
from tests.mcp.test_http import bearer, serving, token


@pytest.fixture
def real(data_dir: Path) -> ReasoningBank:
    return ReasoningBank(
        load_settings(
            data_dir=data_dir,
            http={"port": 0},
            durability="process",
            embeddings={"backend": "hashing"},
            vectors={"chroma_mode": "off"},
            compression={"tokenizer": "estimated"},
            learning={"consolidate": False},  # lessons as alike as these would become one
        )
    )


@pytest.fixture
def http_settings() -> Settings:
    return load_settings(http={"port": 0}, limits={"message_bytes": 65_536})


@pytest.fixture
def guarded() -> Settings:
    return load_settings(http={"port": 0, "auth": "required"})


async def send(url: str, kind: str, items: Any, *, extra: dict[str, str] | None = None) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=60) as client:
        return await client.post(f"{url}/batch/{kind}", json=items, headers=extra)


async def answers(url: str, kind: str, items: list[Any]) -> list[dict[str, Any]]:
    reply = await send(url, kind, items)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_traces_are_stored_and_found_in_the_order_of_the_lists(real: ReasoningBank) -> None:
    shops = ["bakery", "grocer", "florist", "tailor", "cobbler", "chemist", "butcher", "jeweller", "optician", "barber"]
    tasks = [f"{TASK} of the {shop}" for shop in shops]
    traces = [{"task": task, "memories": [LESSON | {"title": f"Lesson {task}"}]} for task in tasks]
    async with serving(real, real.settings) as url:
        first = await answers(url, "store", traces)
        again = await answers(url, "store", traces)
        await real.wait_until_searchable(timeout_s=60)
        found = await answers(url, "retrieve", [{"task": task, "k": 1} for task in tasks])
    ids = [each["answer"]["memories"][0]["id"] for each in first]
    assert len(set(ids)) == len(shops)
    assert [each["answer"]["trace_id"] for each in again] == [each["answer"]["trace_id"] for each in first]
    assert all(each["answer"]["replayed"] for each in again)
    assert [each["answer"]["memories"][0]["id"] for each in found] == ids


async def test_an_item_that_is_refused_takes_nothing_from_the_others(real: ReasoningBank) -> None:
    async with serving(real, real.settings) as url:
        found = await answers(
            url, "retrieve", [{"task": "x"}, {"task": ""}, {"tusk": "x"}, "x", {"task": "x", "k": 999}]
        )
        kept = await answers(url, "store", [{"task": "good"}, {"task": " "}, {"task": "better", "outcome": "success"}])
        short = await answers(url, "compress", [{"prompt": "so so", "ratio": 1}, {"prompt": "a b c", "ratio": 2}])
    assert found[0]["answer"]["memories"] == []
    assert [sorted(each) for each in found] == [["answer"], ["error"], ["error"], ["error"], ["error"]]
    assert "did you mean `task`" in found[2]["error"]
    assert "the limit is 100" in found[4]["error"]
    assert [sorted(each) for each in kept] == [["answer"], ["error"], ["answer"]]
    assert short[0]["answer"]["text"] == "so so"
    assert "`ratio` must be at most 1" in short[1]["error"]


async def test_what_is_no_list_or_too_much_is_refused_as_a_whole(bank: StandInBank, http_settings: Settings) -> None:
    async with serving(bank, http_settings) as url, httpx2.AsyncClient(base_url=url) as client:
        json_type = {"content-type": "application/json"}
        replies = [
            await client.post("/batch/retrieve", json={"task": "x"}),
            await client.post("/batch/retrieve", content=b"[", headers=json_type),
            await client.post("/batch/retrieve", content=b"[]", headers={"content-type": "text/plain"}),
            await client.post("/batch/retrieve", json=[{"task": "x"}] * (MOST_ITEMS + 1)),
            await client.post("/batch/retrieve", json=[{"task": "y" * 70_000}]),
            await client.get("/batch/retrieve"),
            await client.post("/batch/forget", json=[]),
            await client.post("/batch/retrieve", json=[]),
        ]
    assert [reply.status_code for reply in replies] == [400, 400, 400, 400, 413, 405, 404, 200]
    assert "the limit is 100: send them in parts" in replies[3].json()["error"]
    assert bank.queries == []


async def test_the_token_decides_the_workspace_and_what_is_allowed(bank: StandInBank, guarded: Settings) -> None:
    bank.tokens["reader"] = token("mine", "read")
    async with serving(bank, guarded) as url:
        nobody = await send(url, "retrieve", [{"task": "x"}])
        stranger = await send(url, "retrieve", [{"task": "x"}], extra=bearer("bad"))
        reader = await send(
            url, "retrieve", [{"task": "x"}, {"task": "x", "workspace": "theirs"}], extra=bearer("reader")
        )
        writing = await send(url, "store", [{"task": "x"}], extra=bearer("reader"))
    assert [reply.status_code for reply in (nobody, stranger, reader, writing)] == [401, 401, 200, 403]
    assert [workspace for workspace, _ in bank.queries] == ["mine"]
    assert "bound to another workspace" in reader.json()[1]["error"]
    assert "scope 'write'" in writing.json()["error"]
    assert bank.traces == {}


async def test_only_known_hosts_and_origins_are_served(bank: StandInBank, http_settings: Settings) -> None:
    async with serving(bank, http_settings) as url:
        port = url.rsplit(":", 1)[1]
        for host, origin, expected in [
            ("localhost:{port}", None, 200), ("evil.example", None, 421), ("127.0.0.1.evil.example", None, 421),
            ("localhost", "http://127.0.0.1:9", 200), ("localhost", "http://evil.example", 403),
            ("localhost", "null", 403),
        ]:  # fmt: skip
            headers = {"host": host.format(port=port)} | ({} if origin is None else {"origin": origin})
            assert (await send(url, "retrieve", [], extra=headers)).status_code == expected, (host, origin)


async def test_traces_of_several_workspaces_may_come_in_one_list(real: ReasoningBank) -> None:
    traces = [{"task": f"{TASK} {place}", "workspace": place} for place in ("a", "b", "a", " ")]
    async with serving(real, real.settings) as url:
        first, second, third, nowhere = await answers(url, "store", traces)
        again = await answers(url, "store", traces[:3])
    assert "workspace is empty" in nowhere["error"]
    assert first["answer"]["trace_id"] == third["answer"]["trace_id"] != second["answer"]["trace_id"]
    assert [each["answer"]["replayed"] for each in again] == [True] * 3


@pytest.fixture
async def held(bank: StandInBank) -> AsyncGenerator[StandInBank]:
    bank.gate = anyio.Event()
    yield bank
    bank.gate.set()


async def test_what_nobody_waits_for_any_more_is_called_off(held: StandInBank, http_settings: Settings) -> None:
    async with serving(held, http_settings) as url:
        sending = asyncio.create_task(send(url, "retrieve", [{"task": "x"}, {"task": "y"}]))
        async with asyncio.timeout(30):
            while held.waiting < 2:  # noqa: ASYNC110 -- the bank counts, it does not tell
                await asyncio.sleep(0.01)
            sending.cancel()
            while held.cancelled < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
