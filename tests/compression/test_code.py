import ast

import pytest
from hypothesis import given, settings

from reasoning_bank.compression.code import is_same, without_blank_lines, without_comments, without_documentation
from reasoning_bank.compression.edits import apply
from tests.compression.generated import EXAMPLES, PYTHON

SOURCES = {
    "javascript": (
        "// one\nconst a = 'http://x/y'; // two\n\n\nconst b = `t // no\n\n\n  /* no */ ${a /* three */ + 1}`;\n"
        "const r = /\\/\\/x/; /* four */ f(a)\n",
        "const a = 'http://x/y';\nconst b = `t // no\n\n\n  /* no */ ${a + 1}`;\nconst r = /\\/\\/x/; f(a)\n",
    ),
    "typescript": (
        "// @ts-ignore\nlet a: number = 1; // one\n\n/* two */\nlet b = a\n",
        "// @ts-ignore\nlet a: number = 1;\nlet b = a\n",
    ),
    "java": (
        'class A {\n  // one\n  String s = "// no";\n\n  int f() { return 1; /* two */ }\n}\n',
        'class A {\n  String s = "// no";\n  int f() { return 1; }\n}\n',
    ),
    "go": (
        "package a\n\n//go:build linux\n\n// one\nfunc f() int {\n\treturn 1 // two\n}\n",
        "package a\n//go:build linux\nfunc f() int {\n\treturn 1\n}\n",
    ),
    "rust": (
        '// one\nfn f() -> &\'static str {\n    // two\n\n    "a // no"\n}\n',
        'fn f() -> &\'static str {\n    "a // no"\n}\n',
    ),
    "c": (
        "#include <a.h> // one\n\n/* two */\nint f(void) { return 1; }\n",
        "#include <a.h>\nint f(void) { return 1; }\n",
    ),
    "cpp": ('// one\n\nauto s = R"(// no\n\n\n)";\nint x; // two\n', 'auto s = R"(// no\n\n\n)";\nint x;\n'),
    "bash": (
        '#!/bin/sh\n# one\n\necho "# no" # two\ncat <<EOF\n# no\n\n\nEOF\n',
        '#!/bin/sh\necho "# no"\ncat <<EOF\n# no\n\n\nEOF\n',
    ),
    "yaml": ("# one\na: 'x # no'  # two\n\nb: |\n  # no\n\n  y\n", "a: 'x # no'\nb: |\n  # no\n\n  y\n"),
    "python": (
        'import os  # one\n\n\n# two\nx = """a  # no\n\n\nb"""\n'
        "if x:\n    # three\n\n    y = [1,  # four\n\n         2]\n",
        'import os\nx = """a  # no\n\n\nb"""\nif x:\n    y = [1,\n         2]\n',
    ),
}


def lean(source: str, language: str) -> str:
    without = apply(source, without_comments(source, language))
    return apply(without, without_blank_lines(without, language))


@pytest.mark.parametrize("language", SOURCES)
def test_comments_and_blank_lines_go_and_strings_stay(language: str) -> None:
    source, expected = SOURCES[language]
    assert lean(source, language) == expected
    assert is_same(source, expected, language)
    assert lean(expected, language) == expected


@pytest.mark.parametrize("language", ["javascript", "java", "go", "rust", "c", "python"])
def test_code_that_does_not_parse_is_left_alone(language: str) -> None:
    source = "# one\n// two\n\n\n((( not { code\n"
    assert lean(source, language) == source


def test_a_language_that_is_not_known_is_left_alone() -> None:
    source = "-- a comment\n\n\nselect 1; # what is this?\n"
    assert lean(source, "sql") == source


@pytest.mark.parametrize(
    "comment",
    [
        "# type: ignore",
        "# noqa: E501",
        "# pragma: no cover",
        "# TODO: finish",
        "# SPDX-License-Identifier: MIT",
        "#!/usr/bin/env python",
        "# fmt: off",
    ],
)
def test_comments_that_tools_and_people_need_stay(comment: str) -> None:
    source = f"{comment}\nx = 1  # gone\n"
    assert apply(source, without_comments(source, "python")) == f"{comment}\nx = 1\n"


def test_a_text_that_is_mostly_comments_is_left_alone() -> None:
    source = "# Remove the mark in front of what you need\n# TOKEN=the token of the service\n# KEY=the other one\nA=1\n"
    assert apply(source, without_comments(source, "bash")) == source
    assert (
        apply("# One of many words.\n", without_comments("# One of many words.\n", "python"))
        == "# One of many words.\n"
    )


def test_docstrings_go_only_when_asked_and_never_the_only_statement() -> None:
    source = (
        '"""Of the module."""\n\n\nclass A:\n    """Of the class: é."""\n\n'
        '    def f(self):\n        """Only this."""\n\n    x = 1\n'
    )
    assert lean(source, "python").count('"""') == 6
    bare = apply(source, without_documentation(source, "python"))
    assert [line for line in bare.split("\n") if line.strip()] == [
        "class A:",
        "    def f(self):",
        '        """Only this."""',
        "    x = 1",
    ]
    assert apply("/** Doc. */\nint a;\n", without_documentation("/** Doc. */\nint a;\n", "java")) == "int a;\n"
    assert lean("/** Doc. */\nint a;\n", "java") == "/** Doc. */\nint a;\n"


def test_an_indented_fragment_and_windows_lines_are_code_too() -> None:
    assert lean("    a = 1  # one\n\n    b = 2\n", "python") == "    a = 1\n    b = 2\n"
    assert lean("a = 1  # one\r\n\r\n# two\r\nb = 2\r\n", "python") == "a = 1\r\nb = 2\r\n"


def test_a_comment_with_a_line_end_leaves_one() -> None:
    """In JavaScript the line end within the comment ends the statement: return, then an expression of its own."""
    source = "function f() {\n  return /* a\n b */ 1\n}\n"
    assert "return\n" in lean(source, "javascript").replace(" \n", "\n") or lean(source, "javascript") == source


def test_characters_beyond_ascii_do_not_shift_the_edits() -> None:
    assert lean("const a = '日本🙂'; // é 日本\nf('ü') // x\n", "javascript") == "const a = '日本🙂';\nf('ü')\n"
    assert lean("a = '日本🙂'  # é\nb = 'ü'  # x\n", "python") == "a = '日本🙂'\nb = 'ü'\n"


def test_what_must_stay_stays() -> None:
    source = "a = 1  # keep this\nb = 2  # gone\n"
    at = source.index("keep this")
    assert apply(source, without_comments(source, "python", [(at, at + 4)])) == "a = 1  # keep this\nb = 2\n"


def test_deep_and_huge_code_is_left_alone() -> None:
    for source in ("(" * 100_000, "x = " + "-" * 100_000 + "1  # a\n", "a = 1  # x\n" * 100_000):
        assert lean(source, "python") == source
    assert lean("f(" * 3_000 + ")" * 3_000 + " // a\n", "javascript").startswith("f(")


@settings(deadline=None, max_examples=EXAMPLES * 3)
@given(PYTHON)
def test_any_python_keeps_its_tree(source: str) -> None:
    result = lean(source, "python")
    try:
        tree = ast.dump(ast.parse(source))
    except SyntaxError:
        assert source.lstrip("\n")[:1] in " \t" or result == source
        return
    assert ast.dump(ast.parse(result)) == tree
    assert lean(result, "python") == result
    undocumented = apply(source, without_documentation(source, "python"))
    assert is_same(source, undocumented, "python", documented=False)
