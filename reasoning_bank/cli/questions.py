"""`search`: what an assistant asks over MCP before a task, from a shell."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from reasoning_bank.cli.batching import batch_option, one_of, run_batch
from reasoning_bank.cli.options import LoadSettings, json_option, settings_options, workspace_of, workspace_option
from reasoning_bank.errors import InputError
from reasoning_bank.records import JsonValue, Query, Retrieval, RetrievalEverywhere, RetrievedMemory
from reasoning_bank.transfer.values import read_object

if TYPE_CHECKING:
    from reasoning_bank.cli.opened import OpenBank
    from reasoning_bank.settings import Settings

QUERIES_AT_ONCE = 64
MODEL_WAIT_MS = 30_000
"""A person who asks once waits for the model rather than getting an answer by keyword only."""


def moment(text: str) -> datetime:
    """The ISO 8601 date or time; without an offset it is UTC."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time, such as 2026-01-31 or 2026-01-31T12:00Z") from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@click.command("search")
@click.argument("task", required=False)
@batch_option
@workspace_option
@click.option("--all-workspaces", is_flag=True, help="Every workspace, each by itself; the most relevant of all.")
@click.option("-k", type=click.IntRange(1), help="Memories at most; by default the preset's or the setting's.")
@click.option(
    "--preset",
    type=click.Choice(["default", "paper", "conversation"]),
    default="default",
    help="paper: all lessons of the one past task most like this one, by its text alone. conversation: 10, by session.",
)
@click.option("--tag", "tags", multiple=True, help="Only memories with this tag; repeatable.")
@click.option("--domain", help="Only memories of this domain.")
@click.option("--outcome", type=click.Choice(["any", "success", "failure"]), default="any", help="Only this outcome.")
@click.option("--since", type=moment, metavar="TIME", help="Only what happened at or after this time.")
@click.option("--until", type=moment, metavar="TIME", help="Only what happened at or before this time.")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Lowest relevance, 0 to 1; 0 returns the k best anyway.")
@click.option("--no-failures", is_flag=True, help="Without lessons from failures.")
@click.option("--exclude", "exclude_ids", multiple=True, metavar="ID", help="Not this memory (m_...); repeatable.")
@click.option("--per-trace", type=click.IntRange(min=1), help="Memories of one trace at most.")
@click.option("--per-actor", type=click.IntRange(min=1), help="Memories of one actor at most.")
@click.option(
    "--near-duplicates",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Leave out what shares this much of its words with a better memory, such as 0.8.",
)
@click.option("--group-by-trace", is_flag=True, help="Memories of one trace together, in their order.")
@click.option(
    "--detail", type=click.Choice(["index", "full"]), default="full", help="index: the first lines of each memory only."
)
@click.option("--context", "only_context", is_flag=True, help="Print the block that an assistant would read.")
@click.option("--explain", is_flag=True, help="Show how it searched, and why each memory was chosen or dropped.")
@json_option
@settings_options
def search_command(
    task: str | None,
    *,
    batch: BinaryIO | None,
    workspace: str | None,
    all_workspaces: bool,
    only_context: bool,
    as_json: bool,
    load: LoadSettings,
    **options: object,
) -> int:
    """Ask the bank for the memories that help with a task.

    Say what you are about to do as you would to a colleague, or paste the error; a time in it ("last week") counts.
    Relevance means the same on every bank: below the floor (retrieval.floor) nothing is shown. Something is missing?
    --explain says whether it was found, by what, and what became of it. With --batch each line is a task, or an object
    with "task" and whatever the options say otherwise, such as "k", "tags" or "since".

    \b
    Examples:
      reasoning-bank search "migrate the users table without downtime"
      reasoning-bank search "flaky login test" -k 5 --outcome failure --json
      reasoning-bank search "what did Ann say about the deploy?" --preset conversation
      reasoning-bank search "rotate the password" --all-workspaces --explain
      reasoning-bank search --batch tasks.jsonl -k 1 > found.jsonl
    """
    from reasoning_bank.cli.opened import open_bank, warn_of_missing

    if all_workspaces and (workspace or only_context):
        also = "--workspace" if workspace else "--context"
        why = "it searches them all" if workspace else "an assistant only ever reads one workspace"
        raise click.UsageError(f"--all-workspaces does not go with {also}: {why}")
    one_of(task, batch)
    if batch and (all_workspaces or only_context):
        raise click.UsageError(f"--batch does not go with {'--all-workspaces' if all_workspaces else '--context'}")
    settings = load(embeddings={"query_wait_ms": MODEL_WAIT_MS})
    query = _query(task or "", settings, options)
    with open_bank(settings) as bank:
        if all_workspaces:
            _show_everywhere(bank, bank.call(bank.bank.retrieve_everywhere, query), query, as_json=as_json)
            return 0
        name = workspace_of(settings, workspace)
        warn_of_missing(bank, name)
        _warn_of_unknown(bank, name, query.exclude_ids)
        if batch is not None:
            return _search_each(bank, name, batch, query)
        found = bank.call(bank.bank.retrieve, name, query)
        _show(bank, name, found, query, as_json=as_json, only_context=only_context)
        return 0


