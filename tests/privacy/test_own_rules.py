"""Rules of a user: read from a file, linear in time, refused with file, rule and reason when they cannot work."""

import sys
import time
from pathlib import Path

import pytest

from reasoning_bank.errors import ConfigError
from reasoning_bank.privacy.own_rules import read_own_rules
from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.rules import rule_set
from tests.conftest import REPOSITORY


def written(directory: Path, text: str) -> Path:
    file = directory / "redaction.toml"
    file.write_text(text, encoding="utf-8")
    return file


def redactor(file: Path) -> Redactor:
    return Redactor("redact", b"salt", rules=rule_set(own=read_own_rules(file)))


def test_the_example_in_config_is_valid_and_redacts_what_it_says() -> None:
    own = redactor(REPOSITORY / "config" / "redaction.toml")
    text = own.text("Customer no. AB-0012345 on build-7.corp.example with acme_live_0123456789abcdefghijklmn").text
    assert [part.partition(":")[0] for part in text.split("[REDACTED:")[1:]] == [
        "customer-number",
        "internal-host",
        "acme-key",
    ]
    assert text.startswith("Customer no. [REDACTED:customer-number:")


def test_own_rules_come_before_those_of_the_package_and_beside_them(tmp_path: Path) -> None:
    file = written(tmp_path, "[[rule]]\nkind = 'ours'\npattern = 'ghp_[A-Za-z0-9]{36}'\n")
    found = redactor(file).text("g" + "hp_" + "a1" * 18 + " and password=hunter2x").findings
    assert [finding.kind for finding in found] == ["ours", "password"]


def test_a_file_without_rules_changes_nothing(tmp_path: Path) -> None:
    assert redactor(written(tmp_path, "")).text("clean").text == "clean"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[[rule]", "cannot be read"),
        ("rule = 3", r"\[\[rule\]\] table"),
        ("[[rules]]\nkind = 'a'", "'rules' is not known"),
        ("[[rule]]\npattern = 'abc'", "rule 1: kind is ''"),
        ("[[rule]]\nkind = 'Acme Key'\npattern = 'abc'", "kind is 'Acme Key'"),
        (
            "[[rule]]\nkind = 'a'\npattern = 'abc'\n[[rule]]\nkind = 'b'\npattern = '('",
            r"rule 2 \(b\): the pattern cannot be used: missing",
        ),
        ("[[rule]]\nkind = 'a'\npattern = '(?<=x)y'", "no look-around"),
        ("[[rule]]\nkind = 'a'\npattern = 'a*'", "every place"),
        ("[[rule]]\nkind = 'a'", "every place"),
        ("[[rule]]\nkind = 'a'\npattern = 'abc'\nexamples = ['xyz']", "does not find its example 'xyz'"),
        ("[[rule]]\nkind = 'a'\npattern = 'abc'\nregex = 'abc'", "'regex' is not known"),
        ("[[rule]]\nkind = 'a'\npattern = 'abc'\nignore_case = 'yes'", "ignore_case must be bool"),
        ("[[rule]]\nkind = 'a'\npattern = 'abc'\n" * 101, "the limit is 100"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_its_place(content: str, reason: str, tmp_path: Path) -> None:
    file = written(tmp_path, content)
    with pytest.raises(ConfigError, match=reason) as error:
        read_own_rules(file)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_own_rules(tmp_path / "absent.toml")


def test_a_pattern_made_to_explode_takes_linear_time(tmp_path: Path) -> None:
    own = redactor(written(tmp_path, "[[rule]]\nkind = 'a'\npattern = '(?:a+)+(?:a|b)*(?:a*)*c'\n"))
    started = time.process_time()
    assert own.text("a" * 200_000).findings == ()
    assert time.process_time() - started < 20.0


def test_without_re2_a_bounded_pattern_works_and_one_that_could_explode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    own = redactor(written(tmp_path, "[[rule]]\nkind = 'a'\npattern = 'acme_[a-z0-9]{8,40}'\n"))
    assert own.text("acme_12345678 and password=hunter2x").text.count("[REDACTED:") == 2
    with pytest.raises(ConfigError, match="google-re2"):
        read_own_rules(written(tmp_path, "[[rule]]\nkind = 'a'\npattern = '(?:a+)+c'\n"))
