"""A language model's look at stored traces, from the outbox: how they ended, and what they teach.

Nobody waits for it, and nothing is lost where it fails: what the rules made stays, the row is tried again, and given up
in the open. What one trace teaches is written once, with what it replaces, in one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

from sqlalchemy import Connection

from reasoning_bank.errors import InputError, UpstreamError
from reasoning_bank.learning.answers import remember, remembered
from reasoning_bank.learning.distil import found_by
from reasoning_bank.learning.gate import evidence_of
from reasoning_bank.learning.intake import Examined, Intake
from reasoning_bank.learning.judge import is_sure
from reasoning_bank.learning.literals import generalised
from reasoning_bank.learning.prompting import (
    MAX_CONTRASTED,
    MAX_LESSONS,
    PROMPTS,
    Draft,
    Drafts,
    Prompt,
    PromptName,
    Verdict,
    material_of,
    told_run,
)
from reasoning_bank.learning.replacement import give_way
from reasoning_bank.learning.work import looked_at
from reasoning_bank.llm.model import Answered, LanguageModel
from reasoning_bank.records import (
    ErrorContext,
    Judgement,
    MemoryItem,
    NewTrace,
    StoredMemory,
    StoreResult,
    Trace,
)
from reasoning_bank.storage import judgements, lineage, traces
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.outbox import OutboxRow
from reasoning_bank.storage.rejections import Rejection

Compress = Callable[[str, str, int], Awaitable[str]]
"""Shortens a text to so many tokens, keeping what has to do with a question: (text, question, most tokens)."""

MATERIAL_TOKENS: Final = 6_000
"""Most tokens of runs in one question."""
MOST_RUNS: Final = 4
_AT_ONCE: Final = 4
_MOST_CONFIDENT: Final = 0.8
"""Models are surer than they are right: the judge of ReasoningBank (arXiv 2509.25140) was right in 73 of 100."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A trace with the outcome it is known to have, and what happened as a model reads it."""

    trace_id: str
    report: NewTrace
    told: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a trace begins with.

    Attributes:
        judgement: how it ended as judged before, where nobody reported it.
        others: runs of the same task whose ends are known.
    """

    trace: Trace
    key: str
    judgement: Judgement | None
    told: str
    others: tuple[_Run, ...]


class TraceDistiller:
    """Lets a language model judge and distil stored traces.

    Args:
        intake: what its items pass, like all others.
        compress: shortens runs to `material_tokens` together.
        new_work: called after something was stored that others have to work on.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        model: LanguageModel,
        *,
        compress: Compress,
        material_tokens: int = MATERIAL_TOKENS,
        new_work: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._intake = intake
        self._model = model
        self._compress = compress
        self._material_tokens = material_tokens
        self._new_work = new_work

    async def handle(self, rows: Sequence[OutboxRow]) -> None:
        """Look at the traces of rows of kind DISTIL; those looked at before are passed over.

        Raises:
            UpstreamError: the model did not answer for one of them; all others are done.
        """
        begun = [await self._database.read(partial(_begun, row=row)) for row in rows]
        looks = [look for look in begun if look is not None]
        judged = await self._judged([look for look in looks if _is_open(look)])
        turns = asyncio.Semaphore(_AT_ONCE)

        async def learn(look: _Look) -> None:
            judgement = judged.get(look.trace.id, look.judgement)
            if isinstance(judgement, UpstreamError):
                raise judgement
            async with turns:
                await self._learn(look, judgement)

        results = await asyncio.gather(*map(learn, looks), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        # What is our fault is told before what will pass.
        for error in sorted(errors, key=lambda error: isinstance(error, UpstreamError)):
            raise error

    async def _learn(self, look: _Look, judgement: Judgement | None) -> None:
        workspace, ended = look.trace.workspace, _ended(look.trace.report, judgement)
        others = [other for other in look.others if _differs(other.report, ended)]
        asked = PROMPTS[_prompt_for(ended, contrasts=bool(others))]
        material = await self._material([_Run(look.trace.id, ended, look.told), *others])
        answered = await self._model.ask(workspace, "distil", asked.request(material), Drafts)
        drafts = _items(answered.value, ended, contrasts=bool(others), made_by=_made_by(answered.by, asked))
        evidence = [ended, *(other.report for other in others)]
        examined = await self._database.read(lambda _: self._examined(workspace, drafts, evidence))
        sources = [other.trace_id for other in others]
        await self._database.write(lambda c: self._finish(c, look, judgement, examined, sources))
        self._new_work()

    async def _judged(self, looks: Sequence[_Look]) -> dict[str, Judgement | UpstreamError]:
        """How each trace ended, by its id, or why no model said so; the small ones of a workspace share a question."""
        asked = PROMPTS["judge"]
        judged: dict[str, Judgement | UpstreamError] = {}
        for workspace in dict.fromkeys(look.trace.workspace for look in looks):
            its = [look for look in looks if look.trace.workspace == workspace]
            runs = [[_Run(look.trace.id, look.trace.report, look.told)] for look in its]
            requests = [asked.request(await self._material(run)) for run in runs]
            answers = await self._model.ask_many(workspace, "judge", requests, Verdict)
            judged |= {look.trace.id: _verdict(answer, asked) for look, answer in zip(its, answers, strict=True)}
        return judged

    async def _material(self, runs: "Sequence[_Run]") -> str:
        share = self._material_tokens // len(runs)
        told = [await self._compress(run.told, run.report.task, share) for run in runs]
        return material_of([(run.report, short) for run, short in zip(runs, told, strict=True)])

    def _examined(self, workspace: str, drafts: Sequence[MemoryItem], seen: Sequence[NewTrace]) -> Examined:
        """The drafts after redaction and gate; one that cannot be kept at all is refused, and the others stay."""
        admitted: list[MemoryItem] = []
        refused: list[Rejection] = []
        for draft in drafts:
            try:
                admitted += self._intake.admit_items(workspace, [draft])
            except InputError as error:
                refused.append(Rejection(generalised(draft.title)[:80], f"not storable: {error}", draft.made_by))
        examined = self._intake.examine(workspace, admitted, evidence_of(seen))
        return replace(examined, refused=(*refused, *examined.refused))

    def _finish(
        self,
        connection: Connection,
        look: _Look,
        judgement: Judgement | None,
        examined: Examined,
        sources: Sequence[str],
    ) -> None:
        """Write what came of a look, unless it was written before or the assistant has sent its own meanwhile."""
        trace, now = look.trace, self._intake.now()
        answer = remembered(connection, trace.workspace, look.key)
        fresh_look = traces.claim_key(connection, trace.workspace, looked_at(trace.id), "", trace.id, now=now)
        if answer is None or not fresh_look or answer.distillation == "client":
            return
        if judgement and judgement != look.judgement:
            judgements.put(connection, trace.workspace, trace.id, judgement, now=now)
        stored = self._intake.keep(connection, trace.workspace, trace.id, examined)
        for memory in stored:
            if memory.action == "created" and memory.id:
                lineage.add_sources(connection, trace.workspace, memory.id, sources, now)
        finished = replace(answer, queued=False, judgement=judgement)
        remember(connection, trace.workspace, self._replaced(connection, trace, finished, stored))

    def _replaced(
        self, connection: Connection, trace: Trace, answer: StoreResult, stored: Sequence[StoredMemory]
    ) -> StoreResult:
        """The answer with the model's memories, which supersede those of the rules that nobody has rated."""
        if not any(memory.action in {"created", "merged"} for memory in stored):
            return replace(answer, memories=(*answer.memories, *stored))
        gone = give_way(connection, trace.workspace, trace.id, stored, now=self._intake.now())
        gone += [memory.id for memory in stored if memory.id]
        kept = [memory for memory in answer.memories if memory.id not in gone]
        return replace(answer, memories=(*stored, *kept), distillation="llm", distil_request=None)


def _begun(connection: Connection, row: OutboxRow) -> _Look | None:
    """What a look begins with, or None where there is nothing to do any more."""
    payload = cast("Mapping[str, str]", row.payload)
    workspace, trace_id, key = row.workspace, payload["trace_id"], payload["key"]
    answer = remembered(connection, workspace, key)
    trace = traces.by_id(connection, workspace, trace_id)
    done = traces.find_key(connection, workspace, looked_at(trace_id))
    if trace is None or answer is None or done is not None or answer.distillation == "client":
        return None
    if not (told := told_run(trace.report)):
        return None
    same = traces.same_task(connection, workspace, trace, limit=MOST_RUNS - 1)
    judged = judgements.of_traces(connection, workspace, [trace_id, *(other.id for other in same)])
    others = [(other, _ended(other.report, judged.get(other.id))) for other in same]
    return _Look(
        trace=trace,
        key=key,
        judgement=judged.get(trace_id),
        told=told,
        others=tuple(
            _Run(other.id, ended, run)
            for other, ended in others
            if ended.outcome != "unknown" and (run := told_run(ended))
        ),
    )


def _is_open(look: _Look) -> bool:
    return look.trace.report.outcome == "unknown" and not is_sure(look.judgement)


def _verdict(answer: Answered[Verdict] | UpstreamError, asked: Prompt) -> Judgement | UpstreamError:
    if isinstance(answer, UpstreamError):
        return answer
    said = answer.value
    return Judgement(said.outcome, said.reason, min(said.confidence, _MOST_CONFIDENT), _made_by(answer.by, asked))


def _ended(report: NewTrace, judgement: Judgement | None) -> NewTrace:
    sure = judgement if report.outcome == "unknown" and is_sure(judgement) else None
    return replace(report, outcome=sure.outcome) if sure else report


def _differs(other: NewTrace, ended: NewTrace) -> bool:
    return ended.outcome != "unknown" and (other.outcome == "failure") != (ended.outcome == "failure")


def _prompt_for(ended: NewTrace, *, contrasts: bool) -> PromptName:
    if contrasts:
        return "contrast"
    return "distil_failure" if ended.outcome == "failure" else "distil_success"


def _made_by(answered_by: str, asked: Prompt) -> str:
    """Who made it: a model with the words it was asked in, from now or from before; or a template."""
    if answered_by.startswith("template:"):
        return answered_by
    return f"llm:{answered_by.partition(':')[2]} {asked.made}"


def _items(drafts: Drafts, ended: NewTrace, *, contrasts: bool, made_by: str) -> list[MemoryItem]:
    """The model's lessons as items; of a contrast, each has the outcome of the runs it speaks of."""
    most = MAX_CONTRASTED if contrasts else MAX_LESSONS
    items = [_item(draft, ended, made_by, position) for position, draft in enumerate(drafts.memories[:most])]
    if contrasts:
        return [replace(item, outcome="failure" if item.error_context else "success") for item in items]
    return items


def _item(draft: Draft, ended: NewTrace, made_by: str, position: int) -> MemoryItem:
    title, description = generalised(draft.title.strip()), generalised(draft.description.strip())
    context = draft.error_context
    pitfall = ErrorContext(**context.model_dump()) if context and context.failure_pattern.strip() else None
    return MemoryItem(
        text=found_by(title, description, ended.task),
        title=title,
        description=description,
        content=draft.content.strip(),
        tags=ended.tags,
        domain=ended.domain,
        outcome=ended.outcome,
        error_context=pitfall,
        position=position,
        actor=ended.actor,
        time=ended.time,
        origin="llm",
        made_by=made_by,
    )
