"""The short version of `make soak`: a thousand mixed requests, after which a server holds what it held before."""

from pathlib import Path

import pytest

from tests.soak.soaking import Load, growth, not_flat, soak

ALLOWED = {"descriptors": 4, "threads": 16, "tasks": 2}
"""More at the end than after the first wave. Threads of a pool end when they were idle for a while."""
SLOPES = {"rss_kb": 15_000, "blocks": 30_000}
"""Growth per 1,000 requests in the second half: 4,300 and 12,000 while metrics and caches are still being filled. `make
soak` holds longer runs to less."""


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_thousand_mixed_requests_leave_nothing_behind(tmp_path: Path) -> None:
    report = await soak(tmp_path, Load("http", 1_000, clients=16, waves=5, backend="hashing", pool=40))
    assert report["problems"] == []
    assert report["requests"] == 1_000
    grown = {name: report["growth"][name]["last"] - report["growth"][name]["first"] for name in ALLOWED}
    assert {name: by for name, by in grown.items() if by > ALLOWED[name]} == {}
    assert not_flat(report, SLOPES) == []


def test_growth_is_told_from_noise() -> None:
    steady = [(number, 500 + number % 3) for number in range(30)]
    growing = [(number, 500 + number + number % 3) for number in range(30)]
    filling_first = [(number, min(100 * number, 900)) for number in range(30)]
    assert growth(steady)["per_1000"] == 0
    assert growth(growing)["per_1000"] == pytest.approx(1_000, rel=0.05)
    assert growth(filling_first)["per_1000"] == 0
