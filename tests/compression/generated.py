"""Prompts as Hypothesis makes them: every kind of text, whole and broken, in any order."""

import json
import os

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("GENERATED_PROMPTS", "25"))
"""Prompts per property; `GENERATED_PROMPTS=10000 pytest tests/compression` for the long run."""

WORDS = st.sampled_from(
    [
        "the",
        "pool",
        "was",
        "not",
        "https://example.com/a,b;c?d=1&e=2#f",
        "#ff8800",
        "3.14159",
        "1,234,567",
        "snake_case",
        "café",
        "don't",
        "must",
        "中文字符。",
        "日本語テキスト",
        "👩\u200d👧",
        "e\u0301",
        "END.",
        "src/app/main.py:42",
        "--flag=x",
        "{",
        "};",
        '"""',
        "`code`",
        "|",
        "\u00a0",
        "\u2028",
        "[1]",
        "×3",
        "<keep>",
        "</keep>",
        "\x1b[31m",
    ]
)
BLANKS = st.sampled_from(
    [" ", " ", " ", "  ", "\n", "\n\n", "\n\n\n\n", "\t", ".\n", "\r\n", "\n    ", "   \n", "\n- "]
)
PROSE = st.lists(st.tuples(WORDS, BLANKS), min_size=1, max_size=40).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from([10**30, -0.0, "é/\\\"'"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)
ROWS = st.integers(3, 6).flatmap(
    lambda count: st.lists(
        st.fixed_dictionaries({"id": st.integers(), "name a": VALUES}), min_size=count, max_size=count
    )
)
JSON = st.tuples(
    st.one_of(VALUES, ROWS),
    st.sampled_from([None, 1, 2, 4]),
    st.booleans(),
    st.sampled_from([(", ", ": "), (" ,", " :")]),
).map(lambda made: json.dumps(made[0], indent=made[1], ensure_ascii=made[2], separators=made[3]))
HALF_JSON = st.tuples(JSON, st.integers(0, 60)).map(lambda made: made[0][: len(made[0]) - made[1]])
STATEMENTS = st.sampled_from(
    [
        "x = 1  # why",
        "# a comment of its own",
        "#: documented",
        "",
        "   ",
        "def f(a):\n    '''Doc.\n\n    More.'''\n    # inside\n\n    return a",
        's = """a  # not\n\n\n  b"""',
        "if x:\n\n    y = [\n        1,  # one\n\n        2,\n    ]",
        "class A:\n    '''Only this.'''",
        "url = 'https://a.b/#c'",
        "x = f'{x}  # no'",
        "# type: ignore",
        "z = 1 + \\\n    2",
        "\tbad indent",
        "for",
    ]
)
PYTHON = st.lists(STATEMENTS, min_size=1, max_size=10).map("\n".join)
LOGS = st.lists(
    st.tuples(
        st.sampled_from(["INFO", "ERROR", "DEBUG"]),
        st.integers(0, 59),
        st.sampled_from(["job {} done in 12 ms", "retry", "fatal: {}"]),
    ),
    min_size=1,
    max_size=25,
).map(
    lambda lines: "\n".join(
        f"2026-03-01 10:00:{second:02d} {level} {said.format(second)}" for level, second, said in lines
    )
)
TABLES = st.lists(
    st.lists(st.sampled_from(["a", "b  c", " ", "1.0", "x\\|y", "`|`"]), min_size=2, max_size=3), max_size=5
).map(lambda rows: "| h1   | h2 |\n|------|:---:|\n" + "".join("|  " + "   | ".join(row) + "  |\n" for row in rows))
OTHER = st.sampled_from(
    [
        'a,b,c\n1,2,3\n"x","y z","4"\n',
        "key: value  # note\nother:\n  - 1\n\n  - 'a # b'\n",
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n \n-a  \n+b\n",
        "User: Hello there.\nAssistant: Hi. How can I help?\nUser: Fix it.\nAssistant: Done.\n",
        "// hi\nlet a = `x\n\n\n// no`; /* b */ f(a)\n\n\nreturn 1\n",
        'Traceback (most recent call last):\n  File "/usr/lib/python3/site-packages/a.py", line 1, in f\n    g()\n'
        '  File "app.py", line 2, in g\n    h()\nValueError: no\n',
        "Memories of earlier tasks\n\n1. Title [id 5]\nUse the pool.\n",
        "You must answer in JSON. Do not guess.\n",
        "What was the cause?\n",
    ]
)
FENCES = st.tuples(
    st.sampled_from(["```", "~~~", "````", "  ```", "- ```", "> ```"]),
    st.sampled_from(["", "python", "json", "yaml", "js", "typescript", "text", "diff", "log", "weird"]),
    st.one_of(PYTHON, JSON, HALF_JSON, LOGS, PROSE, OTHER),
    st.sampled_from(["```\n", "~~~\n", "", "``\n", "  ```\n", "```` \n"]),
).map(lambda made: f"{made[0]}{made[1]}\n{made[2]}\n{made[3]}")
LONG = st.tuples(
    st.sampled_from(["word ", "字", '{"a":1},', "x=1;", "🙂", "[", "\\u00e9", "1,2;"]), st.integers(1, 3_000)
).map(lambda made: made[0] * made[1])
BLOCKS = st.one_of(PROSE, JSON, HALF_JSON, PYTHON, LOGS, TABLES, OTHER, FENCES, LONG, st.text(max_size=60))
PROMPTS = st.lists(
    st.tuples(BLOCKS, st.sampled_from(["\n", "\n\n", "", "\n\n\n\n"]), st.integers(1, 3)), min_size=1, max_size=6
).map(lambda parts: "".join((block + gap) * times for block, gap, times in parts))
"""Any prompt, whose blocks may stand there several times."""
