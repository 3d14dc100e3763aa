"""The words for several lessons that say the same, by a language model, and kept only where they add nothing."""

import re
from collections.abc import Sequence

from reasoning_bank.errors import InputError
from reasoning_bank.learning.consolidation import MergeWords
from reasoning_bank.learning.gate import evidence_of, refusal
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.merging import Words
from reasoning_bank.learning.prompting import PROMPTS, Draft
from reasoning_bank.learning.similarity import lesson_of, opposed
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.privacy.suspicion import suspicion
from reasoning_bank.records import MemoryItem, NewTrace
from reasoning_bank.storage.database import Database


def merge_words(model: LanguageModel, intake: Intake, database: Database) -> MergeWords:
    """Returns what asks a model for merged words; None where its words cannot be kept.

    They pass redaction and the gate, with the lessons as all the evidence there is: no name and no number may be new.
    """

    async def write(workspace: str, items: Sequence[MemoryItem]) -> Words | None:
        asked = PROMPTS["merge"]
        answered = await model.ask(workspace, "merge", asked.request("\n\n".join(map(_told, items))), Draft)
        made_by = f"llm:{answered.by.partition(':')[2]} {asked.made}"
        draft, best = answered.value, items[0]
        item = MemoryItem(
            best.text,
            title=draft.title,
            description=draft.description,
            content=draft.content,
            origin="llm",
            made_by=made_by,
        )
        # Looked at where the database is read: rules are read from files, and texts may be long.
        return await database.read(lambda _: _checked(workspace, item, items, intake))

    return write


def _checked(workspace: str, item: MemoryItem, items: Sequence[MemoryItem], intake: Intake) -> Words | None:
    try:
        (kept,) = intake.admit_items(workspace, [item])
    except InputError:
        return None
    seen = NewTrace("", trajectory=[{"observation": _said(item)} for item in items])
    said = _said(kept)
    if refusal(kept, evidence_of([seen])) or suspicion(said):
        return None
    lesson = lesson_of(kept)
    if any(opposed(lesson, lesson_of(item)) for item in items):
        return None
    return Words(kept.title, kept.description, kept.content, kept.made_by or "")


def _said(item: MemoryItem) -> str:
    return f"{item.title}\n{item.description}\n{item.content or item.text}"


def _told(item: MemoryItem) -> str:
    sealed = re.sub(r"</?lesson\b", r"<\\lesson", _said(item), flags=re.IGNORECASE)
    return f"<lesson>\n{sealed}\n</lesson>"
