import json
import time
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from reasoning_bank.compression.edits import Kind, Segment
from reasoning_bank.compression.segments import language_of, segments
from tests.compression.generated import EXAMPLES, PROMPTS

PROSE = "The service answered late. We looked at the pool and found nothing that explains it.\n"
PYTHON = 'import os\n\n\ndef total(items):\n    """Add."""\n    return sum(items)  # all\n'
LOG = "".join(f"2026-03-01 10:00:{n:02d} INFO worker {n} done\n" for n in range(6))
TRACE = (
    'Traceback (most recent call last):\n  File "app.py", line 2, in <module>\n    main()\n'
    '  File "app.py", line 1, in main\n    raise ValueError("no")\nValueError: no\n'
)
JAVA = (
    'Exception in thread "main" java.lang.IllegalStateException: no\n\tat com.example.App.run(App.java:12)\n'
    "\tat com.example.App.main(App.java:4)\n"
    "Caused by: java.io.IOException: gone\n\tat com.example.Disk.read(Disk.java:9)\n"
)
DIFF = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n \n-old  \n+new\n"
CHAT = "[2026-03-01T10:00] Ann: Did you see it?\n[2026-03-01T10:01] Bob: Yes, it was late.\n" * 3
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n"
YAML = "server:\n  host: example.com\n  ports:\n    - 80\n    - 443\nname: web\n"
CSV = "id,name,city\n1,Ann,Rome\n2,Bob,Oslo\n3,Cid,Bonn\n"
VALUE = json.dumps({"name": "Ann", "numbers": [1, 2, 3], "nested": {"a": None}}, indent=2) + "\n"
SAMPLES: dict[Kind, str] = {
    "log": LOG,
    "trace": TRACE,
    "diff": DIFF,
    "chat": CHAT,
    "table": TABLE,
    "yaml": YAML,
    "csv": CSV,
    "json": VALUE,
    "code": PYTHON,
}


def kinds(text: str) -> list[Kind]:
    return [segment.kind for segment in segments(text)]


def of_kind(text: str, kind: Kind) -> list[str]:
    return [text[segment.start : segment.end] for segment in segments(text) if segment.kind == kind]


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_text_of_one_kind_is_known_alone_and_between_prose(kind: Kind) -> None:
    sample = SAMPLES[kind]
    assert kinds(sample) == [kind]
    assert [part.strip() for part in of_kind(f"{PROSE}\n{sample}\n{PROSE}", kind)] == [sample.strip()]


def test_stack_traces_of_other_languages_are_known() -> None:
    assert kinds(JAVA) == ["trace"]
    assert (
        kinds("TypeError: x is undefined\n    at load (/srv/app.js:3:5)\n    at main (/srv/app.js:9:1)\n")[-1]
        == "trace"
    )


def test_a_fence_says_its_language_and_keeps_its_lines() -> None:
    text = f"{PROSE}\n```py\n{PYTHON}```\n{PROSE}"
    found = segments(text)
    assert found[1] == Segment(
        len(PROSE) + 1,
        len(PROSE) + 1 + len(f"```py\n{PYTHON}```\n"),
        "code",
        "python",
        is_fenced=True,
        body=(len(PROSE) + 7, len(PROSE) + 7 + len(PYTHON)),
    )
    assert kinds(f"{PROSE}\n```json\n{VALUE}```\n")[-1] == "json"
    assert kinds(f"{PROSE}\n~~~\n{DIFF}~~~\n")[-1] == "diff"
    assert [language_of(tag) for tag in ("JS", "{.rust}", "c++", "python title=x", "text", "")] == [
        "javascript",
        "rust",
        "cpp",
        "python",
        "",
        "",
    ]


def test_a_fence_in_a_list_and_an_open_fence_are_fences() -> None:
    text = f"- First:\n\n  ```js\n  let a = 1;\n  ```\n\n{PROSE}\n````\nopen\n```\nstill open\n"
    fences = [segment for segment in segments(text) if segment.is_fenced]
    assert [segment.language for segment in fences] == ["javascript", None]
    assert text[slice(*fences[0].body)] == "  let a = 1;\n"
    assert fences[1].end == len(text)


