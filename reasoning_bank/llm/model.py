"""What the rest of the bank asks: an answer of a given shape, from a template, from before, or from a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from reasoning_bank.errors import UpstreamError
from reasoning_bank.llm.exchange import ModelRequest, Purpose
from reasoning_bank.records import JsonValue

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer, and who gave it.

    Attributes:
        value: the answer, valid.
        by: "llm:MODEL", "cache:MODEL" or "template:NAME".
        attempts: requests it took; 0 without a model.
    """

    value: T
    by: str
    attempts: int = 0


class LanguageModel:
    """Answers questions of given shapes: by a template, else as it was answered before, else by a model."""

    async def ask(
        self, workspace: str, purpose: Purpose, request: ModelRequest, answer: type[T], *, material: str | None = None
    ) -> Answered[T]:
        """Return the answer to a request.

        Args:
            workspace: whose budget it is on; answers are kept apart by it.
            purpose: chooses the model, and the templates.
            request: instructions in the system turn, what they are about in the user's; its schema is set here.
            answer: what the answer must be; all its fields are asked for.
            material: the text that the question is about, without our words: what templates look at. None: ask none.

        Raises:
            BudgetSpentError: today's budget does not hold the call.
            UpstreamError: no model gave a usable answer; the text says who was asked and why each failed.
        """
        raise UpstreamError("no model is configured")

    async def ask_many(
        self,
        workspace: str,
        purpose: Purpose,
        requests: Sequence[ModelRequest],
        answer: type[T],
        *,
        materials: Sequence[str | None] = (),
    ) -> list[Answered[T] | UpstreamError]:
        """Return the answer to each of several small requests, or why there is none, in their order.

        Those with the same instructions (system turn) and one user turn share calls.

        Args:
            workspace: as in `ask`, like all others.
            purpose: one for all.
            requests: any number; large ones are asked alone.
            answer: what each answer must be.
            materials: for each request what templates look at; empty: ask none.
        """
        raise UpstreamError("no model is configured")

    def statistics(self) -> dict[str, JsonValue]:
        """Return counters of this process since it started."""
        return {}
