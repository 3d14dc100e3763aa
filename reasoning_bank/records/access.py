"""Who may reach the bank over HTTP."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NewToken:
    """A bearer token just made; its secret is shown this once and only its digest is kept."""

    id: str
    secret: str = field(repr=False)
