"""Secrets leave the text; equal secrets stay equal by a placeholder such as `[REDACTED:aws-key:4f2a]`.

One linear pass per rule over the places where its anchors stand: text without anchors costs a few substring searches.
Redacting what is redacted changes nothing.
"""

import hmac
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_bank.errors import InputError
from reasoning_bank.privacy.candidates import Candidate
from reasoning_bank.privacy.rules import RuleSet, packaged_rules
from reasoning_bank.records import JsonValue

Mode = Literal["off", "redact", "block"]
PLACEHOLDER: Final = re.compile(r"\[REDACTED:[a-z0-9-]+:[0-9a-f]{4}\]")

_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_NAME_KEYS: Final = ("name", "key", "Name", "Key")
_VALUE_KEYS: Final = ("value", "Value")
# A redaction can free a neighbour that its boundary hid; each pass removes at least one secret, and two do in practice.
_PASSES: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One secret that was found; never the secret itself."""

    kind: str
    placeholder: str


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without its secrets, and what they were, in order of their places."""

    text: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class RedactedValue:
    """A JSON value without the secrets in its strings and keys, and what they were."""

    value: JsonValue
    findings: tuple[Finding, ...] = ()


class Redactor:
    """Finds secrets and takes them out, or refuses text that holds one; safe to share among threads.

    Attributes:
        mode: "redact" replaces, "block" refuses, "off" lets everything pass.
    """

    def __init__(self, mode: Mode = "redact", salt: bytes = b"", *, rules: RuleSet | None = None) -> None:
        """Take the bank's own random salt, without which nobody can test a guess against a placeholder, and the rules.

        Without rules those of the package for secrets are loaded with the first text.
        """
        self.mode: Mode = mode
        self._salt = salt
        self._rules = rules

    def text(self, text: str, field: str = "text") -> Redacted:
        """Return the text without secrets.

        Args:
            text: from a caller, a file or a model.
            field: its name in the caller's words, for the error.

        Raises:
            InputError: mode is "block" and a secret was found; names its kind, never the secret.
        """
        if self.mode == "off" or not text:
            return Redacted(text)
        findings: list[Finding] = []
        clean = self._clean(text, findings)
        if self.mode == "block":
            _refuse(findings, field)
        return Redacted(clean, tuple(findings))

    def value(self, value: JsonValue, field: str = "value") -> RedactedValue:
        """Return the JSON value without secrets in any string or key; a value named `password` is judged by its name.

        Raises:
            InputError: mode is "block" and a secret was found; names its kind, never the secret.
        """
        if self.mode == "off":
            return RedactedValue(value)
        findings: list[Finding] = []
        clean = self._clean_value(value, findings)
        if self.mode == "block":
            _refuse(findings, field)
        return RedactedValue(clean, tuple(findings))

    def name(self, name: str, field: str = "name") -> str:
        """Return a name that no other has: as it is, or a digest with the bank's salt where it holds a secret.

        Raises:
            InputError: mode is "block" and a secret was found.
        """
        if not self.text(name, field).findings:
            return name
        return f"redacted-{self._digest(name)[:32]}"

    def refuse(self, name: str, field: str = "name") -> None:
        """Refuse a name that holds a secret, where it cannot be another one than was asked for.

        Raises:
            InputError: a secret was found; names its kind, never the secret.
        """
        if self.mode != "off":
            findings: list[Finding] = []
            self._clean(name, findings)
            _refuse(findings, field)

    def always(self) -> "Redactor":
        """Return this redactor in mode "redact": for logs, which neither refuse a line nor keep a secret."""
        return Redactor("redact", self._salt, rules=self._rules)

    def _clean(self, text: str, findings: list[Finding]) -> str:
        for _ in range(_PASSES):
            parts = [self._clean_part(part, findings) for part in _between_placeholders(text)]
            clean = "".join(parts)
            if clean == text:
                break
            text = clean
        return text

    def _clean_part(self, part: str, findings: list[Finding]) -> str:
        if PLACEHOLDER.fullmatch(part):
            return part
        pieces: list[str] = []
        done = 0
        for start, end, kind in _merged(self._active().spans(part, _lowered(part))):
            finding = Finding(kind, self._placeholder(kind, part[start:end]))
            findings.append(finding)
            pieces += part[done:start], finding.placeholder
            done = end
        return "".join([*pieces, part[done:]]) if pieces else part

    def _active(self) -> RuleSet:
        return packaged_rules() if self._rules is None else self._rules

    def _placeholder(self, kind: str, secret: str) -> str:
        return f"[REDACTED:{kind}:{self._digest(secret)[:4]}]"

    def _digest(self, secret: str) -> str:
        return hmac.new(self._salt, secret.encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def _clean_value(self, value: JsonValue, findings: list[Finding]) -> JsonValue:
        if isinstance(value, str):
            return self._clean(value, findings)
        if isinstance(value, list):
            return [self._clean_value(item, findings) for item in value]
        if isinstance(value, dict):
            return self._clean_object(value, findings)
        return value

    def _clean_object(self, value: dict[str, JsonValue], findings: list[Finding]) -> dict[str, JsonValue]:
        clean: dict[str, JsonValue] = {}
        said = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")
        for key, item in value.items():
            name = str(said) if key in _VALUE_KEYS and said else key
            clean_key = self._clean(key, findings)
            while clean_key in clean:  # two secrets may share a placeholder; neither value is dropped for it
                clean_key += "'"
            clean[clean_key] = self._named(name, item, findings)
        return clean

    def _named(self, name: str, value: JsonValue, findings: list[Finding]) -> JsonValue:
        if not isinstance(value, str) or PLACEHOLDER.search(value):
            return self._clean_value(value, findings)
        for rule in self._active().named:
            if rule.name and rule.gate and rule.name.search(name) and rule.gate(Candidate(value, "quoted")):
                finding = Finding(rule.kind, self._placeholder(rule.kind, value))
                findings.append(finding)
                return finding.placeholder
        return self._clean(value, findings)


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records: message, arguments, traceback and stack; add it to each handler."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor.always()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; the record's texts are replaced in place."""
        record.msg, record.args = self._clean(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = self._clean(record.exc_text) if record.exc_text else record.exc_text
        record.stack_info = self._clean(record.stack_info) if record.stack_info else record.stack_info
        return True

    def _clean(self, text: str) -> str:
        return self._redactor.text(text).text


def _refuse(findings: Sequence[Finding], field: str) -> None:
    if findings:
        kinds = ", ".join(sorted({finding.kind for finding in findings}))
        raise InputError(f"{field} holds what looks like a secret ({kinds}): take it out and send it again")


def _between_placeholders(text: str) -> list[str]:
    """Split at placeholders, keeping them: what is redacted is never looked at again."""
    if "[REDACTED:" not in text:
        return [text]
    parts: list[str] = []
    done = 0
    for placeholder in PLACEHOLDER.finditer(text):
        parts += text[done : placeholder.start()], placeholder[0]
        done = placeholder.end()
    return [*parts, text[done:]]


def _merged(spans: Iterable[tuple[int, int, int, str]]) -> list[tuple[int, int, str]]:
    """Join overlapping spans; the most specific rule names the whole."""
    merged: list[tuple[int, int, int, str]] = []
    for start, order, end, kind in sorted(spans):
        if merged and start < merged[-1][1]:
            first, last, best, name = merged[-1]
            merged[-1] = (first, max(last, end), *min((best, name), (order, kind)))
        else:
            merged.append((start, end, order, kind))
    return [(start, end, kind) for start, end, _, kind in merged]


def _lowered(text: str) -> str:
    lowered = text.lower()
    # A few letters become two in lower case, which would shift every place behind them.
    return lowered if len(lowered) == len(text) else text.translate(_ASCII_LOWER)
