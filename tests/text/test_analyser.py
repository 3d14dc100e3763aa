import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.records import MemoryItem
from reasoning_bank.text.analyser import (
    HEADER_ROWS,
    TOLD_ENOUGH,
    Terms,
    analyse,
    analyse_query,
    code_share,
    identifiers,
    main_line,
    pairs,
    places,
    term_key,
    title_key,
    words,
)


def test_words_are_stemmed_and_stop_words_dropped() -> None:
    assert words("She was running the Tests") == ["run", "test"]


def test_an_identifier_is_found_whole_and_by_its_parts() -> None:
    assert words("parse_jsonValue") == ["parse_jsonvalu", "pars", "json", "valu"]
    assert words("HTTPServer") == ["httpserver", "http", "server"]


def test_scripts_without_blanks_are_found_by_pairs_of_characters() -> None:
    assert words("数据库 连接") == ["数据", "据库", "连接"]
    assert words("用Python写") == ["用", "写", "python"]


def test_other_scripts_keep_whole_words() -> None:
    assert words("Ошибка соединения") == ["ошибка", "соединения"]


def test_pairs_keep_stop_words() -> None:
    assert pairs("go to the schools") == ["go to", "to the", "the school"]


def test_identifiers_are_names_and_paths_with_their_parts() -> None:
    assert identifiers("see lib/matplotlib/axes.py and max_depth, not prose. End") == [
        "lib/matplotlib/axes.py",
        "matplotlib",
        "axes",
        "max_depth",
    ]


def test_the_main_line_of_a_long_task_is_its_first() -> None:
    assert main_line("\nFix the bug\n\nTraceback:\n  ...") == "Fix the bug"
    assert main_line("  one line only ") == "one line only"
    assert len(main_line("x" * 1000 + "\nrest")) == 300


def test_query_identifiers_come_from_the_whole_text() -> None:
    terms = analyse_query("It fails\nin foo_bar() and foo_bar()")
    assert terms.words == {"fail": 1}
    assert terms.identifiers == {"foo_bar": 1}


def test_code_share_tells_code_from_prose() -> None:
    assert code_share("") == 0.0
    assert code_share("I went to a support group yesterday") == 0.0
    assert code_share("def f(x):\n    return x[0] == {1: 2}") > 0.1


def test_a_title_links_only_when_short_and_not_the_text_itself() -> None:
    assert analyse(MemoryItem("Ed Wood is a film", title="Ed Wood (film)")).title == "ed wood"
    assert analyse(MemoryItem("Open the thread", title="Open the thread")).title == ""
    assert analyse(MemoryItem("t", title="one two three four five six seven eight nine")).title == ""


def test_packed_terms_are_rows_of_twelve_bytes() -> None:
    terms = Terms(
        words={"run": 2},
        pairs={},
        identifiers={"a_b": 1},
        places={"plot": 1},
        code_share=0.5,
        title="ed wood",
        asks=True,
        asking=0.25,
        told=7,
        tags=frozenset({"films"}),
    )
    blob = terms.packed()
    assert len(blob) == 12 * (HEADER_ROWS + 5)
    rows = [
        (int.from_bytes(blob[i : i + 8], "little"), int.from_bytes(blob[i + 8 : i + 12], "little"))
        for i in range(0, len(blob), 12)
    ]
    assert rows == [
        (1, 2),
        (250_000, 0),
        (500_000, 1),
        (7, 1),
        (term_key("word", "run"), 2),
        (term_key("identifier", "a_b"), 1),
        (term_key("path", "plot"), 1),
        (term_key("tag", "films"), 1),
        (title_key(["ed", "wood"]), 1),
    ]


def test_the_same_term_of_two_kinds_has_two_keys() -> None:
    assert len({term_key("word", "x"), term_key("pair", "x"), term_key("identifier", "x")}) == 3


def test_a_word_of_64_kib_is_cut_not_stemmed() -> None:
    assert words("x" * 65536) == ["x" * 64]


@given(st.text(max_size=300))
def test_any_text_can_be_analysed_and_packed(text: str) -> None:
    terms = analyse(MemoryItem(text, title=text, content=text))
    assert len(terms.packed()) % 12 == 0
    analyse_query(text)


def test_threads_stem_without_disturbing_each_other() -> None:
    texts = [f"generalization{i} responsibilities{i} running{i}tests" for i in range(300)]
    found: list[list[list[str]]] = []
    threads = [threading.Thread(target=lambda: found.append([words(text) for text in texts])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    assert all(one == found[0] for one in found)


def test_an_irregular_form_is_the_word_it_is_a_form_of() -> None:
    assert words("She went and bought them for the children") == words("she go and buy them for the child")


def test_places_are_the_words_of_file_paths_and_each_files_name() -> None:
    text = "diff --git a/lib/plot/_axesGrid.py b/lib/plot/_axesGrid.py, see 3/4.5"
    assert places(text) == ["_axesgrid", "lib", "plot", "axe", "grid"]
    assert places("nothing of the kind, e.g. and/or") == []


def test_what_asks_and_what_tells_is_told_apart() -> None:
    asks = analyse(MemoryItem("Which paint do you use? And why?"))
    tells = analyse(MemoryItem("I use watercolour on rough paper. Do you?"))
    assert (asks.asking, asks.told) == (1.0, 0)
    assert 0 < tells.asking < 0.5
    assert tells.told == len(words("I use watercolour on rough paper."))


def test_a_memory_with_content_answers_its_own_question() -> None:
    answered = analyse(MemoryItem("How to reset it?", content="Hold the button for ten seconds."))
    assert (answered.asking, answered.told) == (0.0, TOLD_ENOUGH)


def test_a_report_names_places_a_line_does_not() -> None:
    assert analyse_query("axes are drawn twice").places == {}
    assert set(analyse_query("Drawn twice\nSee the axes.").places) >= {"axe", "axes"}


@pytest.mark.timeout(60)  # about a second each; what looks at everything again at every character takes an hour
@pytest.mark.parametrize("part", ["(", "(a", "a.", "a/", "-", "_", "aA", "? ", "'", "\n", "的"])
def test_no_text_makes_the_analyser_slow(part: str) -> None:
    text = (part * 500_000)[:500_000]
    analyse(MemoryItem(f"{text} x", title=text, content=text))
    analyse_query(text, whole=True)
