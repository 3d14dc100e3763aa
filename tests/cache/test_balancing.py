"""Sizes follow what would be saved, within the budget, and do not swing."""

import random
from collections.abc import Sequence
from itertools import pairwise

from reasoning_bank.cache.balancing import Balancer
from reasoning_bank.cache.memory import ENTRY_BYTES, MemoryCache

EACH = ENTRY_BYTES + 1_000
KEYS = 600


def cache_of(size: int, bytes_: int) -> MemoryCache[int]:
    return MemoryCache[int](size, max_bytes=bytes_, size_of=lambda held: 1_000 if isinstance(held, int) else 0)


def use(cache: MemoryCache[int], wanted: Sequence[int], *, cost_s: float = 0.01) -> None:
    for number in wanted:
        if cache.get(("w", number)) is None:
            cache.put(("w", number), number, cost_s=cost_s)


def zipf(rng: random.Random, count: int = 2_000) -> list[int]:
    return rng.choices(range(KEYS), weights=[1 / (rank + 1) for rank in range(KEYS)], k=count)


def bound(caches: dict[str, MemoryCache[int]]) -> int:
    return sum(each.get_statistics()["max_bytes"] or 0 for each in caches.values())


def rate(cache: MemoryCache[int], rng: random.Random) -> float:
    before = cache.get_statistics()
    use(cache, zipf(rng))
    after = cache.get_statistics()
    return (after["hits"] - before["hits"]) / (after["total_requests"] - before["total_requests"])


def test_a_cache_too_small_for_its_work_grows_and_an_idle_one_gives_its_bytes() -> None:
    rng = random.Random(3)
    caches = {"small": cache_of(50, 50 * EACH), "idle": cache_of(500, 500 * EACH)}
    budget = bound(caches)
    balancer = Balancer(caches, budget_bytes=budget)
    use(caches["small"], zipf(rng))
    before = rate(caches["small"], rng)
    for _ in range(20):
        use(caches["small"], zipf(rng))
        balancer.look()
        assert bound(caches) <= budget
        assert sum(each.get_statistics()["bytes"] for each in caches.values()) <= budget
    assert caches["small"].get_statistics()["max_size"] > 200
    assert rate(caches["small"], rng) > before + 0.1


def test_bytes_leave_a_cache_whose_hits_save_less_and_come_to_rest() -> None:
    rng = random.Random(3)
    caches = {"dear": cache_of(100, 100 * EACH), "cheap": cache_of(400, 400 * EACH)}
    budget = bound(caches)
    balancer = Balancer(caches, budget_bytes=budget)
    sizes: list[int] = []
    for _ in range(40):
        use(caches["dear"], zipf(rng), cost_s=1.0)
        use(caches["cheap"], zipf(rng), cost_s=0.0001)
        balancer.look()
        assert bound(caches) <= budget
        sizes.append(caches["dear"].get_statistics()["max_bytes"] or 0)
    assert sizes[-1] > 250 * EACH
    assert all(later > 0.9 * size for size, later in pairwise(sizes)), "it never swings back"
    assert max(sizes[-10:]) < 1.1 * min(sizes[-10:]), "it comes to rest"


def test_what_no_size_would_answer_and_what_happens_once_changes_nothing() -> None:
    scanned = cache_of(50, 1_000 * EACH)
    balancer = Balancer({"scanned": scanned}, budget_bytes=2_000 * EACH)
    for start in range(0, 4_000, 400):  # never the same key soon again
        use(scanned, range(start, start + 400))
        assert balancer.look() is None
    use(scanned, [*range(75), *range(75)])
    assert balancer.look() is None, "one burst is no habit"
    assert balancer.look() is None
    assert scanned.get_statistics()["max_size"] == 50
