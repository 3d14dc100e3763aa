"""Cutting texts to a number of tokens, visibly, so that an answer stays within its budget."""

from collections.abc import Callable

CountTokens = Callable[[str], int]
ELLIPSIS = "…"


def clip(text: str, tokens: int, count: CountTokens) -> str:
    """Returns `text` when it takes at most `tokens`, else its beginning and an ellipsis that together do.

    Args:
        text: any text.
        tokens: most tokens of the result; below 1 the result is empty.
        count: the tokenizer's counter.
    """
    if tokens < 1:
        return ""
    # A token is at least one byte and at most a few dozen characters: most texts are judged without counting, and
    # a text of megabytes is never counted whole.
    if len(text) <= tokens and len(text.encode("utf-8", "replace")) <= tokens:
        return text
    kept = text[: tokens * 32]
    if len(kept) == len(text) and count(text) <= tokens:
        return text
    while kept:
        cut = _at_word(kept) + ELLIPSIS
        size = count(cut)
        if size <= tokens:
            return cut
        kept = kept[: min(len(kept) - 1, int(len(kept) * tokens / size))]
    return ""


def one_line(text: str) -> str:
    """Returns `text` with each run of white space as one blank."""
    return " ".join(text.split())


def _at_word(text: str) -> str:
    """Returns `text` without a trailing broken word, if that costs little."""
    head = text.rstrip()
    space = head.rfind(" ")
    return head[:space] if space > len(head) * 0.8 else head
