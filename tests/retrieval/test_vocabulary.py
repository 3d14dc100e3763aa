import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.records import MemoryItem
from reasoning_bank.retrieval.lexical import query_terms
from reasoning_bank.retrieval.postings import KeyArray, Segment, add_segment, build_segment, frequencies, unpack_terms
from reasoning_bank.retrieval.vocabulary import FALSE_YES, Vocabulary, empty_vocabulary, extended
from reasoning_bank.text.analyser import analyse, analyse_query

KEYS = st.lists(st.integers(0, 2**64 - 1), max_size=40)


def segment_of(keys: KeyArray) -> Segment:
    distinct = np.unique(keys)
    rows = np.zeros(len(distinct), np.int32)
    return Segment(distinct, np.arange(len(distinct) + 1), rows, np.ones(len(distinct), np.float32))


def grown(batches: list[list[int]]) -> tuple[Vocabulary, tuple[Segment, ...]]:
    vocabulary, segments = empty_vocabulary(), ()
    for batch in batches:
        segment = segment_of(np.array(batch, np.uint64))
        segments = add_segment(segments, segment)
        vocabulary = extended(vocabulary, segment.keys, segments=segments)
    return vocabulary, segments


@given(st.lists(KEYS, max_size=8))
def test_a_term_that_some_memory_holds_is_always_known(batches: list[list[int]]) -> None:
    vocabulary, _ = grown(batches)
    keys = np.array([key for batch in batches for key in batch], np.uint64)
    assert vocabulary.known(keys).all()


def test_growing_far_beyond_its_size_misses_nothing_and_stays_sharp() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 60_000, dtype=np.uint64)
    vocabulary, segments = grown([batch.tolist() for batch in np.array_split(keys, 40)])
    assert vocabulary.known(keys).all()
    strangers = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    assert not frequencies(segments, strangers).any()
    assert vocabulary.known(strangers).mean() < 2 * FALSE_YES


def test_an_older_snapshot_does_not_see_what_came_later() -> None:
    first, segments = grown([[1, 2, 3]])
    later = segment_of(np.arange(100, 200, dtype=np.uint64))
    extended(first, later.keys, segments=add_segment(segments, later))
    assert first.known(later.keys).mean() < 0.2


def test_the_terms_of_a_question_are_known_exactly_where_postings_hold_them() -> None:
    texts = ["Caroline went to the support group", "def parse_args(argv): return argv", "日本語のテスト"]
    segment = build_segment(unpack_terms([analyse(MemoryItem(text=text)).packed() for text in texts]), 0)
    vocabulary = extended(empty_vocabulary(), segment.keys, segments=(segment,))
    for question in ("When did Caroline go to the group?", "parse_args", "日本語", "zxqv blorf wuggle"):
        keys = query_terms(analyse_query(question)).keys
        held = frequencies((segment,), keys) > 0
        assert vocabulary.known(keys)[held].all()
    assert not vocabulary.known(query_terms(analyse_query("zxqv blorf wuggle")).keys).any()


def test_an_empty_vocabulary_knows_nothing() -> None:
    assert not empty_vocabulary().known(np.arange(1000, dtype=np.uint64)).any()
