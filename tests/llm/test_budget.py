"""Budgets: what is counted, and that no number of callers or processes goes over a limit."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_bank.errors import BudgetSpentError, UpstreamError
from reasoning_bank.llm.budget import Limits
from reasoning_bank.llm.exchange import TokenUsage
from reasoning_bank.llm.model import Answered
from reasoning_bank.llm.routing import Price

from .asking import GOOD, Asking, Verdict, Waiting, fails, opened, question, says, script

MOST = 205
"""A little more than a question of `asking` can take: 98 tokens read, schema included, and 100 written."""


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    with opened(tmp_path) as asking:
        yield asking


def tokens(counted: dict[str, int]) -> int:
    return sum(counted.get(f"{kind}_tokens", 0) for kind in ("input", "cached", "output"))


async def test_what_a_call_can_take_is_held_while_it_runs_and_given_back_after(asking: Asking) -> None:
    model = asking.model(provider := Waiting(usage=TokenUsage(7, 2, 3)))
    call = asyncio.create_task(model.ask("w", "judge", question(), Verdict))
    await provider.asked.acquire()
    held = dict(await asking.today(model))
    assert held["output_tokens"] == 100
    assert 80 < held["input_tokens"] <= MOST - 100
    provider.go.set()
    await call
    counted = await asking.today(model)
    assert (counted["input_tokens"], counted["cached_tokens"], counted["output_tokens"]) == (7, 2, 3)
    assert (counted["calls"], counted["failures"]) == (1, 0)


async def test_callers_at_once_never_go_over_a_limit_together(asking: Asking) -> None:
    model = asking.model(provider := Waiting(usage=TokenUsage(90, 0, 100)), limits=Limits(tokens=1_000))
    calls = [asyncio.create_task(model.ask("w", "judge", question(str(n)), Verdict)) for n in range(20)]
    done = 0
    while done + provider.calls < len(calls):
        await asyncio.wait([call for call in calls if not call.done()], timeout=0.01)
        done = sum(call.done() for call in calls)
    assert 1_000 - MOST < tokens(dict(await asking.today(model))) <= 1_000
    provider.go.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, Answered) for end in ended) == provider.calls == 5
    assert {type(end) for end in ended if not isinstance(end, Answered)} == {BudgetSpentError}


async def test_a_cancelled_call_gives_back_what_it_held(asking: Asking) -> None:
    model = asking.model(provider := Waiting(), limits=Limits(tokens=MOST))
    call = asyncio.create_task(model.ask("w", "judge", question(), Verdict))
    await provider.asked.acquire()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    while tokens(counted := dict(await asking.today(model))):  # equal questions share a run, which ends by itself
        continue
    assert (counted["calls"], counted["failures"]) == (1, 1)
    provider.go.set()
    await model.ask("w", "judge", question(), Verdict)


async def test_a_call_cancelled_while_it_waits_for_its_reservation_holds_nothing(asking: Asking) -> None:
    model = asking.model(provider := Waiting())
    busy, go_on = threading.Event(), threading.Event()

    def block(_: object) -> None:
        busy.set()
        go_on.wait(30)

    blocking = asyncio.create_task(asking.database.write(block))
    await asyncio.to_thread(busy.wait, 30)
    call = asyncio.create_task(model.ask("w", "judge", question(temperature=1.0), Verdict))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    await blocking
    await asking.database.write(lambda _: None)
    assert tokens(dict(await asking.today(model))) == 0
    assert provider.calls == 0


async def test_a_failed_call_takes_nothing_and_is_counted(asking: Asking) -> None:
    model = asking.model(script(fails("HTTP 503", 503)))
    with pytest.raises(UpstreamError):
        await model.ask("w", "judge", question(), Verdict)
    counted = dict(await asking.today(model))
    assert (counted["calls"], counted["failures"], tokens(counted)) == (1, 1, 0)


async def test_what_a_server_says_cannot_lower_the_count(asking: Asking) -> None:
    provider = Waiting(usage=TokenUsage(7, -1_000, -1))
    provider.go.set()
    model = asking.model(provider)
    await model.ask("w", "judge", question(), Verdict)
    assert tokens(dict(await asking.today(model))) == 7


async def test_a_server_that_does_not_say_what_it_took_is_counted_by_size(asking: Asking) -> None:
    model = asking.model(provider := Waiting(usage=TokenUsage()))
    provider.go.set()
    await model.ask("w", "judge", question(), Verdict)
    counted = await asking.today(model)
    assert counted["input_tokens"] > 80
    assert counted["output_tokens"] == -(-len(GOOD) // 3)


async def test_each_workspace_has_its_own_limit_and_all_have_one_together(asking: Asking) -> None:
    provider = Waiting(usage=TokenUsage(600, 0, 0))
    provider.go.set()
    model = asking.model(provider, limits=Limits(tokens=1_900, tokens_per_workspace=700))
    await model.ask("a", "judge", question(), Verdict)
    with pytest.raises(BudgetSpentError, match="tokens_per_workspace = 700"):
        await model.ask("a", "judge", question("2"), Verdict)
    await model.ask("b", "judge", question(), Verdict)
    await model.ask("c", "judge", question(), Verdict)
    with pytest.raises(BudgetSpentError, match=r"\(tokens = 1900\)"):
        await model.ask("d", "judge", question(), Verdict)
    assert (await asking.today(model, "a"))["limits"] == [
        {"name": "tokens_per_workspace", "spent": 600, "limit": 700},
    ]
    assert (await asking.today(model))["limits"] == [{"name": "tokens", "spent": 1_800, "limit": 1_900}]


async def test_money_is_counted_by_price_and_stops_at_its_limit(asking: Asking) -> None:
    provider = Waiting(usage=TokenUsage(1_000, 2_000, 500))
    provider.go.set()
    model = asking.model(
        provider, limits=Limits(dollars=0.02), prices={"m": Price(input=2.0, cached_input=0.5, output=8.0)}
    )
    await model.ask("w", "judge", question(), Verdict)
    assert (await asking.today(model))["dollars"] == pytest.approx(0.007)
    await model.ask("w", "judge", question("2"), Verdict)
    await model.ask("w", "judge", question("3"), Verdict)
    with pytest.raises(BudgetSpentError, match=r"dollars = 0.02\)") as caught:
        await model.ask("w", "judge", question("4"), Verdict)
    assert caught.value.retry_after_s == 12 * 3600


async def test_a_new_day_has_a_new_budget(asking: Asking) -> None:
    model = asking.model(script(says(GOOD)), limits=Limits(tokens=MOST), cached=False)
    await model.ask("w", "judge", question(), Verdict)
    with pytest.raises(BudgetSpentError):
        await model.ask("w", "judge", question(), Verdict)
    asking.clock.forward(hours=12)
    await model.ask("w", "judge", question(), Verdict)
    assert (await model.budget.today())["resets_at"] == "2026-05-03T00:00:00+00:00"


async def test_a_call_that_ends_tomorrow_belongs_to_today(asking: Asking) -> None:
    model = asking.model(provider := Waiting())
    call = asyncio.create_task(model.ask("w", "judge", question(), Verdict))
    await provider.asked.acquire()
    asking.clock.forward(hours=13)
    provider.go.set()
    await call
    assert tokens(dict(await asking.today(model))) == 0
    asking.clock.forward(hours=-13)
    assert tokens(dict(await asking.today(model))) == 15


PROCESS = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from reasoning_bank.errors import BudgetSpentError
from reasoning_bank.llm.budget import Budget, Limits
from reasoning_bank.llm.exchange import Message, ModelRequest, Reply, TokenUsage
from reasoning_bank.llm.routing import Target
from reasoning_bank.storage import Database

noon = lambda: datetime(2026, 5, 1, 12, tzinfo=UTC)
request = ModelRequest(messages=(Message("user", "x" * 276),), max_tokens=100)

async def call(budget, hang):
    async with budget.reserved("w", "judge", Target("p", "m", None), request) as receipt:
        if hang:
            print("sent", flush=True)
            await asyncio.sleep(3600)
        await asyncio.sleep(0)
        receipt.reply = Reply("", "m", TokenUsage(95, 5, 100), "stop")

async def main(path, hang):
    async with Database(Path(path), durability="process", busy_timeout_s=60, now=noon) as database:
        budget = Budget(database, limits=Limits(tokens=10_050), now=noon)
        ended = await asyncio.gather(*(call(budget, hang) for _ in range(1 if hang else 60)), return_exceptions=True)
        assert {type(end) for end in ended} <= {type(None), BudgetSpentError}, ended
        print(sum(end is None for end in ended))

asyncio.run(main(sys.argv[1], len(sys.argv) > 2))
"""
"""60 calls of 200 tokens each, under a limit of 10,050."""


async def test_several_processes_never_go_over_a_limit_together(asking: Asking) -> None:
    def run() -> list[int]:
        started = [
            subprocess.Popen([sys.executable, "-c", PROCESS, str(asking.database.path)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        return [int(process.communicate(timeout=100)[0]) for process in started]

    answered = await asyncio.to_thread(run)
    counted = dict(await asking.today(asking.model(script())))
    assert sum(answered) == counted["calls"] == 50
    assert tokens(counted) == 10_000


async def test_what_a_killed_process_held_is_spent_until_midnight(asking: Asking) -> None:
    def run() -> None:
        command = [sys.executable, "-c", PROCESS, str(asking.database.path), "hang"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"sent\n"
            process.kill()

    await asyncio.to_thread(run)
    model = asking.model(script())
    assert tokens(dict(await asking.today(model))) == 200
    asking.clock.forward(hours=12)
    assert tokens(dict(await asking.today(model))) == 0
