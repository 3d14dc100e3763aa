"""Compression: three prompts of the sizes the claim names, and the tokens that are left of them."""

from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Final

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.evaluation.bench.rows import Measured, SkippedError, compared, cpu_milliseconds, paired
from reasoning_bank.evaluation.bench.workbench import Opened, Workbench
from reasoning_bank.text.tokens import counter

AGAIN: Final = 20
"""Times a prompt is compressed that was compressed before: it takes so little that one would not show."""
SAVED: Final = {"simple": 0.16, "memories": 0.30, "complex": 0.35}
"""Prompt -> share of its tokens that is said to be saved; they take about 500, 2,500 and 8,000 tokens."""


def packaged_prompt(name: str) -> str:
    """Returns one of the three prompts."""
    return (files("reasoning_bank.evaluation.bench") / "prompts" / f"{name}.md").read_text(encoding="utf-8")


def compression(name: str) -> Callable[[Workbench], Measured]:
    """What measures one of the three prompts."""
    return partial(_compressed, name)


def repeated_compression(bench: Workbench) -> Measured:
    """The same prompt compressed again and again: by a bank without caches against one with them."""
    prompt = packaged_prompt("memories")
    cached, bare = bench.bank(), bench.bank(cached=False)

    def compress(opened: Opened, times: int) -> float:
        return cpu_milliseconds(lambda: opened.call(opened.bank.compress, prompt, ratio=0.5), times=times)

    compress(bare, 1)
    compress(cached, 1)
    return paired(lambda: compress(bare, 1), lambda: compress(cached, AGAIN), rounds=bench.scale.few, unit="CPU ms")


def _compressed(name: str, bench: Workbench) -> Measured:
    """Tokens before, and after a compression to the share the claim leaves; what loses nothing alone as a figure."""
    tokens = counter("o200k_base", bench.assets)
    if not tokens.exact:
        raise SkippedError("the ranks of o200k_base are not installed: run `reasoning-bank assets install`")
    compressor = PromptCompressor(10**9, 1.0, tokenizer=tokens)
    prompt = packaged_prompt(name)
    lean, cut = compressor.compress(prompt), compressor.compress(prompt, ratio=1 - SAVED[name])
    return compared(
        [cut.tokens_before],
        [cut.tokens_after],
        unit="tokens",
        figures={"saved": 1 - cut.ratio, "saved_without_loss": 1 - lean.ratio},
    )
