"""`/metrics` and `/performance` tell what was measured, to whoever owns the server, and to nobody else."""

from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.mcp.figures import METRICS_PATH, PERFORMANCE_PATH, TimedRequests
from reasoning_bank.mcp.opening import BankOpening
from reasoning_bank.records import NewTrace
from reasoning_bank.settings import Settings, load_settings
from tests.mcp.test_http import bearer, post, serving

PATHS = (METRICS_PATH, PERFORMANCE_PATH)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path,
        http={"port": 0},
        embeddings={"backend": "hashing"},
        vectors={"chroma_mode": "off"},
        compression={"tokenizer": "estimated"},
    )


async def test_figures_tell_of_what_was_called_and_name_no_workspace(settings: Settings) -> None:
    bank = ReasoningBank(settings)
    async with serving(bank, settings) as url, httpx2.AsyncClient(base_url=url) as client:
        await post(url, "tools/call", name="retrieve_memory", arguments={"task": "parse dates", "workspace": "secret"})
        await bank.store_trace("secret", NewTrace("parse dates", "success"))
        text = await client.get(METRICS_PATH)
        told = (await client.get(PERFORMANCE_PATH, params={"name": "tool"})).json()
        nothing = await client.get(PERFORMANCE_PATH, params={"name": "nothing"})
    assert text.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.text)
        for sample in family.samples
    }
    assert samples["reasoning_bank_operation_seconds_count", "tool.retrieve_memory"] == 1
    assert samples["reasoning_bank_operation_seconds_count", "http"] == 1
    assert samples["reasoning_bank_operation_errors_total", "tool.retrieve_memory"] == 0
    assert "secret" not in text.text
    assert told["operations"]["tool.retrieve_memory"]["1m"]["count"] == 1
    assert set(told["operations"]) == {"tool.retrieve_memory"}
    assert (nothing.status_code, nothing.json()) == (400, {"error": "nothing named 'nothing' was measured"})


async def test_figures_are_for_the_owner_and_for_tokens_made_for_them(settings: Settings) -> None:
    guarded = settings.model_copy(update={"http": settings.http.model_copy(update={"auth": "required"})})
    async with ReasoningBank(settings) as bank:
        reader = await bank.upkeep.create_token("w", name="laptop", scopes=("read", "write"))
        scraper = await bank.upkeep.create_token("w", name="prometheus", scopes=("metrics",))
    async with serving(ReasoningBank(guarded), guarded) as url, httpx2.AsyncClient(base_url=url) as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=bearer("wrong"))).status_code == 401
            refused = await client.get(path, headers=bearer(reader.secret))
            assert (refused.status_code, "scope 'metrics'" in refused.text) == (403, True)
            assert (await client.get(path, headers=bearer(scraper.secret))).status_code == 200
        call = {"name": "retrieve_memory", "arguments": {"task": "x"}}
        searched = await post(url, "tools/call", extra=bearer(scraper.secret), **call)
        assert "does not allow to read" in searched.text
        report = {"mcp-name": "bank://performance"}
        read = await post(url, "resources/read", extra=bearer(scraper.secret) | report, uri="bank://performance")
        assert "operations" in read.json()["result"]["contents"][0]["text"]


async def test_other_methods_hosts_and_origins_are_refused(settings: Settings) -> None:
    async with serving(ReasoningBank(settings), settings) as url, httpx2.AsyncClient(base_url=url) as client:
        for path in PATHS:
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                assert (await client.request(method, path)).status_code == 405
            assert (await client.get(path, headers={"host": "evil.example"})).status_code == 421
            assert (await client.get(path, headers={"origin": "http://evil.example"})).status_code == 403
            assert (await client.get(f"{path}/x")).status_code == 404


async def test_requests_that_fail_are_counted_as_errors_and_those_refused_or_of_whoever_watches_not_at_all(
    settings: Settings,
) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bug":
            raise ValueError("a bug")
        await Response(status_code=int(scope["path"][1:]))(scope, receive, send)

    bank = ReasoningBank(settings)
    async with BankOpening(lambda: bank) as opening:
        await opening.bank()
        transport = httpx2.ASGITransport(
            TimedRequests(application, opening, apart=["/204"]), raise_app_exceptions=False
        )
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/200", "/400", "/503", "/bug", "/401", "/403", "/404", "/421", "/204"):
                await client.get(path)
        http = bank.monitor.snapshot().operations["http"]["1m"]
    assert (http.count, http.errors) == (4, 2)
