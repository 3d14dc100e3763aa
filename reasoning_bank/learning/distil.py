"""What was learned from one trace, by rules alone: at most three items, each made of the trace's own words.

Success and partial success give the approach (why it worked, the decisive steps, what proved it); each error that was
overcome gives a fix; failure gives a warning with an error context. A trace that says nothing of these gives nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from reasoning_bank.learning.evidence import (
    Failure,
    changed_places,
    clipped,
    explanations,
    failure_of,
    is_patch,
    is_sentence,
    kind_of,
    named_failure,
    sentences,
    succeeded,
)
from reasoning_bank.learning.steps import Step, read_steps
from reasoning_bank.records import ErrorContext, MemoryItem, NewTrace

MAX_ITEMS = 3
"""Items one trace may give; ReasoningBank (arXiv 2509.25140) found more to hurt."""

_TEXT_CHARS: Final = 2_000
_TITLE_CHARS: Final = 120
_QUOTE_CHARS: Final = 220
_NARRATIVE_CHARS: Final = 1_200
_RESULT_CHARS: Final = 600
_STEPS: Final = 5
_REASONS: Final = 3
_APPROACH: Final = {
    "success": ("Approach that solved this task.", "What worked:"),
    "partial": ("Approach that solved a part of this task.", "What was done:"),
    "unknown": ("What was done for this task; its outcome was not reported.", "What was done:"),
}
_GUIDANCE: Final = re.compile(
    r"\b(?:should have|should be|instead|next time|need(?:s|ed)? to|must|would have|better to|lesson|avoid|try|use)\b"
    r"|应该|需要|必须|而不是|下次",
    re.IGNORECASE,
)


def distil(report: NewTrace) -> tuple[MemoryItem, ...]:
    """Return what the trace teaches, most useful first; nothing rather than junk.

    Deterministic; every quoted word occurs in the trace. The items still have to pass the gate.
    """
    steps = read_steps(report.trajectory)
    if not steps:
        return ()
    main = _warning(report, steps) if report.outcome == "failure" else _approach(report, steps)
    items = [item for item in (main, *_fixes(report, steps)) if item is not None][:MAX_ITEMS]
    return tuple(
        replace(
            item,
            tags=report.tags,
            domain=report.domain,
            outcome=report.outcome,
            actor=report.actor,
            time=report.time,
            origin="rules",
            position=position,
        )
        for position, item in enumerate(items)
    )


def found_by(title: str, description: str, task: str) -> str:
    """Return what a distilled memory is found by: title, description, then the task; at most 2,000 characters."""
    heads = [part for part in (title, description) if part and part not in task]
    return "\n".join([*heads, task])[:_TEXT_CHARS].rstrip()


def task_title(task: str) -> str:
    """Return the line of a task that says what it is about, clipped to 120 characters."""
    lines = [
        re.sub(r"<!--.*?-->|[*_`#>]{2,}|^[#>\-*\s]+|^(?:title|task|issue|problem|goal)\s*:\s*", "", line, flags=re.I)
        for line in task.splitlines()
    ]
    lines = [line.strip() for line in lines]
    telling = (line for line in lines if len(line.split()) >= 3 and not line.endswith(":"))
    return clipped(next(telling, next(filter(None, lines), task)), _TITLE_CHARS)


def _approach(report: NewTrace, steps: Sequence[Step]) -> MemoryItem | None:
    description, heading = _APPROACH[report.outcome]
    story = _narrative(steps)
    why = [story] if story else explanations(steps, limit=_REASONS)
    did = [] if story else _decisive(steps)
    changed = _changed(steps)
    answer = _answer(steps)
    # Without a reported success, steps alone prove nothing: there must be an explanation, a change or a result.
    if not (why or changed or (report.outcome == "success" and (did or answer))):
        return None
    proof = next((step for step in reversed(steps) if kind_of(step) == "check" and succeeded(step)), None)
    parts = [
        " ".join(why),
        _numbered(heading, [] if changed else did),
        "\n".join(["Changed:", *changed]) if changed else "",
        f"Result: {answer}" if answer and not changed else "",
        f"Checked by `{_quoted(proof.action)}`." if proof and proof.action else "",
    ]
    return MemoryItem(
        text=found_by("", "", report.task),
        title=task_title(report.task),
        description=description,
        content="\n".join(filter(None, parts)),
    )


def _warning(report: NewTrace, steps: Sequence[Step]) -> MemoryItem | None:
    story = _narrative(steps)
    failure = _last_failure(steps)
    why = [story] if story else explanations(steps, limit=_REASONS)
    tried = [] if story else _attempts(steps)
    if not (failure or why or len(tried) > 1):
        return None
    guidance = _guidance(steps, failure)
    title = task_title(report.task)
    kind = failure.type if failure else "unresolved"
    parts = [
        f"Ended with `{_quoted(failure.line)}`." if failure and failure.line not in story else "",
        " ".join(why),
        _numbered("Tried without success:", tried),
        "" if not guidance or guidance in " ".join(why) else f"Instead: {guidance}",
    ]
    return MemoryItem(
        text=found_by(failure.line if failure else "", "", report.task),
        title=clipped(f"Failed ({kind}): {title}", _TITLE_CHARS),
        description="Warning: this way did not solve the task.",
        content="\n".join(filter(None, parts)),
        error_context=ErrorContext(
            kind, failure.line if failure else clipped(tried[-1] if tried else story, 240), guidance
        ),
    )


def _fixes(report: NewTrace, steps: Sequence[Step]) -> Iterator[MemoryItem]:
    seen: set[str] = set()
    for position, step in enumerate(steps):
        failure = failure_of(step)
        if failure is None or not step.action or failure.line in seen:
            continue
        if fix := _fix(steps, position):
            seen.add(failure.line)
            yield _fix_item(report, step, failure, fix)


def _fix(steps: Sequence[Step], position: int) -> list[Step]:
    """Return what made the failed action succeed later: the changes in between, else the other way it was called."""
    failed = steps[position]
    for later in range(position + 1, len(steps)):
        step = steps[later]
        if _head(step) != _head(failed) or failure_of(step) or not step.observation:
            continue
        between = [
            change for change in steps[position + 1 : later] if kind_of(change) == "change" and not failure_of(change)
        ]
        other_way = [step] if _quoted(step.action) != _quoted(failed.action) else []
        return between[-2:] + other_way
    return []


def _fix_item(report: NewTrace, step: Step, failure: Failure, fix: Sequence[Step]) -> MemoryItem:
    done = ", then ".join(f"`{_quoted(change.action)}`" for change in fix)
    why = explanations(fix, limit=1)
    description = f"When `{clipped(step.action, 120)}` fails with {failure.type}."
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
    return story if len(story) <= _NARRATIVE_CHARS else ""


def _decisive(steps: Sequence[Step]) -> list[str]:
    """Return the actions that made the difference, at most five, in order."""
    good = [step for step in steps if step.action and not failure_of(step) and not is_patch(step.action)]
    changes = [step for step in good if kind_of(step) == "change"]
    others = [step for step in good if kind_of(step) == "other" and len(step.action.split()) > 1]
    chosen = changes or others or [step for step in good if len(good) > 1]
    return _quoted_actions(chosen)


def _attempts(steps: Sequence[Step]) -> list[str]:
    """Return what was tried in vain: failed actions and changes, at most five, in order."""
    return _quoted_actions([step for step in steps if step.action and (failure_of(step) or kind_of(step) == "change")])


def _quoted_actions(steps: Sequence[Step]) -> list[str]:
    actions = list(dict.fromkeys(map(_shown, steps)))
    # The last steps led to the end; the first one shows where it began.
    chosen = actions if len(actions) <= _STEPS else [actions[0], *actions[1 - _STEPS :]]
    return chosen


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


def _last_failure(steps: Sequence[Step]) -> Failure | None:
    seen = next((failure for step in reversed(steps) if (failure := failure_of(step))), None)
    return seen or next((failure for step in reversed(steps) if (failure := named_failure(step.thought))), None)


def _guidance(steps: Sequence[Step], failure: Failure | None) -> str:
    """Return the agent's own advice, else what follows from the failure itself."""
    late = steps[-max(len(steps) // 3, 1) :]
    advice = [sentence for step in late for sentence in sentences(step.thought) if _GUIDANCE.search(sentence)]
    if advice:
        return clipped(advice[-1], 300)
    return f"Resolve `{_quoted(failure.line)}` before repeating these steps." if failure else ""


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
