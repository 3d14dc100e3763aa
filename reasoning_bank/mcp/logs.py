"""Log lines of a process: on stderr, secrets redacted, the SDK's own chatter left out."""

import logging
import secrets

from reasoning_bank.errors import ConfigError
from reasoning_bank.settings import Settings

_TALKATIVE = ("mcp", "httpx2", "chromadb", "uvicorn", "asyncio")
"""At INFO these write request bodies, full addresses or error texts that repeat what a client sent."""


class LazyRedaction(logging.Filter):
    """Redacts secrets in log lines; loads its rules with the first line, which is after the handshake."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._rules: logging.Filter | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Redacts `record` in place; always keeps it."""
        if self._rules is None:
            from reasoning_bank.opening.privacy import redaction_rules  # noqa: PLC0415 -- compiles its rules
            from reasoning_bank.privacy.redaction import RedactingFilter, Redactor  # noqa: PLC0415

            try:
                rules = redaction_rules(self._settings)
            except ConfigError:  # the bank does not open with such rules, and says why
                rules = None
            self._rules = RedactingFilter(Redactor("redact", salt=secrets.token_bytes(16), rules=rules))
        return bool(self._rules.filter(record))


def log_to_stderr(settings: Settings, *, at_least: int = logging.NOTSET) -> None:
    """Sends log lines of this process to stderr; replaces what was set up before.

    Args:
        settings: the least severe line that is written.
        at_least: a higher bound, for a command that prints a result and logs only what is wrong.
    """
    level = max(logging.getLevelNamesMapping()[settings.log_level], at_least)
    handler = logging.StreamHandler()
    handler.addFilter(LazyRedaction(settings))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, level))
