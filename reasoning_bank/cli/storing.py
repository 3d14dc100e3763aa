"""`store`: what an assistant reports over MCP after a task, from a shell."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

import click

from reasoning_bank.cli.batching import batch_option, one_of, run_batch
from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option
from reasoning_bank.errors import InputError, ModelUnavailableError, ReasoningBankError
from reasoning_bank.records import JsonValue, MemoryItem, NewTrace, Outcome, StoreResult

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.learning.recording import Told
    from reasoning_bank.settings import Settings

EMBED_WAIT_S = 20.0
"""Longest wait of a command for the embedding of what it stored."""
TRACE_KEYS = frozenset(("task", "outcome", "trajectory", "memories", "tags", "domain", "metadata", "idempotency_key"))
DRAFT_KEYS = frozenset(("title", "description", "content", "tags", "domain", "difficulty", "outcome", "error_context"))


@click.command("store")
@click.argument("task", required=False)
@batch_option
@workspace_option
@click.option(
    "--outcome",
    type=click.Choice(["success", "failure", "partial", "unknown"]),
    default="unknown",
    help="How the task went.",
)
@click.option("--trajectory", "trajectory_file", type=click.File(encoding="utf-8"), help="What was done: text or JSON.")
@click.option(
    "--memories",
    "memories_file",
    type=click.File(encoding="utf-8"),
    help="JSON list of memories you distilled yourself: title, description, content each.",
)
@click.option("--tag", "tags", multiple=True, help="A tag; repeatable.")
@click.option("--domain", help="The field the task belongs to.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for the language model to distil it, where one is configured.",
)
@click.option("--key", help="Idempotency key: storing again with it changes nothing and returns the same ids.")
@json_option
@settings_options
def store_command(
    task: str | None,
    *,
    batch: BinaryIO | None,
    workspace: str | None,
    as_json: bool,
    load: LoadSettings,
    **options: object,
) -> int:
    """Store what happened on a task, and what it teaches.

    Without --memories the lessons are distilled by rules, and where a language model is configured (llm.model) by it,
    in the background. Without --outcome it is judged from the trajectory. TASK may be - to read it from standard
    input. With --batch each line is a task, or an object with "task" and whatever belongs to it ("outcome",
    "trajectory", "memories", "tags", "domain", "metadata", "idempotency_key"); storing the same lines again changes
    nothing.

    \b
    Examples:
      reasoning-bank store "Fix the flaky login test" --outcome success --trajectory session.log
      reasoning-bank store "Deploy" --outcome failure --tag ops --memories lessons.json
      reasoning-bank store --batch traces.jsonl --tag nightly > stored.jsonl
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    one_of(task, batch)
    settings = load()
    trace = NewTrace(
        task=sys.stdin.read() if task == "-" else task or "",
        outcome=cast("Outcome", options["outcome"]),
        trajectory=_trajectory(cast("TextIO | None", options["trajectory_file"])),
        tags=cast("tuple[str, ...]", options["tags"]),
        domain=cast("str | None", options["domain"]),
    )
    if batch is not None:
        return _store_each(settings, workspace_of(settings, workspace), batch, trace)
    memories = _memories(cast("TextIO | None", options["memories_file"]), trace)
    with open_bank(settings) as bank:
        result = bank.call(
            bank.bank.store_trace,
            workspace_of(settings, workspace),
            trace,
            memories=memories,
            idempotency_key=cast("str | None", options["key"]),
            wait_s=cast("float", options["wait_s"]),
        )
        _embed(bank)
    if as_json:
        print_json(_stored_json(result))
    else:
        _print_stored(result, waited_s=cast("float", options["wait_s"]))
    return 0


def _store_each(settings: "Settings", workspace: str, batch: BinaryIO, usual: NewTrace) -> int:
    from reasoning_bank.batches import TRACES_AT_ONCE
    from reasoning_bank.cli.opened import open_bank

    with open_bank(settings) as bank:

        def stored(traces: "Sequence[Told]") -> "Sequence[StoreResult | ReasoningBankError]":
            return bank.call(bank.bank.batches.store_traces, workspace, traces)

        code = run_batch(
            batch,
            label="storing",
            at_once=TRACES_AT_ONCE,
            read=lambda line: _told(line, usual),
            run=stored,
            show=_stored_json,
        )
        _embed(bank)
    return code


def _told(line: JsonValue, usual: NewTrace) -> "Told":
    """A trace from a line: what it does not say is as the options say."""
    from reasoning_bank.learning.recording import Told
    from reasoning_bank.transfer.rows import OUTCOMES
    from reasoning_bank.transfer.values import read_object, read_one_of, read_text, read_texts

    data: dict[str, JsonValue] = {"task": line} if isinstance(line, str) else read_object(line, "a line")
    if unknown := data.keys() - TRACE_KEYS:
        raise InputError(f"unknown {sorted(unknown)[0]!r}; a line has {', '.join(sorted(TRACE_KEYS))}")
    trace = replace(
        usual,
        task=read_text(data, "task") or "",
        outcome=read_one_of(data, "outcome", OUTCOMES, usual.outcome),
        trajectory=data.get("trajectory", usual.trajectory),
        tags=read_texts(data, "tags") or usual.tags,
        domain=read_text(data, "domain") or usual.domain,
        metadata=read_object(data.get("metadata") or {}, "metadata"),
    )
    drafts = data.get("memories")
    return Told(trace, None if drafts is None else _drafts(drafts, trace), read_text(data, "idempotency_key"))


