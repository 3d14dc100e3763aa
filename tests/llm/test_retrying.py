"""When it is tried again, how long it waits, and when a server is left alone."""

from collections.abc import Awaitable, Callable

import pytest

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.breaker import CircuitBreaker
from reasoning_bank.llm.failures import AttemptError, Health, status_failure
from reasoning_bank.llm.retrying import Retrier, RetryBudget

from .conftest import HeldTime

WALL = 1_800_000_000.0


def failing(*errors: AttemptError | None) -> Callable[[float], Awaitable[str]]:
    """Fails with each error in turn; None is success."""
    left = list(errors)

    async def attempt(seconds: float) -> str:
        if error := left.pop(0):
            raise error
        return "done"

    return attempt


def passing(**options: float) -> AttemptError:
    return AttemptError("busy", passes=True, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("status", "passes", "health"),
    [
        (400, False, "well"),
        (401, False, "refused"),
        (403, False, "well"),
        (404, False, "well"),
        (408, True, "well"),
        (409, True, "well"),
        (422, False, "well"),
        (429, True, "unknown"),
        (500, True, "failure"),
        (529, True, "failure"),
    ],
)
def test_status_says_whether_to_try_again_and_how_the_server_is(status: int, passes: bool, health: Health) -> None:
    failure = status_failure(status, {}, "said", wall=WALL)
    assert (failure.passes, failure.health, failure.status) == (passes, health, status)


def test_server_may_say_itself_whether_to_try_again() -> None:
    assert status_failure(400, {"x-should-retry": "true"}, "said", wall=WALL).passes
    assert not status_failure(500, {"x-should-retry": "false"}, "said", wall=WALL).passes


async def test_waits_grow_by_chance_up_to_eight_seconds(held: HeldTime) -> None:
    errors = [passing() for _ in range(7)]
    retrier = Retrier(7, held.timing)
    assert await retrier.run(failing(*errors, None), timeout_s=100) == ("done", 8)
    assert retrier.retries == 7
    assert held.waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_wait_that_would_miss_the_deadline_is_not_begun(held: HeldTime) -> None:
    with pytest.raises(UpstreamError, match="busy") as caught:
        await Retrier(3, held.timing).run(failing(passing(retry_after_s=5)), timeout_s=5)
    assert (held.waits, caught.value.attempts, caught.value.retry_after_s) == ([], 1, 5)


async def test_stale_connection_is_tried_again_at_once_but_only_one_time(held: HeldTime) -> None:
    stale = AttemptError("gone", passes=True, stale=True)
    assert await Retrier(0, held.timing).run(failing(stale, None), timeout_s=5) == ("done", 2)
    with pytest.raises(UpstreamError, match=r"gone \(after 2 attempts\)"):
        await Retrier(0, held.timing).run(failing(stale, stale), timeout_s=5)
    assert held.waits == []


async def test_request_that_was_not_sent_is_no_attempt(held: HeldTime) -> None:
    refused = AttemptError("left alone", sent=False)
    with pytest.raises(UpstreamError, match="left alone") as caught:
        await Retrier(3, held.timing).run(failing(refused), timeout_s=5)
    assert caught.value.attempts == 0
    retrier = Retrier(3, held.timing)
    with pytest.raises(UpstreamError, match="busy") as caught:
        await retrier.run(failing(passing(), refused), timeout_s=5)
    assert (caught.value.attempts, retrier.retries) == (1, 0)


def test_budget_allows_a_share_of_the_calls_and_one_a_second(held: HeldTime) -> None:
    budget = RetryBudget(held.timing.monotonic)
    assert sum(budget.withdraw() for _ in range(50)) == 10
    for _ in range(30):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(50)) == 4
    held.at += 3
    assert sum(budget.withdraw() for _ in range(50)) == 3


@pytest.fixture
def breaker(held: HeldTime) -> CircuitBreaker:
    return CircuitBreaker(monotonic=held.timing.monotonic, jitter=lambda: 0.0)


def attempt(breaker: CircuitBreaker, health: Health = "well") -> bool:
    """Makes an attempt; returns whether it was let through."""
    error = None if health == "well" else AttemptError("HTTP 500", health=health)
    try:
        with breaker.attempt("the server"):
            if error:
                raise error
    except AttemptError as caught:
        return caught is error
    return True


def break_it(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        assert attempt(breaker, "failure")


def test_breaker_opens_at_half_of_ten_and_says_why(breaker: CircuitBreaker) -> None:
    for health in ("well", "failure") * 4:
        attempt(breaker, health)
    attempt(breaker, "well")
    assert breaker.state == "closed"
    attempt(breaker, "failure")
    assert breaker.state == "open"
    with pytest.raises(AttemptError, match="the server is left alone for 5 s after failures, the last: HTTP 500"):
        breaker.attempt("the server").__enter__()


def test_failures_of_long_ago_do_not_count(breaker: CircuitBreaker, held: HeldTime) -> None:
    for _ in range(9):
        attempt(breaker, "failure")
    held.at += 31
    attempt(breaker, "failure")
    assert breaker.state == "closed"


def test_one_probe_closes_it_or_doubles_its_patience(breaker: CircuitBreaker, held: HeldTime) -> None:
    break_it(breaker)
    for cooldown_s in (5, 10, 20, 40, 60, 60):
        held.at += cooldown_s - 0.1
        assert not attempt(breaker)
        held.at += 0.2
        assert breaker.state == "half_open"
        assert attempt(breaker, "failure")
    held.at += 61
    assert attempt(breaker)
    assert breaker.state == "closed"
    break_it(breaker)
    held.at += 5.1
    assert breaker.state == "half_open"


def test_only_one_probe_at_a_time_and_one_that_is_cancelled_frees_its_place(
    breaker: CircuitBreaker, held: HeldTime
) -> None:
    break_it(breaker)
    held.at += 6
    with pytest.raises(KeyboardInterrupt), breaker.attempt("the server"):
        assert not attempt(breaker)
        raise KeyboardInterrupt
    assert attempt(breaker)
    assert breaker.state == "closed"


def test_too_many_requests_are_no_failure_and_a_refused_key_opens_at_once(breaker: CircuitBreaker) -> None:
    for _ in range(30):
        attempt(breaker, "unknown")
    assert breaker.state == "closed"
    attempt(breaker, "refused")
    assert breaker.state == "open"
    with pytest.raises(AttemptError, match="for 60 s"):
        breaker.attempt("the server").__enter__()


def test_many_processes_do_not_come_back_in_the_same_instant(held: HeldTime) -> None:
    late = CircuitBreaker(monotonic=held.timing.monotonic, jitter=lambda: 1.0)
    break_it(late)
    held.at += 5.5
    assert late.state == "open"
    held.at += 0.6
    assert late.state == "half_open"
