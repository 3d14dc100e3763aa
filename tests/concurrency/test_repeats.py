"""Repeated identical calls: what counts as one, and what is told about it."""

import logging

import pytest

from reasoning_bank.concurrency.repeats import RepeatedCalls


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_third_identical_call_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = RepeatedCalls()
    with caplog.at_level(logging.WARNING):
        counts = [calls.note("claude/1", "get_memory", {"ids": ["m_1"]}, "a memory") for _ in range(5)]
    assert counts == [1, 2, 3, 4, 5]
    (line,) = caplog.messages
    assert line.startswith("claude/1 asked get_memory the same 3 times within 60 s")


def test_a_client_that_repeats_many_calls_is_told_of_once_a_window(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    calls = RepeatedCalls(timer=clock)
    with caplog.at_level(logging.WARNING):
        for minute in (0, 61):
            clock.now = minute
            for number in range(12):
                calls.note("claude/1", "get_memory", {"ids": [number % 4]}, "a memory")
    assert len(caplog.messages) == 2


def test_another_client_tool_argument_or_answer_is_another_call() -> None:
    calls = RepeatedCalls()
    calls.note("a", "retrieve_memory", {"task": "x", "k": 3}, "nothing")
    assert calls.note("b", "retrieve_memory", {"task": "x", "k": 3}, "nothing") == 1
    assert calls.note("a", "get_memory", {"task": "x", "k": 3}, "nothing") == 1
    assert calls.note("a", "retrieve_memory", {"task": "x", "k": 4}, "nothing") == 1
    assert calls.note("a", "retrieve_memory", {"task": "x", "k": 3}, "something was stored meanwhile") == 1
    assert calls.note("a", "retrieve_memory", {"k": 3, "task": "x"}, "nothing") == 2


def test_the_window_begins_with_the_first_call() -> None:
    clock = Clock()
    calls = RepeatedCalls(window_s=60, timer=clock)
    calls.note("a", "get_memory", {}, "")
    clock.now = 59
    assert calls.note("a", "get_memory", {}, "") == 2
    clock.now = 61
    assert calls.note("a", "get_memory", {}, "") == 1


def test_it_remembers_no_more_calls_than_it_may() -> None:
    calls = RepeatedCalls(most=2)
    for number in range(3):
        calls.note("a", "get_memory", {"ids": [number]}, "")
    assert calls.note("a", "get_memory", {"ids": [0]}, "") == 1
    assert calls.note("a", "get_memory", {"ids": [2]}, "") == 2
