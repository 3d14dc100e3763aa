"""Every claim measured for real in small banks, and what becomes of one that cannot be measured."""

import math
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from reasoning_bank.assets import Assets
from reasoning_bank.cli.opened import OpenBank, open_bank
from reasoning_bank.embeddings.embedder import Embedder
from reasoning_bank.embeddings.hashing import HashingEmbedder
from reasoning_bank.embeddings.onnx import OnnxEmbedder
from reasoning_bank.errors import UpstreamError
from reasoning_bank.evaluation.bench.claims import CLAIMS, measured
from reasoning_bank.evaluation.bench.prompting import SAVED, packaged_prompt
from reasoning_bank.evaluation.bench.rows import Measured, compared, paired
from reasoning_bank.evaluation.bench.searching import retrieval, zipf
from reasoning_bank.evaluation.bench.workbench import Scale, Workbench
from reasoning_bank.settings import load_settings

TINY = Scale(rounds=2, few=1, largest=60, memories=60, embedded=40)
CLAIM = {claim.name: claim for claim in CLAIMS}
WITH_TOKENS = {f"compression_{name}" for name in SAVED}
OF_A_SIZE = {"retrieval_1k", "retrieval_10k", "retrieval_100k"}


def opened(directory: Path, groups: Mapping[str, object]) -> AbstractContextManager[OpenBank]:
    """A bank whose embedder needs no weights."""
    return open_bank(load_settings(None, data_dir=directory, **{**groups, "embeddings": {"backend": "hashing"}}))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[Workbench]:
    directory = tmp_path_factory.mktemp("bench")
    with Workbench(
        open_bank=opened, embedder=HashingEmbedder, assets=directory / "none", directory=directory, scale=TINY
    ) as workbench:
        yield workbench


def figures(name: str, bench: Workbench) -> Measured:
    row = measured(CLAIM[name], bench)
    assert row.skipped == ""
    assert row.measured is not None
    return row.measured


@pytest.mark.parametrize("name", [name for name in CLAIM if name not in WITH_TOKENS | OF_A_SIZE])
def test_a_claim_is_measured_both_ways(bench: Workbench, name: str) -> None:
    found = figures(name, bench)
    assert found.before > 0
    assert found.after > 0
    assert found.low <= found.ratio <= found.high


def test_what_is_cached_is_faster_and_what_runs_at_once_ends_sooner(bench: Workbench) -> None:
    """Not by how much: these are factors of four and more."""
    assert figures("cache_read", bench).low > 1
    assert figures("parallel_steps", bench).low > 1


def test_a_client_that_repeats_each_task_ten_times_is_mostly_answered_without_work(bench: Workbench) -> None:
    found = figures("repeated_calls", bench)
    assert found.before == 100
    assert found.after >= 10
    assert found.figures["saved"] > 0.7, "an answer that came without its vectors in time is not given again"


def test_searches_are_measured_beside_the_least_they_could_do(bench: Workbench) -> None:
    found = retrieval(60)(bench)
    assert found.figures["searches"] == 16
    assert found.figures["p50_ms"] <= found.figures["p95_ms"]


def test_a_size_above_the_scale_says_so(bench: Workbench) -> None:
    row = measured(CLAIM["retrieval_100k"], bench)
    assert row.measured is None
    assert row.skipped == "this scale stops at 60 memories"


def test_a_row_without_its_weights_says_what_to_install(tmp_path: Path) -> None:
    def missing() -> Embedder:
        return OnnxEmbedder(assets=Assets(tmp_path, allow_download=False))

    with Workbench(open_bank=opened, embedder=missing, assets=tmp_path, directory=tmp_path, scale=TINY) as bench:
        for name in ("batch_8", "compression_simple"):
            row = measured(CLAIM[name], bench)
            assert row.measured is None
            assert "reasoning-bank assets install" in row.skipped


def test_what_does_not_work_is_no_row_that_was_skipped(bench: Workbench) -> None:
    def broken(_bench: Workbench) -> Measured:
        raise UpstreamError("no server answers any more")

    with pytest.raises(UpstreamError):
        measured(replace(CLAIM["pooling"], measure=broken), bench)


def test_the_packaged_prompts_are_of_three_sizes() -> None:
    assert [len(packaged_prompt(name)) // 1_000 for name in SAVED] == [1, 7, 26]


def test_names_of_claims_are_unique() -> None:
    assert [name for name, count in Counter(claim.name for claim in CLAIMS).items() if count > 1] == []


def test_both_ways_are_measured_in_turn_and_who_begins_changes() -> None:
    order: list[str] = []

    def way(name: str, cost: float) -> float:
        order.append(name)
        return cost

    found = paired(lambda: way("without", 6.0), lambda: way("with", 2.0), rounds=3)
    assert order == ["with", "without", "without", "with", "with", "without"]
    assert (found.before, found.after, found.ratio, found.n) == (6.0, 2.0, 3.0, 3)


def test_the_interval_holds_the_median_of_the_ratios() -> None:
    """Of 20 draws the 6th and the 15th hold the true median with 95.9 %, the 7th and the 14th with less than 95 %."""
    found = compared([float(n) for n in range(1, 21)], [1.0] * 20, unit="ms")
    assert (found.low, found.ratio, found.high) == (6.0, 10.5, 15.0)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_of_few_rounds_the_interval_is_all_of_them(n: int) -> None:
    found = compared([float(each) for each in range(1, n + 1)], [1.0] * n, unit="ms")
    assert (found.low, found.high) == (1.0, float(n))


def test_traffic_by_zipfs_law_asks_the_first_question_as_often_as_the_law_says() -> None:
    names = [str(number) for number in range(10)]
    stream = Counter(zipf(names, 10_000, seed=1))
    share = 1 / sum(1 / place for place in range(1, 11))
    assert math.isclose(stream["0"] / 10_000, share, abs_tol=0.02)
    assert zipf(names, 50, seed=2) == zipf(names, 50, seed=2)
