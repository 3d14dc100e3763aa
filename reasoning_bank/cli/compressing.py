"""`compress`: a filter that shortens a prompt."""

import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from reasoning_bank.cli.batching import batch_option, run_batch
from reasoning_bank.cli.options import LoadSettings, json_option, settings_options
from reasoning_bank.errors import InputError, ReasoningBankError
from reasoning_bank.records import JsonValue

if TYPE_CHECKING:
    from reasoning_bank.compressing import Compress
    from reasoning_bank.compression.results import Compression, CompressionOptions


@click.command("compress")
@click.argument("file", type=click.File("rb"), default="-")
@batch_option
@click.option("--query", "-q", help="What the prompt will be asked; else its own question is looked for.")
@click.option("--max-tokens", type=int, help="Most tokens of the result.")
@click.option(
    "--ratio", type=float, help="Most tokens as a share of the input's, above 0 to 1; the smaller bound holds."
)
@click.option(
    "--preserve", multiple=True, metavar="TEXT", help="Stays: a literal, or re: and a pattern; may be repeated."
)
@click.option("--tokenizer", help="o200k_base, cl100k_base, wordpiece, estimated, or a model such as gpt-4o.")
@click.option("--on-overflow", type=click.Choice(["truncate", "error"]), help="When what is protected is over budget.")
@click.option("--meaning/--no-meaning", default=True, help="Compare meanings with the embedding model, or words only.")
@click.option("--drop-docstrings", is_flag=True, help="Take the docstrings out of code too.")
@click.option(
    "--tables/--no-tables", default=False, help="Write uniform JSON arrays as tables, also where code reads them."
)
@click.option("--diff", "as_diff", is_flag=True, help="Print a diff instead of the result.")
@click.option("--stats", is_flag=True, help="Say on stderr what each step saved.")
@json_option
@settings_options
def compress_command(
    file: BinaryIO,
    *,
    tokenizer: str | None,
    meaning: bool,
    as_diff: bool,
    stats: bool,
    as_json: bool,
    load: LoadSettings,
    **options: Any,
) -> int:
    """Shorten a prompt to a token budget: FILE, or standard input.

    What loses nothing is done first; then sentences, turns, blocks and lines are kept that have to do with the query.
    Every cut is marked; words, numbers, addresses and code are never broken. Nothing is downloaded or stored.
    With --batch each line is a prompt, or an object with "prompt" and whatever the options say otherwise ("query",
    "max_tokens", "ratio", "preserve").

    \b
    Examples:
      reasoning-bank compress < prompt.txt > short.txt
      git diff | reasoning-bank compress --max-tokens 4000 --query "what changed in the parser?" --stats
      reasoning-bank compress --batch prompts.jsonl --ratio 0.5 > short.jsonl
    """
    from reasoning_bank.compressing import compressor

    batch: BinaryIO | None = options.pop("batch")
    if as_diff and (as_json or batch):
        raise click.UsageError(
            f"--diff and {'--json' if as_json else '--batch'} exclude each other: the JSON has the text, and `kept` "
            "says what it kept"
        )
    shorten = compressor(load(compression={"tokenizer": tokenizer}), meaning=meaning)
    if batch is not None:
        return _compress_each(batch, shorten, _options(**options))
    prompt = _text(file.read())
    result = shorten(prompt, **_options(**options))
    if stats:
        for line in _figures(result):
            click.echo(line, err=True)
    if not result.kept:
        click.echo("nothing of the prompt fits the budget: raise --max-tokens or --ratio", err=True)
    _print(result, prompt, as_json=as_json, as_diff=as_diff)
    return 0


def _print(result: "Compression", prompt: str, *, as_json: bool, as_diff: bool) -> None:
    from reasoning_bank.cli.output import print_json

    if as_json:
        print_json(_as_json(result))
    elif as_diff:
        for line in _diff(prompt, result.text):
            click.echo(line)
    else:
        # A filter adds nothing; on a terminal the shell's next line would follow at once.
        ends_open = sys.stdout.isatty() and not result.text.endswith("\n")
        click.echo(result.text.encode(), nl=ends_open)