def _search_each(bank: "OpenBank", workspace: str, batch: BinaryIO, usual: Query) -> int:
    return run_batch(
        batch,
        label="searching",
        at_once=QUERIES_AT_ONCE,
        read=lambda line: _query_of(line, usual),
        run=lambda queries: bank.call(bank.bank.batches.retrieve_many, workspace, queries),
        show=_found_json,
    )


def _query_of(line: JsonValue, usual: Query) -> Query:
    """A query from a line: what it does not say is as the options say."""
    from pydantic import TypeAdapter, ValidationError

    said = {"task": line} if isinstance(line, str) else read_object(line, "a line")
    if unknown := said.keys() - {field.name for field in fields(Query)}:
        raise InputError(
            f"unknown {sorted(unknown)[0]!r}; a line has {', '.join(field.name for field in fields(Query))}"
        )
    known = {field.name: getattr(usual, field.name) for field in fields(Query)}
    try:
        query = TypeAdapter(Query).validate_python({**known, **said})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}") from error
    return replace(query, since=_aware(query.since), until=_aware(query.until))


def _aware(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)


def _warn_of_unknown(bank: "OpenBank", workspace: str, ids: Sequence[str]) -> None:
    for id_ in ids:
        if id_ not in bank.call(bank.bank.complete, "memory", id_, workspace):
            click.echo(f"warning: no memory {id_!r} in {workspace!r}: nothing is excluded by it", err=True)


def _query(task: str, settings: "Settings", options: dict[str, Any]) -> Query:
    k, defaults = options.pop("k"), settings.retrieval
    # A preset brings its own number, which a number given here would replace.
    size = {"k": k} if k is not None else {"k": defaults.k} if options["preset"] == "default" else {}
    include_failures = not options.pop("no_failures")
    return Query(task, **size, **options, include_failures=include_failures, token_budget=defaults.token_budget)


def _show(
    bank: "OpenBank", workspace: str, found: Retrieval, query: Query, *, as_json: bool, only_context: bool
) -> None:
    from reasoning_bank.cli.explaining import print_explanation
    from reasoning_bank.cli.output import print_json

    if as_json:
        print_json(_found_json(found))
        return
    if only_context:
        click.echo(found.context)
    else:
        _print_memories(found.memories, query)
        _print_rest(found)
    if found.explanation:
        print_explanation(bank, workspace, found.explanation)


def _show_everywhere(bank: "OpenBank", found: RetrievalEverywhere, query: Query, *, as_json: bool) -> None:
    from reasoning_bank.cli.explaining import print_explanation
    from reasoning_bank.cli.output import print_json

    if as_json:
        answers: JsonValue = {name: _answer_json(answer) for name, answer in found.answers.items()}
        print_json({"memories": _memories_json(found.memories), "answers": answers})
        return
    _print_memories(found.memories, query, whose=True)
    for name, answer in found.answers.items():
        _print_rest(answer, of=f"{name}: ")
        if answer.explanation:
            click.secho(f"\nIn {name}", bold=True)
            print_explanation(bank, name, answer.explanation)


def _found_json(found: Retrieval) -> JsonValue:
    return {"memories": _memories_json(found.memories), "context": found.context, **_answer_json(found)}


def _memories_json(found: Sequence[RetrievedMemory]) -> JsonValue:
    from reasoning_bank.mcp.answers import full_memory

    return [
        {
            **full_memory(one.memory),
            "workspace": one.memory.workspace,
            "score": round(one.score, 3),
            "warning": one.warning,
        }
        for one in found
    ]


def _answer_json(found: Retrieval) -> dict[str, JsonValue]:
    explained = {"explanation": cast("JsonValue", asdict(found.explanation))} if found.explanation else {}
    return {
        "below_floor": found.below_floor,
        "degraded": list(found.degraded),
        "path": found.path,
        "timings_ms": dict(found.timings_ms),
        **explained,
    }


def _print_memories(found: Sequence[RetrievedMemory], query: Query, *, whose: bool = False) -> None:
    from reasoning_bank.cli.output import paragraph

    for number, one in enumerate(found, start=1):
        item = one.memory.item
        title = item.title or item.text.strip().splitlines()[0][:100]
        click.secho(f"{number}. {title}", bold=True)
        outcome = "" if item.outcome == "unknown" else f", {item.outcome}"
        known_as = f" ({item.external_id})" if item.external_id else ""
        where = f", in {one.memory.workspace}" if whose else ""
        click.echo(f"   relevance {one.score:.2f}{outcome}, {one.memory.id}{known_as}{where}")
        if one.warning:
            click.secho(paragraph(one.warning, indent=3, lines=3), fg="yellow")
        if query.detail == "full":
            click.echo(paragraph(item.content or item.text, indent=3, lines=8) + "\n")
    if not found:
        click.echo("Nothing relevant.")


def _print_rest(found: Retrieval, *, of: str = "") -> None:
    if found.below_floor:
        click.echo(f"{of}{found.below_floor} less relevant not shown (--min-score 0 shows them)")
    if found.degraded:
        missing = ", ".join(found.degraded)
        click.echo(
            f"{of}searched without: {missing} (failed, or not ready within retrieval.deadline_ms; "
            "`reasoning-bank doctor` checks the parts)",
            err=True,
        )
