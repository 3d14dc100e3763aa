"""What is left of a prompt, as whoever reads it sees it."""

import json
from typing import Unpack

import pytest

from reasoning_bank.compression.compressor import PromptCompressor
from reasoning_bank.compression.cutting import MARK
from reasoning_bank.compression.results import CompressionOptions
from reasoning_bank.text.tokens import ESTIMATED, TokenCounter


def compressed(prompt: str, **options: Unpack[CompressionOptions]) -> str:
    return PromptCompressor(tokenizer=TokenCounter(ESTIMATED)).compress(prompt, **options).text


def test_rows_keep_their_header_and_hunks_the_file_they_are_of() -> None:
    rows = [f"{number},name {number},{number * 7}" for number in range(60)]
    cells = [f"| {number} | name {number} | {number * 7} |" for number in range(60)]
    hunks = [f"@@ -{at},2 +{at},2 @@ def f{at}():\n-    return {at}\n+    return {at + 7}" for at in range(1, 400, 9)]
    for header, body in (
        ("id,name,amount", rows),
        ("| id | name | amount |\n|-|-|-|", cells),
        ("diff --git a/src/app.py b/src/app.py\n--- a/src/app.py\n+++ b/src/app.py", hunks),
    ):
        text = compressed("\n".join([header, *body]), ratio=0.3)
        assert text.startswith(header + "\n")
        assert "[…]" in text
        asked = compressed("What is 280?\n\n" + "\n".join([header, *body]), ratio=0.3)
        assert header in asked


def test_where_sentences_fit_none_is_left_in_half() -> None:
    names = ("billing", "export", "auth", "search", "mail", "queue", "cache", "index", "audit", "login")
    said = [
        f"The {name} service is busy and must not be restarted before {at}:30 in the morning."
        for at, name in enumerate(names)
    ]
    text = compressed(" ".join(said) + "\n\nWhat about the mail service?", ratio=0.3)
    assert said[4] in text
    assert text.count("must not") == sum(sentence in text for sentence in said) > 0


def test_a_question_at_the_end_of_a_long_line_decides_what_stays() -> None:
    said = [
        f"Warehouse {number} keeps {number * 17} crates of the {name} kind."
        for number, name in enumerate("abcdefgh" * 6)
    ]
    said[20] = "The forklift was repaired by Dana in spring."
    text = compressed(" ".join([*said, "Who repaired the forklift?"]), ratio=0.2)
    assert said[20] in text
    assert "Who repaired the forklift?" in text


def test_one_line_of_html_is_cut_between_elements() -> None:
    items = [f"<li><a href='/p/{number}'>Item {number}</a> costs {number * 3} EUR</li>" for number in range(200)]
    text = compressed(f"<ul>{''.join(items)}</ul>", ratio=0.3)
    assert text.count("<li>") == text.count("</li>") == sum(item in text for item in items) > 10


def test_one_text_to_preserve_is_not_taken_for_its_characters() -> None:
    prompt = " ".join(f"On day {number} the weather was mild." for number in range(60)) + " Gate 7 is shut."
    assert compressed(prompt, ratio=0.2, preserve="Gate 7").count("Gate 7") == 1
    assert compressed(prompt, ratio=0.2, preserve="Gate 7") == compressed(prompt, ratio=0.2, preserve=["Gate 7"])


@pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```"])
def test_half_a_document_of_json_is_not_cut_into_single_lines(fence: str) -> None:
    rows = [{"id": number, "name": f"user {number}", "score": number * 1.5} for number in range(60)]
    half = json.dumps(rows, indent=2)[:2500]
    text = compressed(fence.format(half), ratio=0.5)
    shown = [part for part in text.split(MARK) if part.strip()]
    assert len(text.splitlines()) / len(shown) > 5


def test_a_byte_order_mark_does_not_hide_json() -> None:
    rows = [{"id": number, "name": f"user {number}"} for number in range(60)]
    prompt = "\ufeff" + json.dumps(rows, indent=2)
    assert compressed(prompt, ratio=1.0) == "\ufeff" + json.dumps(rows, separators=(",", ":"))
    some = json.loads(compressed(prompt, ratio=0.3).removeprefix("\ufeff"))
    assert 5 < len(some) < 60
    assert all(row in rows for row in some)
