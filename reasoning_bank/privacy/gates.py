"""Is a value that stands where a secret may stand really one? Judged by its shape, never by a word list of secrets.

Most of what follows `password =` in code and documents is no password: a variable, a call, a type, a label, a
placeholder. Each gate says no to those; what is left is redacted.
"""

import base64
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import unquote

from reasoning_bank.privacy import identifiers
from reasoning_bank.privacy.candidates import Candidate


def literal(candidate: Candidate) -> bool:
    """True for a value written out: no reference such as `${VAR}` or `<password>`, no mask, no common stand-in."""
    value = candidate.value.strip(".,:;!?")
    return not (len(set(value)) <= 1 or _REFERENCE.match(value) or _STAND_IN.fullmatch(value) or _TYPE.fullmatch(value))


def digits(candidate: Candidate) -> bool:
    """True for a value with a digit: a random key has one, a hyphenated name seldom."""
    return _has_digit(candidate.value)


def mixed(candidate: Candidate) -> bool:
    """True for a written-out value with letters and something else."""
    value = candidate.value
    return literal(candidate) and any(map(str.isalpha, value)) and not value.isalpha()


def password(candidate: Candidate) -> bool:
    """True for what people use as passwords; the less the syntax says, the more the value has to."""
    value = candidate.value.strip(".,") if candidate.style != "quoted" else candidate.value
    if len(value) < 4 or not literal(candidate) or candidate.following in _CALLS or _FILE.match(value):
        return False
    if candidate.style == "quoted":
        return " " not in value.strip() or (_has_digit(value) and not _SENTENCE.search(value))
    if _PATH.fullmatch(value) or (_NAMED_AFTER_ITSELF.search(value) and not _has_digit(value)) or _NTH.fullmatch(value):
        return False
    plain = value.isidentifier() or value.replace("-", "").isalpha()
    return not plain or (_has_digit(value) and len(value) >= 6)


def secret(candidate: Candidate) -> bool:
    """True for a random-looking value of at least 8 characters."""
    return _random(candidate, shortest=8, bits=2.75)


def token(candidate: Candidate) -> bool:
    """True for a random-looking value of at least 12 characters; `token` names many harmless things too."""
    return _random(candidate, shortest=12, bits=3.0)


def signature(candidate: Candidate) -> bool:
    """True for the 44 characters of base64 that a SHA-256 signature takes, percent-encoded or not."""
    return 43 <= len(unquote(candidate.value)) <= 44 and mixed(candidate)


def user_password(candidate: Candidate) -> bool:
    """True for base64 of `user:password`, as HTTP's basic authentication and Docker's configuration have it."""
    try:
        said = base64.b64decode(candidate.value + "=" * (-len(candidate.value) % 4)).decode()
    except ValueError:
        return False
    user, _, password = said.partition(":")
    return bool(user and password) and said.isprintable()


def encoded_key(candidate: Candidate) -> bool:
    """True for base64 whose first line names a private key, not a certificate."""
    return b"PRIVATE KEY" in base64.b64decode(candidate.value[:_FIRST_LINE])


GATES: Mapping[str, Callable[[Candidate], bool]] = {
    "value": literal,
    "digits": digits,
    "mixed": mixed,
    "password": password,
    "secret": secret,
    "token": token,
    "signature": signature,
    "user-password": user_password,
    "encoded-key": encoded_key,
    **identifiers.GATES,
}
"""The gates by the names that rules use."""


def entropy(value: str) -> float:
    """Return the Shannon entropy of the first 256 characters, in bits per character."""
    sample = value[:256]
    return -sum(n / len(sample) * math.log2(n / len(sample)) for n in Counter(sample).values()) if sample else 0.0


_REFERENCE = re.compile(
    r"\$[A-Za-z_{(]|\{\{?[\w .|]*\}|<[\w ./-]*>?\Z|%\(|%\w*[%sdr]\Z|\[[A-Z]|@Microsoft\.|\.\.\.|…|#\{|!Ref\b"
    r"|(?:os|process|self|env|args|config|settings|secrets|vars)[.\[]"
)
_TYPE = re.compile(r"(?:u?int|float|varchar|char|text|bytes|str|string)\d*[!?]?", re.IGNORECASE)
_STAND_IN = re.compile(
    r"pass(?:wd|word|phrase)?|pwd|secret|token|key|none|null|nil|true|false|undefined|string|required|optional|default"
    r"|change_?me|redacted|hidden|removed|masked|example|placeholder|your[-_]?password|user(?:name)?|value|test|empty"
    r"|input|prompt|stdin|n/a|is|not|(?:in)?correct|invalid|wrong",
    re.IGNORECASE,
)
_FIRST_LINE = 52  # base64 of 39 bytes: "-----BEGIN ENCRYPTED PRIVATE KEY-----" and what comes next
_CALLS = frozenset("([{")
_PATH = re.compile(r"[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)+|/?(?:[\w.-]+/)+[\w.-]*")
_FILE = re.compile(r"~?/|\.{1,2}/|[A-Za-z]:\\")  # PWD is a directory in every shell's environment
_NAMED_AFTER_ITSELF = re.compile(r"pass|pwd|secret|token|cred|input|field|param|hash", re.IGNORECASE)
_NTH = re.compile(r"(?:pass|passwd|password|pwd|secret|token|cred|input|field|param|hash)_?\d{1,2}", re.IGNORECASE)
"""A variable such as `password2`; with more to it, a name that holds a digit is a password."""
_SENTENCE = re.compile(r"\b(?:must|should|your|the|please|enter|invalid|characters?|password|is|at)\b", re.IGNORECASE)
_WORDS = re.compile(r"(?:[A-Za-z]{2,}|\d{1,3})(?:[_.:/-](?:[A-Za-z]+\d{0,2}|[A-Za-z]?\d{1,3}))*")
_STAND_IN_WORD = re.compile(r"your|example|placeholder|dummy|change.?me|xxxx|\.\.\.", re.IGNORECASE)


def _has_digit(value: str) -> bool:
    return any(character in "0123456789" for character in value)


def _random(candidate: Candidate, *, shortest: int, bits: float) -> bool:
    value = candidate.value.strip(".,")
    if len(value) < shortest or not literal(candidate) or candidate.following in _CALLS:
        return False
    if not _has_digit(value) and not (any(map(str.isupper, value[1:])) and len(value) >= 16):
        return False
    words = _WORDS.fullmatch(value) or _PATH.fullmatch(value) or _STAND_IN_WORD.search(value)
    return not (words or value.isdigit() or " " in value) and entropy(value) >= bits
