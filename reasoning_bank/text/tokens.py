"""How many tokens a text takes: exactly, where a tokenizer's files are on disk, else estimated.

Ranks are read from a verified local file and handed to tiktoken directly: asking tiktoken by name
would let it download without a timeout, and delete a file whose hash it does not expect.
"""

import base64
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from reasoning_bank.errors import InputError

logger = logging.getLogger(__name__)

ESTIMATED: Final = "estimated"
"""Name of the counter that needs no files."""
ESTIMATE_ERROR: Final = 0.05
"""Mean error of the estimator as a share of the o200k count, per 2,000 characters: 3 to 6 % on prompts with code, logs,
JSON, Markdown, chats and articles (dev/prompts and dev/compress, 811 pieces; 95 % of them within 15 %)."""
WORDPIECE: Final = "wordpiece"
"""Name of the embedding model's own tokenizer."""

# Pre-token patterns and special tokens are those of tiktoken's own definitions (MIT).
_O200K_LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PATTERNS: Final[Mapping[str, str]] = {
    "o200k_base": "|".join(
        [
            rf"[^\r\n\p{{L}}\p{{N}}]?{_O200K_LETTERS[0]}*{_O200K_LETTERS[1]}+{_CONTRACTIONS}",
            rf"[^\r\n\p{{L}}\p{{N}}]?{_O200K_LETTERS[0]}+{_O200K_LETTERS[1]}*{_CONTRACTIONS}",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}
# A truncated or altered file would count wrongly without a word.
_SHA256: Final[dict[str, str]] = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
TOKENIZERS: Final = (*_PATTERNS, WORDPIECE, ESTIMATED)
"""Names that `counter` understands, beside those of models."""
# The beginning of a model's name tells its tokenizer; of two that fit, the longer one. Claude, Gemini and the open
# weights count by tokenizers of their own that are not here: what they take is estimated.
_MODELS: Final[Mapping[str, str]] = {
    "gpt-3.5": "cl100k_base",
    "gpt-4": "cl100k_base",
    "text-embedding-": "cl100k_base",
    "gpt-4o": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4.5": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-oss": "o200k_base",
    "chatgpt-": "o200k_base",
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4": "o200k_base",
    "all-minilm-l6-v2": WORDPIECE,
    **dict.fromkeys(
        (
            "claude",
            "gemini",
            "gemma",
            "llama",
            "mistral",
            "mixtral",
            "qwen",
            "deepseek",
            "grok",
            "command",
            "phi",
            "kimi",
        ),
        ESTIMATED,
    ),
}

# tiktoken overflows its stack, and panics, on a run of some hundred thousand blanks. Texts are
# counted in pieces: cut where tokens end anyway, or, in a run that has no such place, anywhere
# (at most one token more per piece).
_PIECE_CHARS = 100_000
_TOKEN_END = re.compile(r"\n(?=[A-Za-z])|(?<=[A-Za-z])(?= [A-Za-z])")

_RUNS = re.compile(
    r"(?P<cjk>[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef])"
    r"|(?P<letters>[^\W\d_A-Z]+|[A-Z]+[^\W\d_A-Z]*)|(?P<digits>\d+)|(?P<blanks>\n\s*|[ \t\r]{2,})"
    r"|\s|(?P<prefix>(?:[^\w\s]|_)(?=[^\W\d_]))|(?P<marks>(?:[^\w\s]|_)+(?![^\W\d_]))"
)


class TokenCounter:
    """Counts tokens of one tokenizer; loads its file on first use, safe to share among threads.

    Attributes:
        name: "o200k_base", "cl100k_base", "wordpiece" or "estimated": what the counts are counts of.
        exact: False when the counts are estimates.
    """

    def __init__(self, name: str, ranks: Path | None = None) -> None:
        self.name = name if ranks else ESTIMATED
        self.exact = ranks is not None
        self._ranks = ranks
        self._count: Callable[[str], int] | None = None if ranks else estimate
        self._lock = threading.Lock()

    @property
    def error(self) -> float:
        """Mean error of a count as a share of it; 0 when counts are exact."""
        return 0.0 if self.exact else ESTIMATE_ERROR

    @property
    def ready(self) -> bool:
        """Whether a count needs no loading first."""
        return self._count is not None

    def load(self) -> None:
        """Read the ranks now (about half a second of CPU), so that the first count need not.

        A file that cannot be read or parsed makes this counter an estimator and is logged.
        """
        with self._lock:
            if self._count or not self._ranks:
                return
            try:
                self._count = _exact_count(self.name, self._ranks)
            except (OSError, ValueError) as error:
                logger.warning("tokenizer %s unusable, counts are estimates: %s", self.name, error)
                self.name, self.exact = ESTIMATED, False
                self._count = estimate

    def count(self, text: str) -> int:
        """Return how many tokens the text takes; special tokens count as the text they are."""
        if self._count is None:
            self.load()
        assert self._count is not None
        return self._count(text)


def counter(name: str, ranks: Path | None = None) -> TokenCounter:
    """Return a counter for a tokenizer or a model; an announced estimator where its file is not on disk.

    Args:
        name: one of `TOKENIZERS`, or a model such as "gpt-4o" or "openai/gpt-5-mini".
        ranks: the verified file of the tokenizer, its folder, or the assets directory.

    Raises:
        InputError: no tokenizer and no known model has that name.
    """
    tokenizer = name if name in TOKENIZERS else _of_model(name)
    if tokenizer == ESTIMATED or ranks is None:
        return TokenCounter(tokenizer)
    if tokenizer == WORDPIECE:
        places = (ranks, ranks / "tokenizer.json", ranks / "all-MiniLM-L6-v2" / "tokenizer.json")
    else:
        places = (ranks, ranks / f"{tokenizer}.tiktoken", ranks / "tiktoken" / f"{tokenizer}.tiktoken")
    return TokenCounter(tokenizer, next((place for place in places if place.is_file()), None))


def estimate(text: str) -> int:
    """Return about how many o200k tokens the text takes, without any ranks.

    One linear pass over runs of letters, digits, blanks and marks. The weights are a least-squares fit to o200k on
    English prose, chats, Markdown, Python, JSON and logs: mean error 3 to 7 % per 2,000 characters on each of these.
    Never 0 for text that is not empty.
    """
    total = sum(_weight(run) for run in _RUNS.finditer(text))
    return max(round(total), 1) if text else 0


def _weight(run: re.Match[str]) -> float:
    length = run.end() - run.start()
    match run.lastgroup:
        case "letters":
            return 0.97 + 0.22 * max(length - 7, 0)
        case "cjk":
            return 0.75
        case "digits":  # groups of three, and the marks between numbers rarely merge
            return 1.2 * ((length + 2) // 3)
        case "blanks":
            return 0.45
        case "prefix":  # a single mark before a letter is often part of the word's token
            return 0.55
        case "marks":
            return 0.9 if length == 1 else 1.3 + 0.05 * length
        case _:
            return 0.0


def _of_model(name: str) -> str:
    model = name.lower().rsplit("/", 1)[-1]
    fitting = [start for start in _MODELS if model.startswith(start)]
    if not fitting:
        raise InputError(
            f"unknown tokenizer {name!r}: use one of {', '.join(TOKENIZERS)}, or a model such as 'gpt-4o' or 'claude'"
        )
    return _MODELS[max(fitting, key=len)]


def _exact_count(name: str, file: Path) -> Callable[[str], int]:
    length = _wordpieces(file) if name == WORDPIECE else _encoding(name, file)
    return lambda text: sum(length(piece) for piece in _pieces(text))


def _wordpieces(file: Path) -> Callable[[str], int]:
    from tokenizers import Tokenizer  # noqa: PLC0415  # a Rust library: only when tokens are counted

    tokenizer = Tokenizer.from_file(str(file))
    # The file itself says: cut at 128 and pad everything to 128.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _encoding(name: str, ranks: Path) -> Callable[[str], int]:
    import tiktoken  # noqa: PLC0415  # 0.1 s and a Rust library: only when tokens are counted

    data = ranks.read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise ValueError("its sha256 is wrong: install the assets again")
    parsed = {
        base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines() if line)
    }
    encoding = tiktoken.Encoding(name, pat_str=_PATTERNS[name], mergeable_ranks=parsed, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE_CHARS:
        latest = start + _PIECE_CHARS
        found = _TOKEN_END.search(text, start + _PIECE_CHARS // 2, latest)
        end = found.end() if found else latest
        yield text[start:end]
        start = end
    yield text[start:]
