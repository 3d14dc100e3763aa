"""Several memories made one: which words stay, and what the survivor inherits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.learning.contradiction import reconsider
from reasoning_bank.learning.similarity import lesson_of
from reasoning_bank.learning.support import Support, support
from reasoning_bank.learning.trusting import review
from reasoning_bank.learning.work import CONSOLIDATE, EMBED, promise
from reasoning_bank.records import Counters, Memory, MemoryItem, Trust
from reasoning_bank.storage import history, lineage, memories, standing, traces
from reasoning_bank.storage.standing import lowest
from reasoning_bank.text.analyser import analyse, main_line
from reasoning_bank.text.fields import content_hash

GENERAL: Final = "generalise/1"
"""What made a memory of several that advise the same in different situations."""
MOST_TAGS: Final = 32
_GOOD_LENGTH = range(40, 1_201)
_TEXT_CHARS = 2_000
_TASK_CHARS = 160
_TITLE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a merged memory, and who wrote them."""

    title: str
    description: str
    content: str
    made_by: str


def best_first(connection: Connection, found: Sequence[Memory]) -> list[Memory]:
    """Memories that say the same, the best wording first: of most trust, then most support, then the most complete.

    Complete is what has title, description and a content of a length that can be read at a glance; of equals the oldest
    stays, so that ids change as rarely as possible.
    """
    known = {memory.id: support(connection, memory) for memory in found}
    return sorted(found, key=lambda memory: _rank(memory, known[memory.id]))


def merge(
    connection: Connection,
    workspace: str,
    ids: Sequence[str],
    *,
    reason: str,
    now: datetime,
    words: Words | None = None,
) -> str | None:
    """Lets the best of memories that say the same stand for all; its id, or None where fewer than two are left.

    The survivor keeps id and words, or gets those that were written for it. It inherits tags, counters, sources and
    the lowest trust of all; one of low trust that repeats one of more trust gives nothing and takes nothing, so that
    nobody who is not trusted can lend himself to, or lower, what is.
    """
    found = [memory for memory in memories.by_ids(connection, workspace, ids).values() if can_merge(memory)]
    if len(found) < 2:
        return None
    survivor, *others = best_first(connection, found)
    equals = [each for each in others if (each.item.trust == "low") == (survivor.item.trust == "low")]
    if equals:
        survivor = replace(survivor, item=_with(survivor.item, words))
        item = replace(survivor.item, text=_found_by(connection, survivor, equals, words))
        _inherit(connection, replace(survivor, item=item), equals, now=now)
    memories.supersede(connection, workspace, [each.id for each in others], survivor.id, now)
    note = (None, survivor.id)
    history.note(connection, workspace, [each.id for each in others], "merged", reason=reason, now=now, change=note)
    review(connection, workspace, survivor.id, now=now)
    reconsider(connection, workspace, survivor.id, now=now)
    return survivor.id


def generalise(
    connection: Connection, workspace: str, ids: Sequence[str], *, now: datetime, words: Words | None = None
) -> str | None:
    """Makes one general memory of those that advise the same in different situations; its id, or None below two.

    Its content is that of the best of them, word for word, so that all of them support it; what only belongs to one
    task stays out of its title and description. The others live on as its parents. Made again of the same memories it
    has the same id.
    """
    found = [memory for memory in memories.by_ids(connection, workspace, ids).values() if can_merge(memory)]
    if len(found) < 2:
        return None
    best, *others = best_first(connection, found)
    item = _with(_general(best, found), words)
    item = replace(item, text=_found_by(connection, replace(best, item=item), found, words))
    id_ = general_id(found)
    general = replace(
        best, id=id_, item=item, counters=Counters(), created_at=now, updated_at=now, content_hash=content_hash(item)
    )
    if id_ not in memories.existing_ids(connection, workspace, [id_]):
        memories.insert(connection, [general], [analyse(item)])
    _inherit(connection, replace(general, content_hash=""), [best, *others], now=now)
    memories.supersede(connection, workspace, [each.id for each in found], id_, now)
    reason = f"{len(found)} memories advise the same in different situations"
    history.note(
        connection, workspace, [each.id for each in found], "generalised", reason=reason, now=now, change=(None, id_)
    )
    review(connection, workspace, id_, now=now)
    return id_


def taught_again(
    connection: Connection, workspace: str, id_: str, *, trace_id: str, trust: Trust, now: datetime
) -> None:
    """Notes that another trace taught a memory word for word, unless it is an imported one, or trusted more."""
    memory = memories.by_ids(connection, workspace, [id_]).get(id_)
    if memory is None or not can_merge(memory) or standing.RANK[trust] < standing.RANK["normal"]:
        return
    lineage.add_sources(connection, workspace, id_, [trace_id], now)
    review(connection, workspace, id_, now=now)


def can_merge(memory: Memory) -> bool:
    """Whether a memory is in use and our own: imported rows stay as they were."""
    return in_use(memory) and memory.item.origin != "import"


