"""How far memories are trusted after what was learned of them: corroborated, taken out of use, brought back."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from reasoning_bank.errors import InputError, NotFoundError
from reasoning_bank.learning.contradiction import reconsider, reinstate
from reasoning_bank.learning.support import BY_A_PERSON, ENOUGH, Support, support
from reasoning_bank.records import Memory
from reasoning_bank.storage import memories, standing

BY_RATINGS: Final = "ratings: "
"""What the reason of a quarantine begins with that ratings led to, and that ratings can end."""


def review(connection: Connection, workspace: str, id_: str, *, now: datetime) -> None:
    """Trusts a memory as what is known of it by now deserves, in the transaction that made it known.

    Quarantined where it repeatedly misled (see `Support.misleads`), and what it had overruled holds again; brought back
    where later verdicts clear it; trusted after `ENOUGH` independent successes. Low trust is a matter of origin: no
    verdict raises it.
    """
    memory = memories.by_ids(connection, workspace, [id_]).get(id_)
    if memory is None:
        return
    known = support(connection, memory)
    if memory.item.trust == "quarantined":
        if (memory.quarantined_for or "").startswith(BY_RATINGS) and known.is_cleared:
            before = standing.before_quarantine(connection, workspace, id_)
            standing.set_trust(connection, workspace, id_, before, reason="helped since", now=now)
    elif known.misleads:
        quarantine(connection, workspace, id_, reason=_complaint(known), now=now)
    elif memory.item.trust == "normal" and known.successes >= ENOUGH and known.helped >= known.misled:
        reason = f"{known.successes} independent successes"
        standing.set_trust(connection, workspace, id_, "trusted", reason=reason, now=now)
    elif memory.item.trust == "trusted" and known.misled > known.helped + known.sources:
        standing.set_trust(connection, workspace, id_, "normal", reason="misled more often than it helped", now=now)


def quarantine(connection: Connection, workspace: str, id_: str, *, reason: str, now: datetime) -> None:
    """Takes a memory out of use; what it had overruled holds again."""
    standing.set_trust(connection, workspace, id_, "quarantined", reason=reason, now=now)
    reinstate(connection, workspace, id_, reason="what overruled it is quarantined", now=now)


def restore(connection: Connection, workspace: str, id_: str, *, now: datetime) -> Memory:
    """Brings a quarantined memory back into use, trusted as before; verdicts until now count no more against it.

    Raises:
        NotFoundError: this workspace has no such memory.
        InputError: it is not quarantined.
    """
    memory = memories.by_ids(connection, workspace, [id_]).get(id_)
    if memory is None:
        raise NotFoundError(f"no memory {id_!r} in this workspace")
    if memory.item.trust != "quarantined":
        raise InputError(f"memory {id_!r} is not quarantined: its trust is {memory.item.trust}")
    before = standing.before_quarantine(connection, workspace, id_)
    standing.set_trust(connection, workspace, id_, before, reason=BY_A_PERSON, now=now)
    reconsider(connection, workspace, id_, now=now)
    return memories.by_ids(connection, workspace, [id_])[id_]


def _complaint(known: Support) -> str:
    by = f" by {known.raters} raters" if known.raters else ""
    return f"{BY_RATINGS}misled {known.misled} times{by}, helped {known.helped}"
