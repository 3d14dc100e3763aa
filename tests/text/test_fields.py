from reasoning_bank.records import MemoryItem
from reasoning_bank.text.fields import content_hash, content_weight, index_fields, indexed_text, written_date


def test_who_and_when_stand_before_the_text() -> None:
    item = MemoryItem("I went", actor="Caroline", time="2023-05-07T13:56:00")
    assert indexed_text(item) == "Caroline (07 May 2023): I went"


def test_without_actor_or_date_the_text_stands_alone() -> None:
    assert indexed_text(MemoryItem("I went", actor="Caroline")) == "I went"
    assert indexed_text(MemoryItem("I went", actor="Caroline", time=595)) == "I went"
    assert indexed_text(MemoryItem("I went", time="2023-05-07")) == "I went"


def test_a_time_that_is_no_date_is_no_date() -> None:
    assert written_date("yesterday") == ""
    assert written_date("2023-13-45") == ""
    assert written_date("2023-05-07T13:56:00Z") == "07 May 2023"


def test_content_counts_by_how_much_language_it_has() -> None:
    assert content_weight("") == 0.0
    assert content_weight("42") == 0.0
    assert content_weight(" ".join(["alpha beta gamma delta epsilon zeta eta theta iota kappa"] * 2)) == 0.5


def test_content_without_words_gets_no_vector() -> None:
    assert [field.name for field in index_fields(MemoryItem("text", content="42"))] == ["text"]
    fields = index_fields(MemoryItem("text", content="check the cache first"))
    assert [(field.name, field.weight) for field in fields] == [("text", 1.0), ("content", 4 / 14)]


def test_the_content_hash_covers_what_is_indexed_and_nothing_else() -> None:
    item = MemoryItem("text", content="c", tags=("a",))
    assert content_hash(item) == content_hash(MemoryItem("text", content="c", tags=("b",)))
    assert content_hash(item) != content_hash(MemoryItem("text", content="d"))
    assert content_hash(MemoryItem("a", content="")) != content_hash(MemoryItem("", content="a"))
