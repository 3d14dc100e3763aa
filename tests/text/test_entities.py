import pytest

from reasoning_bank.text.entities import MOST_OF_A_KIND, Entities, find_entities
from reasoning_bank.text.languages import Writing, writing


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "TypeError: foo() got an unexpected keyword argument in src/app/main.py",
            Entities(files=("src/app/main.py",), errors=("TypeError",)),
        ),
        (
            "pip install -U numpy==1.26.4 fails with ENOENT, see https://example.com/a?b=c.",
            Entities(
                packages=("numpy",), errors=("ENOENT",), urls=("https://example.com/a?b=c",), versions=("1.26.4",)
            ),
        ),
        (
            "import numpy as np\nUserSerializer.save_all() raises django.core.exceptions.ValidationError",
            Entities(
                symbols=("UserSerializer.save_all",),
                packages=("numpy",),
                errors=("django.core.exceptions.ValidationError",),
            ),
        ),
        ("Why did Caroline's mother call Ada Lovelace?", Entities(people=("Caroline", "Ada Lovelace"))),
        ("No module named 'yaml': npm i @scope/pkg", Entities(packages=("@scope/pkg", "yaml"))),
        ("rename parse_args to parseArguments", Entities(symbols=("parse_args", "parseArguments"))),
        ("error TS2345 and E1234", Entities(errors=("TS2345", "E1234"))),
        (r"open C:\data\report.txt and README.md", Entities(files=(r"C:\data\report.txt", "README.md"))),
        ("works on Python 3.11, not v2.0.1-rc1", Entities(people=("Python",), versions=("3.11", "2.0.1-rc1"))),
    ],
)
def test_names_are_found_by_their_kind(text: str, found: Entities) -> None:
    assert find_entities(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "go to the next page",
        "Fix the bug. Then test. Is it done?",
        "3.5 million users and/or 404 of 10.0.0.1",
        "e.g. the U.S. economy, i.e. all of it",
        "on Monday in May",
        "what?! --- ... ''' //",
    ],
)
def test_plain_words_and_numbers_name_nothing(text: str) -> None:
    assert not find_entities(text)


def test_each_name_is_kept_once_and_few_of_each_kind() -> None:
    found = find_entities(" ".join(f"file_{number % 40}.py" for number in range(400)))
    assert len(found.files) == MOST_OF_A_KIND
    assert len(set(found.files)) == MOST_OF_A_KIND


@pytest.mark.timeout(60)  # milliseconds each; a pattern that backtracks would need hours
@pytest.mark.parametrize(
    "part",
    [
        "a",
        "a.",
        "/",
        "A",
        " ",
        "\n",
        "pip install -a ",
        "1.",
        "'",
        "_",
        "Error",
        "import ",
        "==",
        "https://",
        "Ada ",
        "@a/",
        "a::",
    ],
)
def test_no_text_makes_the_search_for_names_slow(part: str) -> None:
    find_entities((part * 500_000)[:500_000])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I fix it?", Writing("latin", "en")),
        ("zxqv blorf", Writing("latin", "")),
        ("Wie repariere ich das Gerät?", Writing("latin", "")),
        ("日本語のテストを実行する", Writing("kana", "ja")),
        ("这是中文", Writing("han", "zh")),
        ("한국어 텍스트", Writing("hangul", "ko")),
        ("как исправить", Writing("cyrillic", "")),
        ("404 !!", Writing("", "")),
    ],
)
def test_the_script_is_seen_and_the_language_where_it_is_plain(text: str, expected: Writing) -> None:
    assert writing(text) == expected
