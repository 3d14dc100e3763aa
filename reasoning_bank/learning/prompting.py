"""What language models are asked about traces: our words in files with a version, the runs within a budget, answers.

A change of words is a change of version: each memory says by which it was made.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate
from typing import Final, Literal, get_args

from pydantic import BaseModel, Field

from reasoning_bank.learning.recall import own_steps
from reasoning_bank.learning.step import Step
from reasoning_bank.llm.exchange import Message, ModelRequest, Purpose
from reasoning_bank.records import NewTrace

PromptName = Literal["judge", "distil_success", "distil_failure", "contrast", "merge"]

MAX_LESSONS: Final = 3
MAX_CONTRASTED: Final = 5
ANSWER_TOKENS: Final = 1_500
_MOST_CHARACTERS: Final = 200_000
_PART_CHARACTERS: Final = 4_000
_TASK_CHARACTERS: Final = 4_000


class Verdict(BaseModel):
    """How a run ended, in a model's words."""

    outcome: Literal["success", "failure", "partial", "unknown"]
    reason: str = Field(max_length=1_000)
    confidence: float = Field(ge=0, le=1)


class DraftedContext(BaseModel):
    """How a failure shows and what to do instead, in a model's words."""

    error_type: str = ""
    failure_pattern: str = ""
    corrective_guidance: str = ""


class Draft(BaseModel):
    """One lesson in a model's words."""

    title: str = Field(min_length=1)
    description: str
    content: str = Field(min_length=1)
    error_context: DraftedContext | None = None


class Drafts(BaseModel):
    """The lessons of a trace in a model's words."""

    memories: list[Draft]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Words of ours with their version."""

    name: PromptName
    version: str
    text: str

    @property
    def made(self) -> str:
        """Name and version, as memories and judgements carry them."""
        return f"{self.name}/{self.version}"

    def request(self, material: str) -> ModelRequest:
        """Return the question about some runs, repeatable as far as the model is."""
        purpose: Purpose = self.name if self.name in ("judge", "merge") else "distil"
        return ModelRequest(
            messages=(Message("system", self.text), Message("user", material)),
            max_tokens=ANSWER_TOKENS,
            temperature=0.0,
            schema_name=self.name,
            purpose=purpose,
        )


def _read(name: PromptName) -> Prompt:
    text = files("reasoning_bank.learning").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    head, _, words = text.partition("\n\n")
    return Prompt(name, head.removeprefix("version:").strip(), words.strip())


PROMPTS: Final[Mapping[PromptName, Prompt]] = {name: _read(name) for name in get_args(PromptName)}
"""Our words by name, read once: they are asked for on the event loop."""


def told_run(report: NewTrace) -> str:
    """Return what happened, step by step, as a model reads it; long outputs keep both ends, long runs too."""
    parts = [_told(number, step) for number, step in enumerate(own_steps(report.trajectory), start=1)]
    if sum(map(len, parts)) <= _MOST_CHARACTERS:
        return "\n\n".join(parts)
    # How it began and what led to the end tell more than the middle.
    head = _fitting(parts, _MOST_CHARACTERS // 3)
    tail = _fitting(parts[: len(head) - 1 : -1] if head else parts[::-1], 2 * _MOST_CHARACTERS // 3)
    return "\n\n".join([*head, "[…]", *reversed(tail)])


def _fitting(parts: Sequence[str], characters: int) -> list[str]:
    """The first parts that fit together."""
    totals = accumulate(map(len, parts))
    return [part for part, total in zip(parts, totals, strict=True) if total <= characters]


def material_of(runs: Sequence[tuple[NewTrace, str]]) -> str:
    """Return the user's turn: the task, then each run with how it ended.

    Args:
        runs: of one task, each with the told run as far as the budget holds it.
    """
    task = _middle_cut(runs[0][0].task, _TASK_CHARACTERS)
    blocks = [f"<task>\n{_sealed(task)}\n</task>"]
    blocks += [f'<run outcome="{report.outcome}">\n{_sealed(told)}\n</run>' for report, told in runs]
    return "\n\n".join(blocks)


def _told(number: int, step: Step) -> str:
    failed = {True: " (failed)", False: " (succeeded)", None: ""}[step.failed]
    named = (("thought", step.thought), (f"did{failed}", step.action), ("saw", step.observation))
    said = [f"{name}: {_middle_cut(text, _PART_CHARACTERS)}" for name, text in named if text]
    return "\n".join([f"[{number}]", *said])


def _middle_cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 3]}\n[…]\n{text[-2 * limit // 3 :]}"


def _sealed(text: str) -> str:
    """The text without what would end its block early."""
    return re.sub(r"</?(task|run)\b", r"<\\\1", text, flags=re.IGNORECASE)
