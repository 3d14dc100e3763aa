"""What a conversation leaves behind: one question and its answer, kept as a memory when it is worth it.

It passes what all else passes: redaction, the gate, the quarantine. Only on request is kept what rules would not.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from reasoning_bank.learning.answers import digest
from reasoning_bank.learning.appraisal import Appraisal, appraise
from reasoning_bank.learning.distil import found_by, task_title
from reasoning_bank.learning.gate import evidence_of
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.literals import generalised
from reasoning_bank.learning.recording import TraceRecorder
from reasoning_bank.records import Captured, JsonValue, MemoryItem, NewTrace, Source
from reasoning_bank.storage import rejections
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.rejections import Rejection
from reasoning_bank.text.sanity import clean_text, required_text

MADE_BY: Final = "capture/1"
CAPTURE: Final = Source("capture")


class KnowledgeCapturer:
    """Keeps answers worth remembering; for worker threads.

    Args:
        recorder: stores what is kept, as a trace with one memory.
        intake: redacts.
    """

    def __init__(self, database: Database, recorder: TraceRecorder, intake: Intake) -> None:
        self._database = database
        self._recorder = recorder
        self._intake = intake

    def capture(
        self,
        workspace: str,
        question: str,
        answer: str,
        *,
        context: str = "",
        force: bool = False,
        source: Source = CAPTURE,
    ) -> Captured:
        """Keep an answer, or say why not; the same words again find what is there.

        Args:
            context: when it holds: the project, the version, the situation; found by, and served with it.
            force: keep it whatever it seems worth; it may still be quarantined.
            source: the client it came with.

        Raises:
            InputError: a text is empty, too long or cannot be stored; or the privacy mode blocks a secret in it.
        """
        required_text(answer, "answer")
        clean_text(context, "context")
        turns: list[JsonValue] = [_turn("user", question), _turn("assistant", answer)]
        report = self._intake.admit(workspace, NewTrace(question, "success", turns, metadata=_about(context)))
        (item,) = self._intake.admit_items(workspace, [_item(report.task, answer, context)])
        appraisal = Appraisal(1.0, "kept as asked") if force else appraise(question, answer)
        if not appraisal.is_worth_keeping:
            return self._refused(workspace, Rejection(item.title, appraisal.reason, MADE_BY), appraisal.score)
        examined = self._intake.examine(workspace, [item], evidence_of([report]), force=force)
        if examined.refused:
            return self._refused(workspace, examined.refused[0], appraisal.score)
        stored = self._recorder.record(
            workspace,
            report,
            drafts=[item],
            idempotency_key=f"capture-{digest([asdict(report), asdict(item)])[:40]}",
            source=replace(source, kind="capture"),
            force=force,
        )
        (memory,) = stored.memories
        return Captured(True, memory.reason or appraisal.reason, appraisal.score, stored.trace_id, memory)

    def _refused(self, workspace: str, refused: Rejection, score: float) -> Captured:
        now = self._intake.now()
        self._database.write_now(lambda c: rejections.add(c, workspace, None, [refused], now=now))
        return Captured(False, refused.reason, score)


def _item(question: str, answer: str, context: str) -> MemoryItem:
    where = " ".join(context.split())[:1_000]
    return MemoryItem(
        text=found_by("", where, question),
        title=generalised(task_title(question)),
        description=f"Answered in a conversation about {where}." if where else "Answered in a conversation.",
        content=answer.strip(),
        made_by=MADE_BY,
    )


def _turn(role: str, content: str) -> dict[str, JsonValue]:
    return {"role": role, "content": content}


def _about(context: str) -> Mapping[str, JsonValue]:
    return {"context": context} if context.strip() else {}
