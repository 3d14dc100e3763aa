import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.retrieval.intent import Intent, Kind, read_intent

NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)


def read(task: str) -> Intent:
    return read_intent(task, now=NOW, zone=UTC)


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("Add a retry to the upload client", "task"),
        ("When did Caroline go to the support group?", "question"),
        ("how to read a csv file in python", "question"),
        ("ValueError: too many values to unpack", "error"),
        ("Build breaks\nTraceback (most recent call last):\n  File 'a.py', line 3", "error"),
        ("npm run build exited with code 1", "error"),
        ("FooError", "error"),
        ("parse_args", "identifier"),
        ("src/app/main.py UserSerializer", "identifier"),
        ("def add(a, b):\n    return {'sum': (a + b), 'items': [a, b]}", "code"),
    ],
)
def test_the_kind_of_a_query_is_read_from_its_form(task: str, kind: Kind) -> None:
    assert read(task).kind == kind


def test_an_intent_holds_line_times_and_names() -> None:
    intent = read("Fix the login of Ada Lovelace in auth.py\n\nIt broke.\nDid it work last week?")
    assert intent.main_line == "Fix the login of Ada Lovelace in auth.py"
    assert [each.phrase for each in intent.times] == ["last week"]
    assert intent.entities.files == ("auth.py",)
    assert intent.entities.people == ("Ada Lovelace",)


def test_dates_of_a_pasted_log_are_not_what_is_asked() -> None:
    assert read("Fix the crash\n2023-05-07 10:00:01 ERROR boom\n2023-05-08 10:00:01 ERROR boom").times == ()


def test_an_intent_is_shown_as_plain_values() -> None:
    assert read("What did Maria donate in December 2023?").as_json() == {
        "kind": "question",
        "main_line": "What did Maria donate in December 2023?",
        "times": [
            {
                "phrase": "December 2023",
                "start": "2023-12-01T00:00:00+00:00",
                "end": "2024-01-01T00:00:00+00:00",
                "yearly": False,
            }
        ],
        "entities": {"people": ["Maria"]},
        "script": "latin",
        "language": "en",
        "asks_when": False,
        "is_complex": False,
    }


@pytest.mark.parametrize("task", ["When did she paint it?", "what year was it?", "In which month is the fair?"])
def test_a_question_for_a_time_is_seen(task: str) -> None:
    assert read(task).asks_when


@pytest.mark.parametrize("task", ["When I run pytest it hangs", "What did she paint in 2023?", "which weekly report?"])
def test_other_words_of_time_ask_for_none(task: str) -> None:
    assert not read(task).asks_when


def test_several_questions_or_much_text_are_complex() -> None:
    assert read("Who wrote it? And when?").is_complex
    assert read("please " * 80).is_complex
    assert not read("Who wrote it?").is_complex


@pytest.mark.timeout(60)  # milliseconds each; a pattern that backtracks would need hours
@pytest.mark.parametrize("part", ["word Foo_bar 12 ", "on 7 May and last week ", "error: ", "at x (", "?", "\n", " "])
def test_the_longest_task_is_read_in_bounded_time(part: str) -> None:
    read((part * 500_000)[:500_000])


@given(st.text(max_size=200))
def test_any_text_has_an_intent(task: str) -> None:
    assert read(task) == read(task)


def test_a_query_without_a_time_loads_no_date_library() -> None:
    code = (
        "import sys\nfrom datetime import UTC, datetime\nfrom reasoning_bank.retrieval.intent import read_intent\n"
        "now = datetime(2026, 11, 18, tzinfo=UTC)\n"
        "read_intent('Fix foo_bar in version 1.2.3 on port 8080', now=now, zone=UTC)\n"
        "assert 'dateutil' not in sys.modules\n"
        "read_intent('what did we do yesterday?', now=now, zone=UTC)\n"
        "assert 'dateutil' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