def _compress_each(batch: BinaryIO, shorten: "Compress", usual: "CompressionOptions") -> int:
    def each(prompts: "Sequence[tuple[str, CompressionOptions]]") -> "list[Compression | ReasoningBankError]":
        results: list[Compression | ReasoningBankError] = []
        for prompt, options in prompts:
            try:
                results.append(shorten(prompt, **options))
            except ReasoningBankError as error:
                results.append(error)
        return results

    # One after the other: it computes all the time, and each answer is printed as it comes.
    return run_batch(
        batch, label="compressing", at_once=1, read=lambda line: _prompt_of(line, usual), run=each, show=_as_json
    )


def _prompt_of(line: JsonValue, usual: "CompressionOptions") -> "tuple[str, CompressionOptions]":
    """A prompt from a line, and its options: what it does not say is as the command's options say."""
    from reasoning_bank.transfer.values import read_count, read_number, read_object, read_text, read_texts

    said: dict[str, JsonValue] = {"prompt": line} if isinstance(line, str) else read_object(line, "a line")
    readers: dict[str, Callable[[dict[str, JsonValue], str], Any]] = {
        "prompt": read_text, "query": read_text, "max_tokens": read_count, "ratio": read_number, "preserve": read_texts,
    }  # fmt: skip
    if unknown := said.keys() - readers.keys():
        raise InputError(f"unknown {sorted(unknown)[0]!r}; a line has {', '.join(readers)}")
    read = {name: readers[name](said, name) for name in said}
    prompt = read.pop("prompt", None)
    return prompt or "", {**usual, **read}  # pyright: ignore[reportReturnType] -- read with the types it wants


def _text(data: bytes) -> str:
    """Return what a file or a pipe says; raises InputError for what is no text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"the input is no UTF-8 text (byte {error.start}): convert it first, as with iconv") from error
    if "\0" in text:
        raise InputError("the input has NUL characters: it is binary, or UTF-16 (convert it first, as with iconv)")
    return text


def _options(*, tables: bool, **given: Any) -> "CompressionOptions":
    named: CompressionOptions = {"preserve_json": not tables}
    return {**named, **{name: value for name, value in given.items() if value is not None}}  # pyright: ignore[reportReturnType] -- click checked them


def _figures(result: "Compression") -> Iterator[str]:
    counted = result.tokenizer if result.exact else f"{result.tokenizer}, within about {result.error:.0%}"
    yield f"{result.tokens_before:,} -> {result.tokens_after:,} tokens ({result.ratio:.1%}; {counted})"
    for step in result.steps:
        loss = "nothing lost" if step.lossless else "with loss"
        yield f"  {step.name:24} {-step.tokens_saved:>8,}  {loss}{', needs a rule to read' if step.needs_rule else ''}"
    kinds: dict[str, list[float]] = {}
    for segment in result.segments:
        length = segment.end - segment.start
        kinds.setdefault(segment.kind, [0.0, 0.0])
        kinds[segment.kind][0] += length
        kinds[segment.kind][1] += length * segment.kept_share
    yield "  kept: " + ", ".join(f"{kind} {kept / max(whole, 1):.0%}" for kind, (whole, kept) in sorted(kinds.items()))
    if result.question:
        yield f"  kept what has to do with: {' '.join(result.question.split())[:120]}"
    if result.degraded:
        yield "  without the embedding model: words alone decided (reasoning-bank assets install)"


def _as_json(result: "Compression") -> JsonValue:
    found: dict[str, JsonValue] = asdict(result)
    return {**found, "ratio": round(result.ratio, 4)}


def _diff(before: str, after: str) -> Iterator[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "prompt", "compressed", lineterm="")
    for line in lines:
        color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        yield click.style(line, fg=color) if color else line
