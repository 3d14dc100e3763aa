"""What was taken back from a shared store: how others learn of it, and what is still owed to it."""

import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

SLOTS: Final = 4_096
_MOST_OWED: Final = 1_000

Version: TypeAlias = tuple[int, int, int]
"""How often anything, a namespace and a key were changed, as far as this place can tell."""


class Target(NamedTuple):
    """What a change concerns: one entry, a namespace (no key), or everything (neither)."""

    namespace: str | None = None
    key: str | None = None

    @property
    def slot(self) -> int:
        """Its counter, the same in every process; others may share it, which costs them a look into the store."""
        if self.namespace is None:
            return 0
        name = self.namespace if self.key is None else f"{self.namespace}\0{self.key}"
        return 1 + zlib.crc32(name.encode("utf-8", "surrogatepass")) % (SLOTS - 1)


class Counters(Protocol):
    """`SLOTS` numbers."""

    def __getitem__(self, slot: int, /) -> int: ...

    def __setitem__(self, slot: int, number: int, /) -> None: ...


class Versions:
    """Counters of changes: what was read at a version may be served while the version is the same.

    A counter is odd while its change is under way: nothing it concerns is to be trusted then, nor after a process that
    was killed there, until the next change of the same counter. Counters only grow.

    Args:
        counters: even in the beginning; of this process alone, or what several processes share.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def of(self, namespace: str, key: str) -> Version | None:
        """Return the version of an entry, or None while it is being changed."""
        slots = (0, Target(namespace).slot, Target(namespace, key).slot)
        version = (self._counters[slots[0]], self._counters[slots[1]], self._counters[slots[2]])
        return None if any(count & 1 for count in version) else version

    def changing(self, target: Target) -> None:
        """Say that a change begins."""
        self._counters[target.slot] = self._counters[target.slot] | 1

    def changed(self, slot: int) -> None:
        """Say that a change is there for all to see, or will never be; also without `changing` before."""
        self._counters[slot] = (self._counters[slot] | 1) + 1


class Owed:
    """Changes that did not get through: they come before anything else that is asked of the store.

    Otherwise what a caller took back while the store was away would be there again when it is back.
    """

    def __init__(self) -> None:
        self._targets: dict[Target, int] = {}
        self._added = 0

    def due(self) -> dict[Target, int]:
        """Return what is owed, each with the number that says when it was added."""
        return dict(self._targets)

    def add(self, target: Target) -> None:
        """Remember a change; many become one of everything."""
        self._added += 1
        self._targets[target] = self._added
        if len(self._targets) > _MOST_OWED:
            self._targets = {Target(): self._added}

    def paid(self, due: Mapping[Target, int]) -> None:
        """Forget the changes that got through, but not those that were added again meanwhile."""
        for target, added in due.items():
            if self._targets.get(target) == added:
                del self._targets[target]
