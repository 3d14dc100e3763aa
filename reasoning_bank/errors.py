"""Every error this package raises on purpose.

ReasoningBankError
├─ InputError(ValueError)         the caller can fix it
│   └─ NotFoundError              no such id in this workspace
├─ UpstreamError(retry_after_s)   an LLM or embedding API failed, after retries
│   └─ BudgetSpentError           today's budget for language models is spent
├─ BusyError(retry_after_s)       a limit or queue is full: try again
├─ StorageError(code)             the bank's files: full, read_only, damaged, locked, foreign
│   └─ MigrationError
├─ ModelUnavailableError          the embedding model is missing, corrupt or still loading
├─ AssetError                     an asset could not be obtained or verified
├─ PermissionDeniedError          token or scope
└─ ConfigError                    at start only: one line on stderr, exit code 2

Anything else that escapes is a bug and is not caught.
"""

from typing import Literal

StorageCode = Literal["full", "read_only", "damaged", "locked", "foreign", "io"]


class ReasoningBankError(Exception):
    """Base of every error raised on purpose; its text is written for the person or model that reads it."""


class InputError(ReasoningBankError, ValueError):
    """The input is wrong; the text names the value and what to send instead."""


class NotFoundError(InputError):
    """No such item in this workspace; an item of another workspace reads the same."""


class UpstreamError(ReasoningBankError):
    """A remote model API failed after retries.

    Attributes:
        retry_after_s: seconds after which a retry may help, or None when unknown.
        status: HTTP status of the last answer, or None when there was none. 400 and 422 are about the request itself.
        partial: text that had come before an answer broke off.
        attempts: HTTP requests made.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        partial: str = "",
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status
        self.partial = partial
        self.attempts = attempts


class BudgetSpentError(UpstreamError):
    """Today's budget for language models does not hold this call; the text says which limit, and until when."""


class BusyError(ReasoningBankError):
    """A limit or a bounded queue is full.

    Attributes:
        retry_after_s: seconds after which a retry may help.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageError(ReasoningBankError):
    """The bank's files could not be read or written; nothing acknowledged is lost.

    Attributes:
        code: what kind of failure it is; each code has one fixed advice for the user.
    """

    def __init__(self, message: str, *, code: StorageCode) -> None:
        super().__init__(message)
        self.code: StorageCode = code


class MigrationError(StorageError):
    """The schema could not be brought up to date; the backup made before is named in the text."""


class ModelUnavailableError(ReasoningBankError):
    """A local model is missing, corrupt or still loading; without the embedding model keyword search goes on."""


class AssetError(ReasoningBankError):
    """An asset could not be obtained from any source, or its sha256 is wrong."""


class PermissionDeniedError(ReasoningBankError):
    """The token is missing, wrong, expired, revoked, or lacks the scope."""


class ConfigError(ReasoningBankError):
    """The configuration is wrong; raised at start only."""
