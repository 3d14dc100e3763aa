"""Upkeep of an open bank: privacy, what is out of use, work that was given up, the vector index, access over HTTP."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from reasoning_bank.bounds import named_workspace
from reasoning_bank.errors import NotFoundError
from reasoning_bank.learning import purging
from reasoning_bank.learning.lift import LEAST, Lift, lift
from reasoning_bank.learning.pruning import Prunable, prunable, prune_some, undo_pruning
from reasoning_bank.learning.purging import Purgeable, Way
from reasoning_bank.learning.trusting import restore
from reasoning_bank.opening import Rooms
from reasoning_bank.records import Memory, NewToken
from reasoning_bank.storage import history, memories, outbox, rejections, tokens, workspaces
from reasoning_bank.storage.batches import batches
from reasoning_bank.storage.history import Entry
from reasoning_bank.storage.rejections import StoredRejection
from reasoning_bank.storage.tokens import Token


class Upkeep:
    """What is done to a bank now and then, by a person or a program of theirs.

    Args:
        rooms: what the open bank consists of.
        now: the clock, aware UTC.
    """

    def __init__(self, rooms: Rooms, *, now: Callable[[], datetime]) -> None:
        self._rooms = rooms
        self._now = now

    async def set_privacy(self, workspace: str, mode: Literal["off", "redact", "block"] | None) -> None:
        """Set what happens to secrets in what a workspace stores from now on; None follows the setting."""
        name, now = named_workspace(workspace), self._now()

        def change(connection: Connection) -> None:
            workspaces.ensure(connection, name, now)
            workspaces.set_privacy_mode(connection, name, mode)

        await self._rooms.database.write(change)

    async def quarantined(self, workspace: str) -> list[Memory]:
        """Memories that are kept and never served, in the order they were stored; each says why."""
        return await self._rooms.database.read(lambda c: memories.quarantined(c, workspace))

    async def refused(self, workspace: str, *, limit: int = 20) -> list[StoredRejection]:
        """The last memories the gate refused, latest first."""
        return await self._rooms.database.read(lambda c: rejections.latest(c, workspace, limit=limit))

    async def restore(self, workspace: str, id: str) -> Memory:
        """Bring a quarantined memory back into use; raises NotFoundError, or InputError where it is not quarantined."""
        restored = await self._rooms.database.write(lambda c: restore(c, workspace, id, now=self._now()))
        self._rooms.worker.wake()
        return restored

    async def history(self, workspace: str, id: str) -> list[Entry]:
        """What was done to a memory without being asked for, oldest first: merges, trust, pruning."""
        return await self._rooms.database.read(lambda c: history.of_memory(c, workspace, id))

    async def lift(self, workspace: str, *, least: int = LEAST) -> list[Lift]:
        """How tasks ended with and without each memory that was given for one; see `learning.lift`."""
        return await self._rooms.database.read(lambda c: lift(c, workspace, least=least))

    async def prune(self, workspace: str, *, above: int, dry_run: bool = False) -> list[Prunable]:
        """Forget what never was of use, least worth first, until a workspace has at most so many memories of its own.

        Returns:
            What was forgotten, or with `dry_run` would be.
        """
        now = self._now()
        listed = await self._rooms.database.read(lambda c: prunable(c, workspace, limit=above, now=now, most=None))
        while not dry_run and await self._rooms.database.write(
            lambda c: prune_some(c, workspace, limit=above, now=now)
        ):
            pass
        return listed

    async def undo_pruning(self, workspace: str, *, since: datetime) -> list[str]:
        """Bring back what was pruned since a moment; the ids that are back."""
        return await self._rooms.database.write(lambda c: undo_pruning(c, workspace, since=since, now=self._now()))

    async def purge(self, workspace: str, way: Way, *, dry_run: bool = False) -> list[Purgeable]:
        """Forget all memories of a workspace that came by one way; what they stood for holds again.

        Returns:
            What was forgotten, or with `dry_run` would be.
        """
        if not dry_run:
            await self._rooms.database.write(lambda c: purging.call_off(c, workspace, way, now=self._now()))
        listed = await self._rooms.database.read(lambda c: purging.purgeable(c, workspace, way, most=None))
        while not dry_run and await self._rooms.database.write(
            lambda c: purging.purge_some(c, workspace, way, now=self._now())
        ):
            pass
        if not dry_run:
            await self._rooms.caches.clear(workspace=workspace)  # it may repeat what is to be forgotten
        self._rooms.worker.wake()
        return listed

    async def undo_purge(self, workspace: str, *, since: datetime) -> list[str]:
        """Bring back what was purged since a moment; the ids that are back."""
        database, back = self._rooms.database, list[str]()
        gone = await database.read(lambda c: purging.purged_since(c, workspace, since))
        for some in batches(gone, purging.BATCH):
            back += await database.write(lambda c, s=some: purging.bring_back(c, workspace, s, now=self._now()))
        self._rooms.worker.wake()
        return back

    async def retry_given_up(self) -> int:
        """Try background work again that was given up after its last attempt; how many pieces."""
        retried = await self._rooms.database.write(outbox.requeue_dead)
        self._rooms.worker.wake()
        return retried

    async def rebuild_index(self) -> str:
        """Build the vector index anew from the truth; in one sentence, what came of it."""
        indexer = self._rooms.indexer
        if indexer is None:
            return "no vector index is wanted (see vectors.search and vectors.chroma_mode)"
        if not await indexer.rebuild():
            return "the process that owns the vector index was asked to build it anew"
        build = indexer.report()
        return (
            f"built as generation {build.generation}"
            if build.generation
            else "no workspace is large enough to need one"
        )

    async def create_token(
        self, workspace: str, *, name: str, scopes: Sequence[str], lifetime: timedelta | None = None
    ) -> NewToken:
        """Make a bearer token for HTTP that is bound to a workspace."""
        secret = f"rb_{secrets.token_urlsafe(32)}"
        now = self._now()
        ends = now + lifetime if lifetime else None
        token = await self._rooms.database.write(
            lambda c: tokens.create(
                c, secret, name=name, workspace=named_workspace(workspace), scopes=scopes, now=now, expires_at=ends
            )
        )
        return NewToken(token.id, secret)

    async def list_tokens(self, workspace: str | None = None) -> list[Token]:
        """All tokens, revoked and expired ones too; never their secrets."""
        return await self._rooms.database.read(lambda c: tokens.listing(c, workspace))

    async def has_token(self) -> bool:
        """Whether any token opens anything now."""
        now = self._now()
        return any(token.opens(now) for token in await self.list_tokens())

    async def revoke_token(self, id: str) -> None:
        """End a token at once; raises NotFoundError."""
        if not await self._rooms.database.write(lambda c: tokens.revoke(c, id, self._now())):
            raise NotFoundError(f"no token {id!r} that is not revoked: `reasoning-bank token list` shows them")

    async def verify_token(self, secret: str) -> Token | None:
        """The token of a secret, or None when it is unknown, expired or revoked."""
        return await self._rooms.database.read(lambda c: tokens.verify(c, secret, self._now()))
