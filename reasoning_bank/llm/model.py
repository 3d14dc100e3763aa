"""What the rest of the bank asks: an answer of a given shape, from a template, from before, or from a model."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import BaseModel

from reasoning_bank.cache.flight import SingleFlight
from reasoning_bank.errors import BudgetSpentError, UpstreamError
from reasoning_bank.llm import batching
from reasoning_bank.llm.budget import Budget
from reasoning_bank.llm.exchange import Message, ModelRequest, Purpose, Reply
from reasoning_bank.llm.response_cache import ResponseCache, cache_key
from reasoning_bank.llm.routing import Routes, Target
from reasoning_bank.llm.structured import Refusals, asked_as, repair_of, schema_of, validated
from reasoning_bank.llm.templates import Templates
from reasoning_bank.records import JsonValue
from reasoning_bank.storage.llm_usage import Usage

T = TypeVar("T", bound=BaseModel)

TEMPLATE_CONFIDENCE: Final = 0.8
"""A template less sure than this leaves the question to a model."""
_REFUSED: Final = {400, 404, 422}
"""The server does not take the request as it is: 404 where a router has no server for one of its parameters."""


_OUTAGE_S: Final = 60.0
"""Wait after which a server that could not be reached is worth another question."""


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
    """Answers questions of given shapes: by a template, else as it was answered before, else by a model.

    Args:
        routes: whom to ask for each purpose, in order; of another only where the one before did not answer.
        budget: counts, and says when a day is spent.
        templates: known cases.
        cache: answers from before; None: none are kept.
        clean: takes secrets out of each text that goes to a model or comes from one.
        timeout_s: longest wait for one answer of one model, retries included.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        budget: Budget,
        templates: Templates,
        cache: ResponseCache | None,
        clean: Callable[[str], str],
        timeout_s: float = 120.0,
    ) -> None:
        self._routes = routes
        self.budget = budget
        self._templates = templates
        self.cache = cache
        self._clean = clean
        self._timeout_s = timeout_s
        self._refusals = Refusals()
        self._flights = SingleFlight[Answered[Any]]()
        self._counts = Counter[str]()

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
        known = await self._known(workspace, purpose, answer, material)
        return known or await self._asked(self._question(workspace, purpose, request, answer))

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

        Those with the same instructions (system turn) and one user turn share calls; what such a call leaves
        unanswered is asked alone.

        Args:
            workspace: as in `ask`, like all others.
            purpose: one for all.
            requests: any number; large ones are asked alone.
            answer: what each answer must be.
            materials: for each request what templates look at; empty: ask none.
        """
        questions = [self._question(workspace, purpose, request, answer) for request in requests]
        found: dict[int, Answered[T] | UpstreamError] = {}
        for place, question in enumerate(questions):
            known = await self._known(workspace, purpose, answer, materials[place] if materials else None)
            if known := known or await self._kept(self._routes[purpose][0], question):
                found[place] = known
        left = [place for place in range(len(requests)) if place not in found]
        for batch in batching.batches(requests, left):
            found |= await self._batched(questions[batch.places[0]], batch)
        for place in left:
            if place not in found:
                found[place] = await self._alone(questions[place])
        return [found[place] for place in range(len(requests))]

    async def statistics(self, workspace: str | None = None) -> dict[str, JsonValue]:
        """Return what today took and how much its limits hold; of all workspaces also what this process knows.

        Args:
            workspace: only its own figures; None: those of all, and of this process.
        """
        today = await self.budget.today(workspace)
        if workspace is not None:
            return {"today": today}
        cache = await self.cache.statistics() if self.cache else None
        return {
            "today": today,
            "models": {purpose: [target.name for target in targets] for purpose, targets in self._routes.items()},
            "cache": cache,
            "asked_as": dict(self._refusals.learned()),
            "shared": self._flights.shared,
            **{name: self._counts[name] for name in ("repairs", "fallbacks", "batches", "asked_alone")},
        }

    def _question(
        self,
        workspace: str,
        purpose: Purpose,
        request: ModelRequest,
        answer: type[T],
        shape: type[BaseModel] | None = None,
    ) -> "_Question[T]":
        messages = tuple(Message(message.role, self._clean(message.text)) for message in request.messages)
        schema = schema_of(shape or answer)
        return _Question(
            workspace, purpose, replace(request, messages=messages, schema=schema, purpose=purpose), answer
        )

    async def _known(
        self, workspace: str, purpose: Purpose, answer: type[T], material: str | None
    ) -> Answered[T] | None:
        found = self._templates.match(purpose, material) if material else None
        if found is None or found.confidence < TEMPLATE_CONFIDENCE:
            return None
        by = f"template:{found.name}"
        await self.budget.count(workspace, purpose, by, Usage(from_templates=1))
        return Answered(answer.model_validate(found.offered(answer)), by)

    async def _asked(self, question: "_Question[T]") -> Answered[T]:
        """The answer of the first model of the route that has one."""
        errors: dict[str, UpstreamError] = {}
        for target in self._routes[question.purpose]:
            try:
                answered = await self._answer_of(target, question)
            except UpstreamError as error:
                errors[target.name] = error
            else:
                self._counts["fallbacks"] += bool(errors)
                return replace(answered, attempts=answered.attempts + _attempts(errors))
        raise _failure(errors)

    async def _answer_of(self, target: Target, question: "_Question[T]") -> Answered[T]:
        key = cache_key(target, question.request)
        if key is None:
            return await self._model_answer(target, question)
        flight = (question.workspace, key, question.answer)
        return await self._flights.do(flight, lambda: self._kept_or_asked(target, question, key))

    async def _kept_or_asked(self, target: Target, question: "_Question[T]", key: str) -> Answered[T]:
        if kept := await self._kept(target, question):
            return kept
        answered = await self._model_answer(target, question)
        if self.cache:
            await self.cache.put(question.workspace, key, answered.value)
        return answered

    async def _kept(self, target: Target, question: "_Question[T]") -> Answered[T] | None:
        key = cache_key(target, question.request)
        if self.cache is None or key is None:
            return None
        value = await self.cache.get(question.workspace, key, question.answer)
        if value is None:
            return None
        await self.budget.count(question.workspace, question.purpose, target.name, Usage(from_cache=1))
        return Answered(value, f"cache:{target.model}")

    async def _model_answer(self, target: Target, question: "_Question[T]") -> Answered[T]:
        """What a model answers, after one chance to repair it."""
        request, reply, attempts = await self._taken(target, question)
        try:
            value = validated(_whole(reply), question.answer, self._clean)
        except ValueError as problem:
            self._counts["repairs"] += 1
            repaired = await self._call(target, question, repair_of(request, self._clean(reply.text), str(problem)))
            attempts += repaired.attempts
            value = self._repaired(repaired, question.answer, attempts)
        return Answered(value, f"llm:{target.model}", attempts)

    def _repaired(self, reply: Reply, answer: type[T], attempts: int) -> T:
        try:
            return validated(_whole(reply), answer, self._clean)
        except ValueError as problem:
            raise _UnusableError(
                f"its answer does not fit, even after a hint: {problem}", attempts=attempts
            ) from problem

    async def _taken(self, target: Target, question: "_Question[T]") -> tuple[ModelRequest, Reply, int]:
        """The strictest form of a request that the model takes, its reply, and the requests it took."""
        schema = cast("Mapping[str, JsonValue]", question.request.schema)
        attempts = 0
        *others, last = self._refusals.rungs(target.name)
        for rung in others:
            request = asked_as(question.request, rung, schema)
            try:
                reply = await self._call(target, question, request)
            except UpstreamError as error:
                if error.status not in _REFUSED:
                    raise
                attempts += error.attempts
            else:
                self._refusals.worked(target.name, rung)
                return request, reply, attempts + reply.attempts
        request = asked_as(question.request, last, schema)
        reply = await self._call(target, question, request)
        self._refusals.worked(target.name, last)
        return request, reply, attempts + reply.attempts

    async def _call(self, target: Target, question: "_Question[T]", request: ModelRequest) -> Reply:
        async with self.budget.reserved(question.workspace, question.purpose, target, request) as receipt:
            reply = receipt.reply = await target.client.complete(request, model=target.model, timeout_s=self._timeout_s)
        return reply

    async def _batched(self, first: "_Question[T]", batch: batching.Batch) -> dict[int, Answered[T] | UpstreamError]:
        """The answers to the questions of a batch by place; those it left open are not in it."""
        self._counts["batches"] += 1
        shape = batching.NumberedAnswers[first.answer]
        question = self._question(first.workspace, first.purpose, batch.request, batching.Loose, shape)
        try:
            answered = await self._asked(question)
        except _UnusableError:
            return {}
        except UpstreamError as error:
            return dict.fromkeys(batch.places, error)
        valid = batching.taken_apart(answered.value, batch, first.answer)
        return {place: Answered(value, answered.by, answered.attempts) for place, value in valid.items()}

    async def _alone(self, question: "_Question[T]") -> Answered[T] | UpstreamError:
        self._counts["asked_alone"] += 1
        try:
            return await self._asked(question)
        except UpstreamError as error:
            return error


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    """A request as it leaves: clean, with its shape and purpose."""

    workspace: str
    purpose: Purpose
    request: ModelRequest
    answer: type[T]


class _UnusableError(UpstreamError):
    """A model answered, and the answer is of no use."""


def _whole(reply: Reply) -> str:
    if reply.finish == "refusal":
        raise _UnusableError("it refused to answer", attempts=reply.attempts)
    if reply.finish == "length":
        raise _UnusableError(f"its answer was cut after {reply.usage.output} tokens", attempts=reply.attempts)
    return reply.text


def _attempts(errors: Mapping[str, UpstreamError]) -> int:
    return sum(error.attempts for error in errors.values())


def _is_outage(error: UpstreamError) -> bool:
    return error.status is None or error.status in {408, 429} or error.status >= 500


def _failure(errors: Mapping[str, UpstreamError]) -> UpstreamError:
    """One error for all models that were asked, of the kind that says most about what to do."""
    kinds = (BudgetSpentError, _UnusableError)
    kind = next((kind for kind in kinds if any(isinstance(error, kind) for error in errors.values())), UpstreamError)
    waits = [error.retry_after_s for error in errors.values() if error.retry_after_s is not None]
    # Nobody there, or a server in trouble: that passes, and says nothing against the question.
    outage = kind is UpstreamError and all(_is_outage(error) for error in errors.values())
    return kind(
        "; ".join(f"{name}: {error}" for name, error in errors.items()),
        retry_after_s=min(waits, default=_OUTAGE_S if outage else None),
        attempts=_attempts(errors),
    )
