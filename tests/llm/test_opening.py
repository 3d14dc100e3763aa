"""From a configuration to answers: everything opened together."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from reasoning_bank.errors import ConfigError
from reasoning_bank.llm.budget import Limits
from reasoning_bank.llm.opening import ModelChoice, open_language_model
from reasoning_bank.llm.providers import ProviderChoice
from reasoning_bank.llm.routing import PURPOSES, Price
from reasoning_bank.storage import Database

from .asking import GOOD, NOON, Verdict, question

SCRIPT = f"[[reply]]\ntext = '''{GOOD}'''\n"
TEMPLATE = """
[[template]]
name = "ours"
purpose = "judge"
any = ["green light"]
response = { outcome = "success", reason = "{evidence}" }
"""


@pytest.fixture
def noon() -> Callable[[], datetime]:
    return lambda: NOON


@pytest.fixture
def database(tmp_path: Path, noon: Callable[[], datetime]) -> Iterator[Database]:
    opened = Database(tmp_path / "bank.db", durability="process", now=noon)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def choice(tmp_path: Path) -> ModelChoice:
    (tmp_path / "script.toml").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "templates.toml").write_text(TEMPLATE, encoding="utf-8")
    return ModelChoice(
        providers={"demo": ProviderChoice(wire="scripted", script=tmp_path / "script.toml")},
        fast="demo:small",
        templates=tmp_path / "templates.toml",
        cache_file=tmp_path / "cache" / "llm.db",
    )


async def test_a_configuration_answers(choice: ModelChoice, database: Database, noon: Callable[[], datetime]) -> None:
    for by in ("llm:small", "cache:small"):
        async with open_language_model(choice, database, clean=str, answers={"judge": Verdict}, now=noon) as (
            model,
            providers,
        ):
            assert list(providers) == ["demo"]
            assert (await model.ask("w", "judge", question(), Verdict)).by == by
            known = await model.ask("w", "judge", question(), Verdict, material="we have a green light")
            assert (known.by, known.value.reason) == ("template:ours", "we have a green light")
            statistics = await model.statistics()
    assert statistics["models"] == {purpose: ["demo:small"] for purpose in PURPOSES}
    assert set(statistics) == {
        "today", "models", "cache", "asked_as", "shared", "repairs", "fallbacks", "batches", "asked_alone",
    }  # fmt: skip
    assert isinstance(statistics["cache"], dict)


async def test_without_a_cache_every_question_is_asked(
    choice: ModelChoice, database: Database, noon: Callable[[], datetime]
) -> None:
    async with open_language_model(replace(choice, cache_file=None), database, clean=str, answers={}, now=noon) as (
        model,
        _,
    ):
        for _ in range(2):
            assert (await model.ask("w", "judge", question(), Verdict)).by == "llm:small"
        assert (await model.statistics())["cache"] is None


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"limits": Limits(dollars=1.0)}, "needs the price of demo:small"),
        ({"fallback": ("cloud:large",)}, "'cloud:large' must be PROVIDER:MODEL"),
        ({"templates": Path("missing.toml")}, "cannot be read"),
        ({"providers": {"demo": ProviderChoice(wire="scripted")}}, "llm.script"),
    ],
    ids=["price", "provider", "templates", "script"],
)
async def test_a_wrong_configuration_is_told_at_once(
    choice: ModelChoice, database: Database, noon: Callable[[], datetime], fault: dict[str, object], told: str
) -> None:
    wrong = replace(choice, **fault)
    with pytest.raises(ConfigError, match=told):
        async with open_language_model(wrong, database, clean=str, answers={}, now=noon):
            pass


async def test_a_limit_of_money_is_fine_where_prices_are_known(
    choice: ModelChoice, database: Database, noon: Callable[[], datetime]
) -> None:
    priced = replace(choice, limits=Limits(dollars=1.0), prices={"demo": Price(0.1, 0.4)})
    async with open_language_model(priced, database, clean=str, answers={}, now=noon) as (model, _):
        await model.ask("w", "judge", question(), Verdict)
        today = await model.budget.today()
    assert today["limits"] == [{"name": "dollars", "spent": pytest.approx(0.000006, abs=2e-6), "limit": 1.0}]
