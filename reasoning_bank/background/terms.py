"""After a new version: the stored terms of all memories made anew, once, a few at a time."""

import logging
from functools import partial

import anyio

from reasoning_bank.errors import BusyError, StorageError
from reasoning_bank.storage import facts
from reasoning_bank.storage.database import Database
from reasoning_bank.storage.renewal import outdated_terms, renew_terms
from reasoning_bank.text.analyser import ANALYSER_VERSION

logger = logging.getLogger(__name__)

FACT = "terms_of_analyser"
_AT_ONCE = 20
"""Memories per transaction: 20 ms of the one writer as a rule, a second where each has 64 KiB."""
_PAUSE_S = 0.05


async def keep_terms_current(database: Database) -> None:
    """Make the terms anew that an older analyser made, then come to an end; several processes may do so at once.

    Whatever stops it, the next process that opens the bank goes on.
    """
    try:
        known = await database.read(lambda connection: facts.get(connection, FACT))
        if known is not None and int(known) >= ANALYSER_VERSION:
            return
        after = 0
        while outdated := await database.read(partial(outdated_terms, after=after, limit=_AT_ONCE)):
            await database.write(partial(renew_terms, seqs=outdated))
            after = outdated[-1]
            await anyio.sleep(_PAUSE_S)
        await database.write(lambda connection: facts.put(connection, FACT, str(ANALYSER_VERSION)))
    except (StorageError, BusyError) as error:
        logger.warning("terms of an older version are made anew later: %s", error)