def _embed(bank: "OpenBank") -> None:
    """Wait until what was stored can be found by meaning too: the next command may ask for it."""
    try:
        bank.call(bank.bank.wait_until_searchable, timeout_s=EMBED_WAIT_S)
    except (ModelUnavailableError, TimeoutError):
        click.echo("found by keyword now; by meaning once a server or another command has embedded it", err=True)


def _trajectory(file: TextIO | None) -> JsonValue:
    if file is None:
        return None
    text = _read(file, "--trajectory")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read(file: TextIO, option: str) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise InputError(f"{option}: {file.name} is not UTF-8 text") from error


def _memories(file: TextIO | None, trace: NewTrace) -> list[MemoryItem] | None:
    if file is None:
        return None
    text = _read(file, "--memories")
    try:
        drafts: JsonValue = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--memories: not JSON: {error}") from error
    return _drafts(drafts, trace)


def _drafts(drafts: JsonValue, trace: NewTrace) -> list[MemoryItem]:
    if not isinstance(drafts, list):
        raise InputError("memories: it must be a list of objects with title, description and content")
    return [_draft(draft, trace) for draft in drafts]


def _draft(draft: JsonValue, trace: NewTrace) -> MemoryItem:
    from reasoning_bank.transfer.rows import OUTCOMES, read_error_context
    from reasoning_bank.transfer.values import read_object, read_one_of, read_text, read_texts

    data = read_object(draft, "a memory")
    if unknown := data.keys() - DRAFT_KEYS:
        raise InputError(f"memories: unknown {sorted(unknown)[0]!r}; a memory has {', '.join(sorted(DRAFT_KEYS))}")
    return MemoryItem(
        text="",  # the bank decides what a distilled memory is found by
        title=read_text(data, "title") or "",
        description=read_text(data, "description") or "",
        content=read_text(data, "content") or "",
        tags=read_texts(data, "tags") or trace.tags,
        domain=read_text(data, "domain") or trace.domain,
        difficulty=read_text(data, "difficulty"),
        outcome=read_one_of(data, "outcome", OUTCOMES, trace.outcome),
        error_context=read_error_context(data),
    )


def _stored_json(result: StoreResult) -> JsonValue:
    return {
        "trace_id": result.trace_id,
        "memories": [
            {"id": memory.id, "action": memory.action, "title": memory.title, "reason": memory.reason}
            for memory in result.memories
        ],
        "distillation": result.distillation,
        "idempotency_key": result.idempotency_key,
        "queued": result.queued,
        "judged": None if result.judgement is None else cast("JsonValue", asdict(result.judgement)),
        "replayed": result.replayed,
        "distil_request": None if result.distil_request is None else dict(result.distil_request),
    }


def _print_stored(result: StoreResult, *, waited_s: float) -> None:
    again = " (stored before: nothing changed)" if result.replayed else ""
    click.echo(f"trace {result.trace_id}{again}")
    if result.judgement is not None:
        click.echo(f"  judged as {result.judgement.outcome}: {result.judgement.reason}")
    for memory in result.memories:
        why = f": {memory.reason}" if memory.reason else ""
        click.echo(f"  {memory.action} {memory.id or ''} {memory.title}{why}")
    if result.queued and waited_s:
        click.echo(f"  no language model has answered within {waited_s:g} s; it is asked again in the background")
    elif result.queued:
        click.echo("  a language model will look at it in the background (--wait SECONDS waits for it)")
    elif not result.memories:
        click.echo("  no memories: the trace says too little to learn from by rules; pass --memories")


@click.command("capture")
@click.argument("question")
@click.argument("answer")
@click.option("--context", default="", help="When it holds: the project, the version, the situation.")
@click.option("--force", is_flag=True, help="Keep it whatever it seems worth.")
@workspace_option
@json_option
@settings_options
def capture_command(
    question: str, answer: str, *, context: str, force: bool, workspace: str | None, as_json: bool, load: LoadSettings
) -> None:
    """Keep an answer from a conversation, if it is worth remembering.

    Small talk, guesses and passing states are refused with the reason. ANSWER may be - to read it from standard input.

    \b
    Example:
      reasoning-bank capture "Why did the export time out?" "The replica closes connections after 600 seconds: page it."
    """
    from reasoning_bank.cli.opened import open_bank
    from reasoning_bank.cli.output import print_json

    settings = load()
    words = sys.stdin.read() if answer == "-" else answer
    with open_bank(settings) as bank:
        name = workspace_of(settings, workspace)
        captured = bank.call(bank.bank.capture_knowledge, name, question, words, context=context, force=force)
        if captured.stored:
            _embed(bank)
    if as_json:
        print_json(cast("JsonValue", asdict(captured)))
    else:
        kept = f"kept as {captured.memory.id}" if captured.stored and captured.memory else "not kept"
        click.echo(f"{kept}: {captured.reason}")
