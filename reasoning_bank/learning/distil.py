"""What was learned from one trace, by rules alone: at most three items, each made of the trace's own words.

Success and partial success give the approach (why it worked, the decisive steps, what proved it); each error that was
overcome gives a fix; failure gives a warning with an error context. A trace that says nothing of these gives nothing;
one that was reported without any run gives the mere fact that the task was tried, and how that ended.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from reasoning_bank.learning.evidence import (
    Failure,
    Judged,
    changed_places,
    clipped,
    explanations,
    is_patch,
    is_sentence,
    judged,
    named_failure,
    sentences,
    succeeded,
    tells,
)
from reasoning_bank.learning.literals import generalised
from reasoning_bank.learning.recall import own_steps
from reasoning_bank.learning.step import Step
from reasoning_bank.records import ErrorContext, JsonValue, MemoryItem, NewTrace

MAX_ITEMS = 3
"""Items one trace may give; ReasoningBank (arXiv 2509.25140) found more to hurt."""
MADE_BY: Final = "rules/2"

_TEXT_CHARS: Final = 2_000
_TITLE_CHARS: Final = 120
_QUOTE_CHARS: Final = 220
_NARRATIVE_CHARS: Final = 1_200
_RESULT_CHARS: Final = 600
_STEPS: Final = 5
_REASONS: Final = 3
# Steps after an error within which what is done next still has to do with it.
_REACH: Final = 30
_APPROACH: Final = {
    "success": ("Approach that solved this task.", "What worked:"),
    "partial": ("Approach that solved a part of this task.", "What was done:"),
    "unknown": ("What was done for this task; its outcome was not reported.", "What was done:"),
}
_NO_RUN: Final[tuple[JsonValue, ...]] = (None, "", "{}", "[]", {}, [])
_PRECEDENTS: Final = {
    "success": "Solved before, so it can be done as asked; the run was not reported.",
    "partial": "Solved in part before; which part, and how, was not reported.",
    "failure": "Warning: failed before; the run was not reported, so what stood in the way is not known.",
}
# Emphasis only at the edges of words: 2**3 is none.
_MARKUP: Final = re.compile(
    r"<!--.*?-->|(?<!\w)[*_`]{2,}|[*_`]{2,}(?!\w)|^[#>\-*\s]+|^(?:title|task|issue|problem|goal)\s*:\s*", re.IGNORECASE
)
_GUIDANCE: Final = re.compile(
    r"\b(?:should have|should be|instead|next time|need(?:s|ed)? to|must|would have|better to|lesson|avoid|try|use)\b"
    r"|应该|需要|必须|而不是|下次",
    re.IGNORECASE,
)


def distil(report: NewTrace) -> tuple[MemoryItem, ...]:
    """Return what the trace teaches, most useful first; nothing rather than junk.

    Deterministic; every quoted word occurs in the trace. The items still have to pass the gate.
    """
    items = _items(report)
    return tuple(
        replace(
            item,
            title=generalised(item.title),
            tags=report.tags,
            domain=report.domain,
            outcome=report.outcome,
            actor=report.actor,
            time=report.time,
            origin="rules",
            made_by=MADE_BY,
            position=position,
        )
        for position, item in enumerate(items)
    )


def _items(report: NewTrace) -> list[MemoryItem]:
    if report.trajectory in _NO_RUN:
        return [_precedent(report)] if report.outcome in _PRECEDENTS else []
    if not (run := judged(own_steps(report.trajectory))):
        return []
    main = _warning(report, run) if report.outcome == "failure" else _approach(report, run)
    return [item for item in (main, *islice(_fixes(report, run), MAX_ITEMS)) if item is not None][:MAX_ITEMS]


def found_by(title: str, description: str, task: str) -> str:
    """Return what a distilled memory is found by: title, description, then the task; at most 2,000 characters."""
    heads = [part for part in (title, description) if part and part not in task]
    return "\n".join([*heads, task])[:_TEXT_CHARS].rstrip()


def task_title(task: str) -> str:
    """Return the line of a task that says what it is about, clipped to 120 characters."""
    lines = [_MARKUP.sub("", line[:500]).strip() for line in task.splitlines()]
    telling = (line for line in lines if len(line.split()) >= 3 and not line.endswith(":"))
    return clipped(next(telling, next(filter(None, lines), task)), _TITLE_CHARS)


def _precedent(report: NewTrace) -> MemoryItem:
    guidance = "Find out what stood in the way before trying the same again."
    return MemoryItem(
        text=found_by("", "", report.task),
        title=task_title(report.task),
        # No advice, so that it stands for its task alone and repeats no other's.
        description=_PRECEDENTS[report.outcome],
        error_context=ErrorContext("unresolved", "not reported", guidance) if report.outcome == "failure" else None,
    )


def _approach(report: NewTrace, run: Sequence[Judged]) -> MemoryItem | None:
    description, heading = _APPROACH[report.outcome]
    steps = [part.step for part in run]
    why = explanations(steps, limit=_REASONS)
    story = _narrative(steps) if why or report.outcome == "success" else ""
    did = [] if story else _decisive(run)
    changed = _changed(steps)
    answer = _answer(steps)
    # Without a reported success, steps alone prove nothing: there must be an explanation or a change.
    if not (why or changed or (report.outcome == "success" and (story or did or answer))):
        return None
    proof = next((part.step for part in reversed(run) if part.kind == "check" and succeeded(part.step)), None)
    parts = [
        story or " ".join(why),
        _numbered(heading, [] if changed else did),
        "\n".join(["Changed:", *changed]) if changed else "",
        f"Result: {answer}" if answer and not changed else "",
        f"Checked by `{_quoted(proof.action)}`." if proof else "",
    ]
    return MemoryItem(
        text=found_by("", "", report.task),
        title=task_title(report.task),
        description=description,
        content="\n".join(filter(None, parts)),
    )


def _warning(report: NewTrace, run: Sequence[Judged]) -> MemoryItem | None:
    steps = [part.step for part in run]
    story = _narrative(steps)
    failure = _last_failure(run)
    why = story or " ".join(explanations(steps, limit=_REASONS))
    done = [part.step for part in run if part.step.action and (part.failure or part.kind == "change")]
    tried = [] if story else _quoted_actions(done)
    if not (failure or why or len(tried) > 1):
        return None
    kind, line = (failure.type, failure.line) if failure else ("unresolved", "")
    guidance = _guidance(steps, failure)
    parts = [
        f"Ended with `{_quoted(line)}`." if line and line not in why else "",
        why,
        _numbered("Tried without success:", tried),
        f"Instead: {guidance}" if guidance and guidance not in why else "",
    ]
    return MemoryItem(
        text=found_by(line, "", report.task),
        title=clipped(f"Failed ({kind}): {task_title(report.task)}", _TITLE_CHARS),
        description="Warning: this way did not solve the task.",
        content="\n".join(filter(None, parts)),
        error_context=ErrorContext(kind, line or clipped(tried[-1] if tried else why, 240), guidance),
    )


def _fixes(report: NewTrace, run: Sequence[Judged]) -> Iterator[MemoryItem]:
    seen: set[str] = set()
    for at, part in enumerate(run):
        if part.failure is None or not part.step.action or part.failure.line in seen:
            continue
        if fix := _fix(part, run[at + 1 : at + 1 + _REACH]):
            seen.add(part.failure.line)
            yield _fix_item(report, part.step, part.failure, fix)


def _fix(failed: Judged, later: Sequence[Judged]) -> list[Step]:
    """Return what made the failed action succeed later: the changes in between, and the other way it was called."""
    head = _head(failed.step)
    for at, part in enumerate(later):
        if part.failure or not part.step.observation or _head(part.step) != head:
            continue
        changes = [change.step for change in later[:at] if change.kind == "change" and not change.failure]
        other_way = [part.step] if _quoted(part.step.action) != _quoted(failed.step.action) else []
        return changes[-2:] + other_way
    return []


def _fix_item(report: NewTrace, step: Step, failure: Failure, fix: Sequence[Step]) -> MemoryItem:
    done = ", then ".join(f"`{_quoted(change.action)}`" for change in fix)
    why = explanations(fix, limit=1)
    description = f"When `{_quoted(clipped(step.action, 120))}` fails with {failure.type}."
    return MemoryItem(
        text=found_by(failure.line, description.replace("`", ""), task_title(report.task)),
        title=clipped(failure.line, _TITLE_CHARS),
        description=description,
        content="\n".join(
            [f"`{_quoted(step.action)}` failed with `{_quoted(failure.line)}`.", f"Resolved by {done}.", *why]
        ),
        error_context=ErrorContext(failure.type, failure.line, f"Resolved by {done}."),
    )


def _narrative(steps: Sequence[Step]) -> str:
    """Return the whole story when the trace is one short text: nobody can sum it up better by rules."""
    if any(step.action or step.observation for step in steps):
        return ""
    story = " ".join(" ".join(step.thought.split()) for step in steps)
    return story if len(story) <= _NARRATIVE_CHARS and tells(story) else ""


def _decisive(run: Sequence[Judged]) -> list[str]:
    """Return the actions that made the difference, at most five, in order."""
    good = [part for part in run if part.step.action and not part.failure and not is_patch(part.step.action)]
    changes = [part for part in good if part.kind == "change"]
    others = [part for part in good if part.kind == "other" and len(part.step.action.split()) > 1]
    # Where nothing was changed, as in a search, the way itself is the knowledge.
    chosen = changes or others or (good if len(good) > 1 else [])
    return _quoted_actions([part.step for part in chosen])


def _quoted_actions(steps: Sequence[Step]) -> list[str]:
    actions = list(dict.fromkeys(map(_shown, steps)))
    # The last steps led to the end; the first one shows where it began.
    return actions if len(actions) <= _STEPS else [actions[0], *actions[1 - _STEPS :]]


def _changed(steps: Sequence[Step]) -> list[str]:
    patch = next((text for step in reversed(steps) for text in (step.observation, step.action) if is_patch(text)), "")
    return changed_places(patch)


def _answer(steps: Sequence[Step]) -> str:
    """Return a result that came without an action: the reported outcome itself."""
    last = steps[-1]
    if last.action or is_patch(last.observation):
        return ""
    if last.observation and len(last.observation) <= _RESULT_CHARS:
        return " ".join(last.observation.split())
    closing = sentences(last.thought) if any(step.action for step in steps) else []
    return clipped(" ".join(closing[:2]), _RESULT_CHARS) if closing else ""


def _last_failure(run: Sequence[Judged]) -> Failure | None:
    seen = next((part.failure for part in reversed(run) if part.failure), None)
    return seen or next((told for part in reversed(run) if (told := named_failure(part.step.thought))), None)


def _guidance(steps: Sequence[Step], failure: Failure | None) -> str:
    """Return the agent's own advice, else what follows from the failure itself."""
    late = steps[-max(len(steps) // 3, 1) :]
    advice = [sentence for step in late for sentence in sentences(step.thought) if _GUIDANCE.search(sentence)]
    if advice:
        return clipped(advice[-1], 300)
    known = failure and failure.type != "unresolved"
    return f"Resolve `{_quoted(failure.line)}` before repeating these steps." if failure and known else ""


def _head(step: Step) -> str:
    """Return what kind of call it is: the tool, or the first two words of a command that are not options."""
    if step.tool:
        return step.tool
    words = [word for word in step.action.split()[:4] if not word.startswith("-")]
    return " ".join(words[:2])


def _shown(step: Step) -> str:
    return clipped(step.action, _QUOTE_CHARS) if is_sentence(step.action) else f"`{_quoted(step.action)}`"


def _quoted(text: str) -> str:
    return clipped(text.replace("`", "'"), _QUOTE_CHARS)


def _numbered(heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([heading, *(f"{number}. {line}" for number, line in enumerate(lines, start=1))])
