# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# llmlingua has no types, and is not installed everywhere; this file is where it is wrapped.
"""Words of prose that LLMLingua-2 leaves out; needs the extra `[llmlingua]` and the model's weights.

Pan et al. 2024, arXiv:2403.12968: a token classifier says of each word whether it is needed, whatever the question.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from reasoning_bank.compression.compressor import Shorten
from reasoning_bank.compression.edits import Edit
from reasoning_bank.errors import ModelUnavailableError

_BETWEEN_WORDS: Final = "\x1f"
_BETWEEN_LABELS: Final = "\x1e"
_DENIALS: Final = ("not", "no", "never", "without", "only", "except", "unless")
_FAMILIES: Final = ("bert-base-multilingual-cased", "xlm-roberta-large")
_REACH: Final = 40
"""Characters behind a word within which the next one begins; the model may have written it otherwise."""


def llmlingua(model: str) -> Shorten:
    """Return what takes words out of prose; the model is loaded when it is first asked.

    Args:
        model: folder of the weights, or a name that is in the Hugging Face cache; nothing is downloaded. The package
            tells the tokenizer by "bert-base-multilingual-cased" or "xlm-roberta-large" in it.
    """

    def shorten(text: str, share: float) -> list[Edit]:
        try:
            answer = _loaded(model).compress_prompt_llmlingua2(
                [text],
                rate=share,
                force_tokens=list(_DENIALS),
                force_reserve_digit=True,
                return_word_label=True,
                word_sep=_BETWEEN_WORDS,
                label_sep=_BETWEEN_LABELS,
            )
        except IndexError:
            # It fails on a text without a word that it knows.
            return []
        labelled = (
            each.rpartition(_BETWEEN_LABELS) for each in answer["fn_labeled_original_prompt"].split(_BETWEEN_WORDS)
        )
        return list(left_out(text, ((word, label) for word, _, label in labelled)))

    return shorten


def left_out(text: str, labelled: Iterable[tuple[str, str]]) -> Iterator[Edit]:
    """Yield the edits that take out the words labelled "0", with the blanks behind those that have some before them.

    Args:
        text: what the model read.
        labelled: its words in order, each with "1" where it is needed; one that is not found in the text, or is a part
            of a longer one, stays.
    """
    at = 0
    for word, label in labelled:
        start = text.find(word, at, at + len(word) + _REACH) if word else -1
        if start < 0:
            continue
        at = start + len(word)
        if label != "0" or text[max(start - 1, 0) : start].isalnum() or text[at : at + 1].isalnum():
            continue
        end = at
        while end < len(text) and text[end] == " " and not text[max(start - 1, 0) : start].strip():
            end += 1
        yield Edit(start, end, "")
        at = end


@lru_cache(maxsize=1)
def _loaded(model: str) -> Any:
    if not any(name in model for name in _FAMILIES):
        raise ModelUnavailableError(f"{model!r} has none of {', '.join(_FAMILIES)} in its name: LLMLingua-2 needs one")
    try:
        from llmlingua import PromptCompressor  # noqa: PLC0415 -- an extra, and seconds of torch
    except ImportError as error:
        raise ModelUnavailableError(
            "`compression.backend = \"llmlingua\"` needs its extra: pip install 'reasoning-bank[llmlingua]'"
        ) from error
    try:
        return PromptCompressor(
            model,
            device_map="cpu",
            model_config={"local_files_only": True, "trust_remote_code": False},
            use_llmlingua2=True,
        )
    # The package asks for tiktoken's ranks too, over the network where they are not in its cache.
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"the weights of {model!r} cannot be loaded: set `compression.llmlingua_model` to their folder"
        ) from error
