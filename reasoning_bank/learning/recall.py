"""What a run was told by the bank itself: no evidence, and nothing to learn once more."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Final

from reasoning_bank.learning.similarity import Lesson, lesson_of, opposed
from reasoning_bank.learning.step import Step
from reasoning_bank.learning.steps import read_steps
from reasoning_bank.records import JsonValue, MemoryItem

ECHO_SHARE: Final = 0.6
"""Share of a text's runs of four words that one served memory must have for the text to be its echo."""
_RUN: Final = 4
_REMEMBERED: Final = 64
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
_RECALLING: Final = re.compile(
    r"\W?(?:\w{0,60}[._:-]{1,2})?(?:retrieve|search|get|recall|query|read|list|find)_?"
    r"(?:memor(?:y|ies)|knowledge|lessons?)\w{0,40}\b",
    re.IGNORECASE,
)


def own_steps(trajectory: JsonValue) -> list[Step]:
    """Return the steps of a run without those that only asked a memory: what came back was known before."""
    return [step for step in read_steps(trajectory) if not _RECALLING.match(step.tool or step.action)]


@dataclass(frozen=True)
class _Served:
    """A memory that was served; what it says is taken apart when something is compared with it, not while serving."""

    id: str
    item: MemoryItem

    @cached_property
    def runs(self) -> frozenset[str]:
        return _runs(_said(self.item))

    @cached_property
    def lesson(self) -> Lesson:
        return lesson_of(self.item)


class RecentlyServed:
    """The memories last served to each workspace by this process; thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._served: dict[str, deque[_Served]] = {}

    def note(self, workspace: str, served: Sequence[tuple[str, MemoryItem]]) -> None:
        """Remember memories, by id, that were just served."""
        new = [_Served(id_, item) for id_, item in served]
        with self._lock:
            self._served.setdefault(workspace, deque(maxlen=_REMEMBERED)).extend(new)

    def echoed(self, workspace: str, item: MemoryItem) -> str | None:
        """Return the id of the served memory that the item only repeats, or None.

        What says the opposite of a memory in its words is no echo of it: somebody found it wrong.
        """
        runs = _runs(_said(item))
        with self._lock:
            served = list(self._served.get(workspace, ()))
        if not runs:
            return None
        lesson = lesson_of(item)
        return next(
            (
                each.id
                for each in reversed(served)
                if len(runs & each.runs) >= ECHO_SHARE * len(runs) and not opposed(lesson, each.lesson)
            ),
            None,
        )


def _said(item: MemoryItem) -> str:
    return f"{item.description}\n{item.content}"


def _runs(text: str) -> frozenset[str]:
    words = [word.lower() for word in _WORD.findall(text)]
    return frozenset(" ".join(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1))
