from reasoning_bank.compression.edits import apply
from reasoning_bank.compression.logs import asked_for, counted, folded, uncoloured, without_library_frames


def folded_text(source: str) -> str:
    return apply(source, sorted(edit for edits in folded(source) for edit in edits))


def test_equal_lines_in_a_row_are_counted() -> None:
    source = "start\n" + "connection lost\n" * 37 + "\n\n\nend\nend ×2\nend ×2\n"
    assert apply(source, counted(source)) == "start\nconnection lost ×37\n\n\n\nend\nend ×2\nend ×2\n"
    once = "connection lost\nother\nconnection lost\n"
    assert counted(once) == []


def test_counting_keeps_the_last_line_end_and_windows_ones() -> None:
    assert apply("connection lost\r\n" * 3, counted("connection lost\r\n" * 3)) == "connection lost ×3\r\n"
    assert (
        apply("connection lost\nconnection lost", counted("connection lost\nconnection lost")) == "connection lost ×2"
    )


def test_lines_that_differ_in_times_ids_and_numbers_are_folded() -> None:
    source = "".join(f"2026-03-01T10:00:{n:02d}Z INFO job {n + 5} took {n * 3} ms\n" for n in range(20))
    assert folded_text(source) == (
        "2026-03-01T10:00:00Z INFO job 5 took 0 ms [×20: 2026-03-01T10:00:00Z – 2026-03-01T10:00:19Z, 5 – 24, 0 – 57]\n"
    )


def test_errors_and_what_is_rare_are_never_folded() -> None:
    source = "".join(
        f"10:00:{n:02d} INFO request {n} served\n10:00:{n:02d} ERROR request {n} timed out\n" for n in range(10)
    )
    source += "10:00:11 INFO cache 1 rebuilt\n10:00:12 INFO cache 2 rebuilt\n"
    result = folded_text(source)
    assert result.count("ERROR") == 10
    assert "cache 1 rebuilt" in result
    assert "cache 2 rebuilt" in result
    assert result.count("served") == 1


def test_lines_with_what_few_lines_share_with_the_question_are_not_folded() -> None:
    source = "".join(f"2026-03-01T10:{n // 60:02d}:{n % 60:02d}Z INFO job {n} took {n * 3} ms\n" for n in range(600))
    for question, lines in {
        "How long did job 421 take?": 1,
        "What was at 10:03?": 60,
        "Which jobs took long?": 0,
    }.items():
        asked = asked_for([source], question)
        result = apply(source, sorted(edit for edits in folded(source, asked=asked) for edit in edits))
        assert result.count("\n") == lines + 1
        assert ("job 421 took 1263 ms" in result) == (lines == 1)


def test_lines_of_bare_values_are_not_folded() -> None:
    source = "".join(f"{n} {n * 2.5}\n" for n in range(20))
    assert folded_text(source) == source


def test_frames_of_libraries_are_counted_and_the_innermost_stays() -> None:
    library = '  File "/usr/lib/python3.11/site-packages/web/core.py", line {}, in call\n    handler()\n'
    source = (
        "Traceback (most recent call last):\n"
        '  File "/srv/app.py", line 3, in main\n    run()\n'
        + "".join(library.format(n) for n in range(6))
        + '  File "/srv/app.py", line 9, in handler\n    load()\n'
        + library.format(77)
        + "KeyError: 'x'\n"
    )
    result = apply(source, without_library_frames(source))
    assert "[… 6 library frames]" in result
    assert result.count("/srv/app.py") == 2
    assert "line 77" in result
    assert result.endswith("KeyError: 'x'\n")


def test_frames_of_java_and_javascript_are_counted_too() -> None:
    java = (
        "java.io.IOException: gone\n\tat com.shop.Disk.read(Disk.java:9)\n"
        + "\tat org.springframework.web.Call.run(Call.java:1)\n" * 5
    )
    java += "\tat com.shop.App.main(App.java:4)\n"
    result = apply(java, without_library_frames(java))
    assert result.count("springframework") == 0
    assert "[… 5 library frames]" in result
    assert "App.java:4" in result
    node = (
        "Error: no\n    at load (/srv/app.js:3:5)\n" + "    at next (/srv/node_modules/express/lib/router.js:1:2)\n" * 3
    )
    assert "[… 3 library frames]" in apply(node, without_library_frames(node))


def test_colours_of_a_terminal_go() -> None:
    source = "\x1b[1m== start ==\x1b[0m \x1b[32m.\x1b[0m #ff8800\n"
    assert apply(source, uncoloured(source)) == "== start == . #ff8800\n"