def in_use(memory: Memory) -> bool:
    """Whether a memory can be found: neither forgotten nor replaced nor quarantined."""
    return memory.deleted_at is None and memory.superseded_by is None and memory.item.trust != "quarantined"


def general_id(found: Sequence[Memory]) -> str:
    """The id of what is made of some memories, always the same for the same ones."""
    digest = hashlib.sha256("\0".join(sorted(memory.id for memory in found)).encode()).hexdigest()
    return f"m_{digest[:20]}"


def tasks_of(connection: Connection, workspace: str, found: Sequence[Memory]) -> dict[str, str]:
    """By trace, the task of everything that taught some memories."""
    own = lineage.sources(connection, workspace, [memory.id for memory in found])
    endings = traces.endings(connection, workspace, {each for several in own.values() for each in several})
    return {trace_id: ending.task for trace_id, ending in endings.items()}


def _rank(memory: Memory, known: Support) -> tuple[object, ...]:
    item = memory.item
    complete = bool(item.title) + bool(item.description) + (len(item.content) in _GOOD_LENGTH)
    general = item.made_by == GENERAL
    return (-standing.RANK[item.trust], not general, -known.weight, -complete, memory.created_at, memory.id)


def _inherit(connection: Connection, survivor: Memory, others: Sequence[Memory], *, now: datetime) -> None:
    workspace, item, before = survivor.workspace, survivor.item, survivor.content_hash
    trust = lowest([item.trust, *(each.item.trust for each in others)])
    tags: dict[str, str] = {}
    for tag in (tag for each in (survivor, *others) for tag in each.item.tags):
        tags.setdefault(tag.casefold(), tag)
    parents = dict.fromkeys([*item.parents, *(each.id for each in others)])
    item = replace(item, tags=tuple(tags.values())[:MOST_TAGS], parents=tuple(parents))
    changed = replace(survivor, item=item, updated_at=now, content_hash=content_hash(item))
    memories.update(connection, changed, analyse(item))
    standing.set_trust(connection, workspace, survivor.id, trust, reason="derived from what is trusted less", now=now)
    sources = lineage.sources(connection, workspace, [each.id for each in others])
    lineage.add_sources(connection, workspace, survivor.id, (own for each in others for own in sources[each.id]), now)
    for each in others:
        memories.add_counters(connection, workspace, survivor.id, each.counters)
    if changed.content_hash != before:
        # While it has no vectors, what repeats it does not see it: so it looks around itself once it has.
        promise(connection, workspace, EMBED, [survivor.id], now=now)
        promise(connection, workspace, CONSOLIDATE, [survivor.id], now=now)


def _general(best: Memory, found: Sequence[Memory]) -> MemoryItem:
    item = best.item
    domains = {each.item.domain for each in found}
    outcomes = {each.item.outcome for each in found}
    return replace(
        item,
        title=item.title if _is_general(item.title, item.content) else _first_sentence(item.content),
        description=item.description
        if _is_general(item.description, item.content)
        else f"Held in {len(found)} different situations.",
        external_id=None,
        session=None,
        position=None,
        domain=item.domain if len(domains) == 1 else None,
        outcome=item.outcome if len(outcomes) == 1 else "unknown",
        error_context=item.error_context if len(outcomes) == 1 else None,
        parents=(),
        made_by=GENERAL,
    )


def _is_general(said: str, content: str) -> bool:
    """Whether a title or description names nothing that the advice itself does not name."""
    own, whole = lesson_of(MemoryItem(text=said)), lesson_of(MemoryItem(text=content))
    return bool(said) and own.names <= whole.names and own.numbers <= whole.numbers


def _first_sentence(content: str) -> str:
    line = content.strip().splitlines()[0]
    sentence = line.split(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _TITLE_CHARS else sentence[:_TITLE_CHARS].rsplit(" ", 1)[0] + " …"


def _with(item: MemoryItem, words: Words | None) -> MemoryItem:
    if words is None:
        return item
    made_by = item.made_by if item.made_by == GENERAL else words.made_by
    return replace(
        item,
        title=words.title,
        description=words.description,
        content=words.content,
        origin="llm",
        made_by=made_by,
    )


def _found_by(connection: Connection, survivor: Memory, others: Sequence[Memory], words: Words | None) -> str:
    """What the survivor is found by: what it was before, and the tasks of those it stands for from now on."""
    item = survivor.item
    heads = [item.title, item.description] if words is not None or item.made_by == GENERAL else [item.text]
    tasks = tasks_of(connection, survivor.workspace, [survivor, *others] if len(heads) > 1 else others)
    lines = [main_line(task)[:_TASK_CHARS] for task in tasks.values()]
    text = "\n".join(part for part in heads if part)
    for line in dict.fromkeys(lines):
        if line and line not in text and len(text) + len(line) < _TEXT_CHARS:
            text = f"{text}\n{line}"
    return text
