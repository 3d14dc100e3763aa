"""Bearer tokens for HTTP: only their sha256 is kept, and each is bound to one workspace."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from reasoning_bank.storage.memory_rows import dumped, loaded_words
from reasoning_bank.storage.schema import tokens
from reasoning_bank.storage.timestamps import from_micros, from_micros_or_none, to_micros


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is listed: without its secret."""

    id: str
    name: str
    workspace: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def opens(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def create(
    connection: Connection,
    secret: str,
    *,
    name: str,
    workspace: str,
    scopes: Sequence[str],
    now: datetime,
    expires_at: datetime | None = None,
) -> Token:
    """Keeps the digest of a secret of at least 256 random bits; the token, whose id is the digest's beginning."""
    digest = _digest(secret)
    token = Token(digest[:12], name, workspace, tuple(scopes), now, expires_at, None)
    connection.execute(
        insert(tokens).values(
            id=token.id,
            name=name,
            sha256=digest,
            workspace=workspace,
            scopes=dumped(token.scopes),
            created_at=to_micros(now),
            expires_at=to_micros(expires_at),
        )
    )
    return token


def verify(connection: Connection, secret: str, now: datetime) -> Token | None:
    """The token of a secret, or None when there is none, it has expired or was revoked."""
    digest = _digest(secret)
    row = connection.execute(select(tokens).where(tokens.c.id == digest[:12])).one_or_none()
    # The look-up is by the beginning of a digest, which a guesser cannot steer; the rest is compared in constant time.
    if row is None or not hmac.compare_digest(row.sha256, digest):
        return None
    token = _read(row)
    return token if token.opens(now) else None


def listing(connection: Connection, workspace: str | None = None) -> list[Token]:
    """All tokens, revoked and expired ones too, oldest first."""
    statement = select(tokens).order_by(tokens.c.created_at, tokens.c.id)
    if workspace is not None:
        statement = statement.where(tokens.c.workspace == workspace)
    return [_read(row) for row in connection.execute(statement)]


def revoke(connection: Connection, id_: str, now: datetime) -> bool:
    """Ends a token; False when there is none of that id or it was revoked before."""
    mine = (tokens.c.id == id_) & tokens.c.revoked_at.is_(None)
    return connection.execute(update(tokens).where(mine).values(revoked_at=to_micros(now))).rowcount == 1


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _read(row: Row[*tuple[Any, ...]]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        workspace=row.workspace,
        scopes=loaded_words(row.scopes),
        created_at=from_micros(row.created_at),
        expires_at=from_micros_or_none(row.expires_at),
        revoked_at=from_micros_or_none(row.revoked_at),
    )
