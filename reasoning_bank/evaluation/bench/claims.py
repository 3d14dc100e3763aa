"""What the founding documents claim, and the function that measures each claim here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from reasoning_bank.evaluation.bench import asking, embedding, network, prompting, searching, storing
from reasoning_bank.evaluation.bench.rows import BeyondScaleError, Measured, Row, SkippedError
from reasoning_bank.evaluation.bench.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and how it is measured.

    Attributes:
        name: of its row.
        said: what is claimed.
        ways: without, and with what is claimed.
        why: why the figure is what it is, where it differs from the claim.
        measure: measures it; raises SkippedError where it cannot be measured here.
    """

    name: str
    said: str
    ways: tuple[str, str]
    why: str
    measure: Callable[[Workbench], Measured]


CLAIMS: Final = (
    Claim(
        "cache_read",
        "cache read < 1 ms",
        ("read from the database", "read from a cache"),
        "a dictionary of this process against a query of SQLite in a thread",
        storing.cache_read,
    ),
    Claim(
        "memory_access",
        "memory access 10 ms → 0.05 ms (200x)",
        ("get_memory, caches off", "caches on"),
        "whether the memory has changed meanwhile, in any process, is looked up each time",
        storing.memory_access,
    ),
    Claim(
        "repeated_query",
        "repeated queries 20-30 % faster",
        ("asked for the first time", "asked again"),
        "an answer is given again as long as nothing of its workspace has changed",
        searching.repeated_query,
    ),
    Claim(
        "query_traffic",
        "120 ms → 45 ms with caches (2.7x); hit rate 40-60 %, > 60 %, > 70 %",
        ("caches off", "caches on"),
        "120 requests by Zipf's law over 50 questions: what repeats is traffic's own, so is the ratio",
        searching.query_traffic,
    ),
    Claim(
        "repeated_calls",
        "tool calls on repeats reduced by > 80 %, ~90 %",
        ("calls made", "calls worked on"),
        "every task asked ten times: all but the first is the most that can be saved",
        searching.repeated_calls,
    ),
    Claim(
        "repeated_compression",
        "repeated calculations 70-90 % faster",
        ("caches off", "caches on"),
        "a prompt of 2,000 tokens, compressed to half again and again",
        prompting.repeated_compression,
    ),
    Claim(
        "repeated_requests",
        "caching of answers: 80-95 % fewer calls of language models",
        ("requests", "answered by a server"),
        "120 requests by Zipf's law over 50 questions, exact repeats at temperature 0: what repeats is traffic's own",
        asking.repeated_requests,
    ),
    Claim(
        "batch_8",
        "batches of 32 embed 3-5x faster (3.3x): texts of 8 tokens",
        ("one by one", "in batches"),
        "a batch saves what a call costs beside its tokens; the claim is of a library that costs 10 ms a call",
        embedding.batches(8),
    ),
    Claim(
        "batch_30",
        "batches of 32 embed 3-5x faster (3.3x): texts of 30 tokens",
        ("one by one", "in batches"),
        "as long as memories are: a processor computes token by token",
        embedding.batches(30),
    ),
    Claim(
        "batch_170",
        "batches of 32 embed 3-5x faster (3.3x): texts of 170 tokens",
        ("one by one", "in batches"),
        "padding would eat the gain, so they go one by one anyway",
        embedding.batches(170),
    ),
    Claim(
        "model_loading",
        "model caching saves 60-85 % of the loading time",
        ("loaded for each text", "kept"),
        "the model is loaded once per process",
        embedding.model_loading,
    ),
    Claim(
        "pooling",
        "a connection pool is 1.5-1.7x faster",
        ("a client per request", "the pool"),
        "plain HTTP on this machine, no thinking; with a model that thinks for 50 ms it is 1.1x",
        network.pooling,
    ),
    Claim(
        "parallel_steps",
        "parallel speed-up > 2x with 4 workers; 70 s → 2.8 s (25x)",
        ("one after the other", "run_parallel"),
        "four steps that each wait 50 ms for a server: four times is the most there is",
        network.parallel_steps,
    ),
    Claim(
        "concurrent_calls",
        "async conversion: 50-300 % more throughput of I/O",
        ("one after the other", "ten at once"),
        "20 calls of a server that thinks for 50 ms; the pool lets ten through",
        network.concurrent_calls,
    ),
    Claim(
        "compression_simple",
        "a simple prompt of 500 tokens: 16 % fewer",
        ("tokens before", "after"),
        "cut to what the claim leaves; without loss less is saved",
        prompting.compression("simple"),
    ),
    Claim(
        "compression_memories",
        "a prompt with memories, 2,500 tokens: 30 % fewer",
        ("tokens before", "after"),
        "cut to what the claim leaves; without loss less is saved",
        prompting.compression("memories"),
    ),
    Claim(
        "compression_complex",
        "a complex prompt of 8,000 tokens: 35 % fewer",
        ("tokens before", "after"),
        "cut to what the claim leaves; without loss less is saved",
        prompting.compression("complex"),
    ),
    Claim(
        "background_work",
        "storing 60-70 % faster, 1-2 s → 0.3-0.5 s, not blocking",
        ("until it is found by meaning", "until it is durable"),
        "a reply means durable; embedding follows in the background",
        storing.background_work,
    ),
    Claim(
        "many_writes",
        "memory inserts batched into one transaction",
        ("a transaction for each row", "one for all"),
        "20 rows: one commit, one wait for the disk",
        storing.many_writes,
    ),
    Claim(
        "many_reads",
        "database operations 30-40 % faster, < 100 ms on average",
        ("a query for each memory", "one for all"),
        "20 memories with traces and genealogies: no query is repeated per row",
        storing.many_reads,
    ),
    Claim(
        "collector",
        "automatic tuning of the garbage collector: 10-20 % less memory",
        ("as Python does", "frozen after warm-up"),
        "processor time of a search: freezing saves none, so it was not kept; memory is not measured by this row",
        searching.collector,
    ),
    Claim(
        "retrieval_1k",
        "retrieval p95 < 100 ms: 1,000 memories",
        ("embedding the question alone", "a whole search of 1,000 memories"),
        "words, dates, names, choosing and reading the memories are the rest; p95 on the clock beside it",
        searching.retrieval(1_000),
    ),
    Claim(
        "retrieval_10k",
        "retrieval p95 < 100 ms: 10,000 memories",
        ("embedding the question alone", "a whole search of 10,000 memories"),
        "words, dates, names, choosing and reading the memories are the rest; p95 on the clock beside it",
        searching.retrieval(10_000),
    ),
    Claim(
        "retrieval_100k",
        "retrieval p95 < 100 ms: 100,000 memories",
        ("embedding the question alone", "a whole search of 100,000 memories"),
        "exact search; a bank of this size may ask Chroma instead",
        searching.retrieval(100_000),
    ),
)
"""In the order in which they are measured and shown."""


def measured(claim: Claim, bench: Workbench) -> Row:
    """The row of a claim; where it cannot be measured here, the row says why.

    Raises:
        ReasoningBankError: what is measured does not work.
    """
    row = Row(claim.name, claim.said, claim.ways, claim.why, None)
    try:
        return replace(row, measured=claim.measure(bench))
    except SkippedError as error:
        return replace(row, skipped=str(error), beyond_scale=isinstance(error, BeyondScaleError))
