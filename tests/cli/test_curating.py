"""What a person sees and decides of what the bank itself took out of use: reports, restoring, pruning."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reasoning_bank.bank import ReasoningBank
from reasoning_bank.cli.curating import prune_command, restore_command
from reasoning_bank.cli.reporting import report_command
from reasoning_bank.errors import NotFoundError
from reasoning_bank.records import MemoryItem, NewTrace, Query
from reasoning_bank.settings import load_settings

LESSON = MemoryItem(
    text="", title="Lock timeout", description="For busy tables.", content="Set `lock_timeout` to 2s and try again."
)


@pytest.fixture
def quarantined(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a memory that misled two callers, in workspace w of the default bank."""
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    settings = load_settings(data_dir=data_dir, embeddings={"backend": "hashing"}, durability="process")

    async def fill() -> str:
        async with ReasoningBank(settings) as bank:
            stored = await bank.store_trace("w", NewTrace("Migrate the orders", outcome="success"), memories=[LESSON])
            (memory,) = stored.memories
            assert memory.id is not None
            for number in range(6):
                task = f"Migrate table {number}"
                await bank.retrieve("w", Query(task, min_score=0))
                await bank.store_trace("w", NewTrace(task, outcome="failure"))
            for rater in ("ann", "bob", "ann", "bob"):
                await bank.rate("w", [memory.id], "misled", actor=rater)
            return memory.id

    return asyncio.run(fill())


def run(command: object, data_dir: Path, *arguments: str) -> Result:
    called = CliRunner().invoke(command, [*arguments, "-w", "w", "--data-dir", str(data_dir)])  # pyright: ignore[reportArgumentType]
    assert called.exit_code == 0, called.output
    return called


def test_what_was_refused_is_listed_with_the_reason(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_BANK_EMBEDDINGS__BACKEND", "hashing")
    settings = load_settings(data_dir=data_dir, embeddings={"backend": "hashing"}, durability="process")
    vague = MemoryItem(text="", title="It went well", description="Always.", content="Done.")

    async def fill() -> None:
        async with ReasoningBank(settings) as bank:
            await bank.store_trace("w", NewTrace("Migrate the orders", outcome="success"), memories=[vague])

    asyncio.run(fill())
    assert "It went well  too short" in run(report_command, data_dir, "refused").output
    (row,) = json.loads(run(report_command, data_dir, "refused", "--json").output)
    assert (row["title"], row["reason"].partition(":")[0]) == ("It went well", "too short")


def test_what_is_quarantined_is_listed_with_its_history_and_restored(quarantined: str, data_dir: Path) -> None:
    reason = "ratings: misled 4 times by 2 raters, helped 0"
    listed = json.loads(run(report_command, data_dir, "quarantine", "--json").stdout)
    assert listed == [{"id": quarantined, "title": "Lock timeout", "reason": reason}]
    assert reason in run(report_command, data_dir, "quarantine").stdout
    assert run(restore_command, data_dir, quarantined).stdout == f"{quarantined}: trust normal\n"
    assert run(report_command, data_dir, "quarantine").stdout == "nothing is quarantined\n"
    events = json.loads(run(report_command, data_dir, "history", quarantined, "--json").stdout)
    assert [(each["before"], each["after"]) for each in events] == [
        ("normal", "quarantined"),
        ("quarantined", "normal"),
    ]
    assert "restored by a person" in run(report_command, data_dir, "history", quarantined).stdout


def test_the_history_of_a_memory_that_is_not_there_is_an_error(quarantined: str, data_dir: Path) -> None:
    assert quarantined
    wrong = ["history", "m_nothere", "-w", "w", "--data-dir", str(data_dir)]
    error = CliRunner().invoke(report_command, wrong).exception
    assert isinstance(error, NotFoundError)
    assert "m_nothere" in str(error)


def test_lift_is_told_with_its_sample_and_its_doubt(quarantined: str, data_dir: Path) -> None:
    found = {each["id"]: each for each in json.loads(run(report_command, data_dir, "lift", "--json").stdout)}
    assert found[quarantined]["with"] == {"solved": 0, "tasks": 6}
    assert found[quarantined]["finding"] == "too few to tell"
    told = run(report_command, data_dir, "lift").stdout
    assert "0 of 6" in told
    assert "too few to tell" in told


def test_pruning_is_told_before_it_is_done(quarantined: str, data_dir: Path) -> None:
    listed = json.loads(run(prune_command, data_dir, "--above", "1", "--dry-run", "--json").stdout)
    assert [each["id"] for each in listed] == [quarantined]
    assert "1 memory would be forgotten" in run(prune_command, data_dir, "--above", "1", "--dry-run").stdout
    assert "1 memory forgotten" in run(prune_command, data_dir, "--above", "1").stdout
    assert run(prune_command, data_dir, "--above", "1").stdout == "0 memories forgotten\n"
    assert run(prune_command, data_dir, "--undo-since", "2020-01-01").stdout == "1 memory brought back\n"
