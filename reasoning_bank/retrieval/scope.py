"""Which memories a query may see: the filters as masks over a workspace's rows.

They answer as `storage.memories.scoped_ids` does in SQL (a property test holds them to it), but without moving
100,000 ids through Python for one query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from reasoning_bank.records import Query
from reasoning_bank.retrieval.corpus import OUTCOMES, BoolArray, Corpus
from reasoning_bank.retrieval.postings import find
from reasoning_bank.storage.timestamps import to_micros, to_seconds
from reasoning_bank.text.analyser import term_key

_SUCCESS, _FAILURE = OUTCOMES.index("success"), OUTCOMES.index("failure")


@dataclass(frozen=True, slots=True)
class Scope:
    """The candidates of a query.

    Attributes:
        mask: (n,) True for candidates, None when every row is one.
        count: how many there are.
    """

    mask: BoolArray | None
    count: int


def is_filtered(query: Query) -> bool:
    """Whether anything but being live decides about candidates."""
    named = query.tags or query.domain is not None or query.outcome != "any" or not query.include_failures
    return bool(named) or query.since is not None or query.until is not None


def find_scope(corpus: Corpus, query: Query, now: datetime) -> Scope:
    """The live, valid memories that pass every filter of the query."""
    if corpus.timeless and not is_filtered(query):
        mask = None if corpus.live_count == corpus.size else corpus.live
        return Scope(mask, corpus.live_count)
    mask = corpus.live.copy()
    if not corpus.timeless:
        moment = to_micros(now)
        mask &= (corpus.columns.valid_from <= moment) & (corpus.columns.valid_to > moment)
    mask &= _of_kind(corpus, query)
    mask &= _in_time(corpus, query)
    for tag in dict.fromkeys(query.tags):
        if not mask.any():  # however many tags are asked for, no memory has more than a few
            break
        mask &= _tagged(corpus, tag)
    count = int(np.count_nonzero(mask))
    # What takes nothing away must not cost what a mask costs at every step.
    return Scope(None if count == corpus.size else mask, count)


def candidates_among(corpus: Corpus, scope: Scope, ids: Sequence[str]) -> list[str]:
    """Those of the ids that are candidates, in their order."""
    rows = corpus.rows_of(ids)
    seen: list[int] = (rows if scope.mask is None else rows[scope.mask[rows]]).tolist()
    return [corpus.names.ids[row] for row in seen]


def _of_kind(corpus: Corpus, query: Query) -> BoolArray:
    outcomes = corpus.columns.outcomes
    mask = np.ones(corpus.size, np.bool_)
    if query.outcome != "any":
        mask &= outcomes == (_SUCCESS if query.outcome == "success" else _FAILURE)
    elif not query.include_failures:
        mask &= outcomes != _FAILURE
    if query.domain is not None:
        mask &= corpus.columns.domains == corpus.names.domains.get(query.domain.casefold(), -2)
    return mask


def _in_time(corpus: Corpus, query: Query) -> BoolArray:
    occurred = corpus.columns.occurred
    mask = np.ones(corpus.size, np.bool_)
    if query.since is not None:
        mask &= occurred >= to_seconds(query.since)
    if query.until is not None:
        mask &= occurred <= to_seconds(query.until)
    return mask


def _tagged(corpus: Corpus, tag: str) -> BoolArray:
    mask = np.zeros(corpus.size, np.bool_)
    mask[find(corpus.segments, np.array([term_key("tag", tag.casefold())], np.uint64)).rows] = True
    return mask