def test_a_fence_within_python_or_json_does_not_break_it() -> None:
    source = 'import os\n\nPROMPT = """Answer like this:\n```json\n{}\n```\n"""\nprint(PROMPT)\n'
    assert [(segment.kind, segment.language) for segment in segments(source)] == [("code", "python")]
    assert kinds(json.dumps({"text": "```\nx\n```"}, indent=1)) == ["json"]


def test_code_without_a_fence_is_python_where_it_parses_and_else_nothing_known() -> None:
    found = segments(f"{PROSE}\n{PYTHON}\n{PROSE}")
    assert ("code", "python") in [(segment.kind, segment.language) for segment in found]
    listing = "".join(f"{n}:    value_{n} = compute()\n" for n in range(280, 290))
    assert [(segment.kind, segment.language) for segment in segments(listing)] == [("code", None)]


def test_half_a_value_and_a_citation_are_no_json() -> None:
    assert "json" not in kinds(VALUE[:-3] + "\n" + PROSE)
    assert "json" not in kinds(f"{PROSE}[1] A paper that was cited here.\n[2023-07-06] Another one.\n")


def test_json_lines_are_one_segment() -> None:
    text = PROSE + "\n" + '{"id": 1, "name": "somebody"}\n' * 5 + PROSE
    assert len(of_kind(text, "json")) == 1


def test_instructions_are_protected_unless_there_is_nothing_else() -> None:
    text = f"You are a careful reviewer.\n\n{PROSE * 9}\nDo not change the tests.\n\n{PROSE * 9}\nWhat was the cause?\n"
    found = [segment for segment in segments(text) if segment.kind == "instruction"]
    assert [text[segment.start : segment.end].strip() for segment in found] == [
        "You are a careful reviewer.",
        "Do not change the tests.",
        "What was the cause?",
    ]
    assert all(segment.is_protected for segment in found)
    only_rules = segments("You must do this, and that, and the other thing too.\n" * 50)
    assert not any(segment.is_protected for segment in only_rules)


def test_a_question_in_the_middle_is_no_instruction() -> None:
    assert "instruction" not in kinds(f"{PROSE}Was it the pool?\n{PROSE}")


def test_sentences_that_all_begin_alike_are_prose_and_lines_of_a_tool_are_not() -> None:
    assert kinds("".join(f"{n}. Remark number {n} says what was found there.\n" for n in range(50))) == ["prose"]
    assert kinds("".join(f"Another remark, number {n}, stands here.\n" for n in range(50))) == ["prose"]
    assert kinds("".join(f"Collecting package-{n}\n" for n in range(50))) == ["log"]
    assert kinds("".join(f"Downloading the wheel of package {n} ...\n" for n in range(50))) == ["log"]


def test_a_block_of_memories_is_known() -> None:
    block = (
        "Memories of earlier tasks, most relevant first.\n\n"
        "1. Pool [id 5, success, relevance 0.80]\nRaise the pool.\n\n"
        "2. Disk [id 6, failure, relevance 0.60]\nFree the disk.\n\n"
    )
    assert of_kind(f"{PROSE}\n{block}{PROSE}", "memories") == [block]
    assert of_kind(f"{PROSE}\n<memories>\n1. Pool\n</memories>\n{PROSE}", "memories") == [
        "<memories>\n1. Pool\n</memories>\n"
    ]


def test_an_empty_text_has_no_segments() -> None:
    assert segments("") == ()


@settings(deadline=None, max_examples=EXAMPLES * 2, suppress_health_check=[HealthCheck.too_slow])
@given(PROMPTS)
def test_segments_cover_any_text_without_gaps(text: str) -> None:
    found = segments(text)
    assert [found[0].start, found[-1].end] == [0, len(text)] if text else found == ()
    assert all(one.end == other.start for one, other in pairwise(found))
    for segment in found:
        assert segment.start <= segment.body[0] <= segment.body[1] <= segment.end
        assert segment.start < segment.end
    assert found == segments(text)


def test_ten_megabytes_take_seconds() -> None:
    text = (PROSE * 20 + "\n```python\n" + PYTHON * 20 + "```\n\n" + LOG * 20 + "\n" + CHAT * 5 + "\n" + VALUE) * 600
    assert len(text) > 5_000_000
    started = time.process_time()
    assert len(segments(text)) > 600
    assert time.process_time() - started < 60
