"""A language model asked what it was asked before: calls that are made, and calls that reach a server."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from reasoning_bank.evaluation.bench.filling import WORKSPACE, lesson_row
from reasoning_bank.evaluation.bench.loopback import loopback
from reasoning_bank.evaluation.bench.rows import Measured, SkippedError, compared
from reasoning_bank.evaluation.bench.searching import QUESTIONS, REQUESTS, zipf
from reasoning_bank.evaluation.bench.workbench import Opened, Workbench
from reasoning_bank.llm.exchange import Message, ModelRequest

_THINKING_MS: Final = 1


class Advice(BaseModel):
    """What the model is asked for."""

    advice: str


def repeated_requests(bench: Workbench) -> Measured:
    """A stream in which few questions come often: requests against those that a server had to answer."""
    stream = zipf(bench.questions(QUESTIONS), REQUESTS, seed=0)
    with loopback() as url:
        opened = bench.empty_bank(
            "advised",
            llm={"model": "here:any", "providers": {"here": {"base_url": f"{url}/{_THINKING_MS}"}}},
        )
        # A bank that never stored anything reads its redaction rules with the first question, on the event loop.
        opened.call(opened.bank.store_many, WORKSPACE, [lesson_row(0)])
        asked = opened.call(_answered_by_a_model, opened, stream)
    return compared([len(stream)], [asked], unit="requests", figures={"saved": 1 - asked / len(stream)})


async def _answered_by_a_model(opened: Opened, questions: Sequence[str]) -> int:
    language = opened.bank.rooms.language
    if language is None:
        raise SkippedError("the bank was opened without a language model")
    answers = [
        await language.model.ask(WORKSPACE, "distil", ModelRequest(messages=(Message("user", question),)), Advice)
        for question in questions
    ]
    return sum(answer.by.startswith("llm:") for answer in answers)
