"""What learns from what comes in, at once and in the background, with and without language models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from reasoning_bank.background.worker import Handler
from reasoning_bank.compression.threaded import ThreadedCompressor
from reasoning_bank.learning.capture import KnowledgeCapturer
from reasoning_bank.learning.consolidation import Consolidator
from reasoning_bank.learning.distilling import Compress, TraceDistiller
from reasoning_bank.learning.editing import MemoryEditor
from reasoning_bank.learning.importing import TraceImporter
from reasoning_bank.learning.intake import Intake
from reasoning_bank.learning.judge import judged_by_rules, known_outputs
from reasoning_bank.learning.recall import RecentlyServed
from reasoning_bank.learning.recording import TraceRecorder
from reasoning_bank.learning.wording import merge_words
from reasoning_bank.learning.work import CONSOLIDATE, DISTIL
from reasoning_bank.llm.model import LanguageModel
from reasoning_bank.llm.templates import Templates
from reasoning_bank.opening.clockwork import Clockwork
from reasoning_bank.opening.privacy import limits_of
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.settings import Settings
from reasoning_bank.storage.database import Database


@dataclass(frozen=True, slots=True)
class Learning:
    """The doors through which words become memories, and the work they leave to the background.

    Attributes:
        served: what was given lately, so that its echo is not learned again.
        handlers: kind of background work to who does it.
    """

    recorder: TraceRecorder
    importer: TraceImporter
    capturer: KnowledgeCapturer
    editor: MemoryEditor
    served: RecentlyServed
    handlers: Mapping[str, Handler]


def learning(  # noqa: PLR0913 -- the rooms that learning stands on
    settings: Settings,
    database: Database,
    clock: Clockwork,
    *,
    redactor: Callable[[str], Redactor],
    known_cases: Templates,
    model: LanguageModel | None,
    compressor: ThreadedCompressor,
    wake: Callable[[], object],
) -> Learning:
    """What learns as the settings say.

    Args:
        known_cases: outputs whose meaning is known without a model.
        wake: called when new background work was queued.
    """
    limits, served = limits_of(settings), RecentlyServed()
    consolidates = settings.learning.consolidate
    intake = Intake(
        redactor=redactor,
        limits=limits,
        served=served,
        now=clock.now,
        new_id=clock.new_id,
        consolidates=consolidates,
    )
    judge = partial(judged_by_rules, template=known_outputs(known_cases))
    recorder = TraceRecorder(database, intake, judge=judge, asks_model=model is not None)
    handlers: dict[str, Handler] = {}
    if consolidates:
        words = merge_words(model, intake, database) if model is not None else None
        prune_above = settings.learning.prune_above
        consolidator = Consolidator(database, now=clock.now, prune_above=prune_above, words=words, woken=wake)
        handlers[CONSOLIDATE] = consolidator.handler
    if model is not None:
        distiller = TraceDistiller(database, intake, model, compress=_shortened(compressor), new_work=wake)
        handlers[DISTIL] = distiller.handle
    return Learning(
        recorder=recorder,
        importer=TraceImporter(
            database, redactor=redactor, limits=limits, now=clock.now, max_pending=settings.background.max_pending
        ),
        capturer=KnowledgeCapturer(database, recorder, intake),
        editor=MemoryEditor(database, redactor=redactor, limits=limits, now=clock.now),
        served=served,
        handlers=handlers,
    )


def _shortened(compressor: ThreadedCompressor) -> Compress:
    async def compress(text: str, question: str, most: int) -> str:
        return (await compressor.compress(text, query=question, max_tokens=most, ratio=1.0)).text

    return compress
