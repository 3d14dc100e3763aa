"""What the surface costs a model in tokens, counted with o200k_base as the issue asks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from reasoning_bank.mcp.clipping import clip
from reasoning_bank.mcp.server import build_server, open_configured_bank
from reasoning_bank.mcp.tools import FULL
from reasoning_bank.settings import Settings, load_settings
from reasoning_bank.text.tokens import counter
from tests.mcp.speaking import LESSON, answer, text_of

SENTENCE = (
    "When the importer meets a csv file whose date column mixes formats, first sample two hundred rows, classify each "
    "value by its pattern, and only then choose a parser; log every row that no parser accepts with its line number. "
)
CHINESE = "当导入的文件包含多种日期格式时，先抽样两百行，按模式分类，然后再选择解析器。"
LESSONS = {
    "short": LESSON,
    "long": {"title": SENTENCE[:180], "description": SENTENCE * 2, "content": SENTENCE * 20},
    "chinese": {"title": CHINESE * 3, "description": CHINESE * 10, "content": CHINESE * 50},
}


@pytest.fixture(scope="session")
def count(assets_dir: Path) -> Callable[[str], int]:
    tokenizer = counter("o200k_base", assets_dir)
    tokenizer.count("load")
    if not tokenizer.exact:
        pytest.skip("the ranks of o200k_base are not installed (make install)")
    return tokenizer.count


@pytest.fixture
def counting(settings: Settings, assets_dir: Path) -> MCPServer[Any]:
    """The small real bank, with the real tokenizer and the default profile."""
    counted = load_settings(
        data_dir=settings.data_dir,
        assets_dir=assets_dir,
        durability="process",
        embeddings={"backend": "hashing"},
        vectors={"chroma_mode": "off"},
        learning={"consolidate": False},  # three lessons as alike as these would be brought together
    )
    return build_server(open_configured_bank(counted), counted)


def written(value: Any) -> str:
    """JSON with blanks, as hosts tend to write it: the dearer of the two usual ways."""
    return json.dumps(value, ensure_ascii=False)


async def test_the_tools_of_the_core_profile_cost_at_most_1500_tokens(
    counting: MCPServer[Any], count: Callable[[str], int], era: str
) -> None:
    async with Client(counting, mode=era) as client:
        listed = await client.list_tools()
    wire = listed.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert count(json.dumps(wire, ensure_ascii=False, separators=(",", ":"))) <= 1_500
    assert [tool.name for tool in listed.tools] == [
        "retrieve_memory", "store_trace", "rate_memory", "get_memory", "compress_prompt",
    ]  # fmt: skip


def test_no_text_about_the_server_is_cut_by_a_host(counting: MCPServer[Any]) -> None:
    """Claude Code cuts descriptions and instructions at 2 KB."""
    assert 0 < len((counting.instructions or "").encode()) <= 2_048
    for spec in FULL:
        assert 0 < len(spec.description.encode()) <= 2_048
        assert spec.annotations.model_dump(exclude_none=True).keys() >= {
            "read_only_hint", "destructive_hint", "idempotent_hint", "open_world_hint",
        }  # fmt: skip


@pytest.mark.parametrize("outcome", ["success", "failure"])
@pytest.mark.parametrize("length", list(LESSONS))
async def test_a_default_answer_costs_at_most_800_tokens_and_says_something(
    counting: MCPServer[Any], count: Callable[[str], int], length: str, outcome: str
) -> None:
    error = {"error_type": "ValueError", "failure_pattern": SENTENCE, "corrective_guidance": SENTENCE * 2}
    async with Client(counting) as client:
        for number in range(3):
            lesson: dict[str, Any] = {**LESSONS[length], "title": f"{number} {LESSONS[length]['title']}"}
            if outcome == "failure":
                lesson["error_context"] = error
            call = {"task": f"Import csv dates {number}", "outcome": outcome, "memories": [lesson]}
            told = await answer(client, "store_trace", **call)
            assert told["memories"][0]["action"] == "created", told["memories"]
        for detail in ("index", "full", "index"):  # the first is counted by estimate: the ranks are still loading
            search: dict[str, Any] = {"task": "Import csv dates 日期", "min_score": 0, "detail": detail}
            result = await client.call_tool("retrieve_memory", search)
            assert result.structured_content is not None
            assert len(result.structured_content["memories"]) == 3
            assert count(written(result.structured_content)) + count(text_of(result)) <= 800
            assert len(text_of(result)) > 60


async def test_a_memory_at_the_limit_does_not_make_later_answers_large(
    counting: MCPServer[Any], count: Callable[[str], int]
) -> None:
    huge = {"title": "Dates in csv files", "description": "For csv imports", "content": SENTENCE * 50}
    async with Client(counting) as client:
        told = await answer(client, "store_trace", task="csv dates", memories=[huge])
        assert told["memories"][0]["action"] == "created", told["memories"]
        search: dict[str, Any] = {"task": "csv dates", "detail": "full", "min_score": 0}
        result = await client.call_tool("retrieve_memory", search)
        assert count(written(result.structured_content)) + count(text_of(result)) <= 800
        whole = await answer(client, "retrieve_memory", token_budget=0, **search)
    assert whole["memories"][0]["content"] == huge["content"]


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("tokens", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("text", ["", "one", "one two three four five six seven", "x" * 10_000, "é " * 500])
def test_a_clipped_text_never_exceeds_its_tokens(text: str, tokens: int) -> None:
    cut = clip(text, tokens, lambda part: len(part.encode()))
    assert len(cut.encode()) <= tokens
    assert cut in {text, ""} or cut.endswith("…")


def test_what_fits_is_not_touched_and_megabytes_are_not_counted() -> None:
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return words(text)

    assert clip("one two", 2, count) == "one two"
    assert clip("word " * 1_000_000, 10, count).endswith("word…")
    assert max(counted) < 1_000
