"""Personal data by number, check digit and form: only the kinds asked for, and no number that is something else."""

import json
import random
import sysconfig
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.privacy.redaction import Redactor
from reasoning_bank.privacy.rules import PersonalKind, rule_set

KINDS: tuple[PersonalKind, ...] = ("email", "phone", "iban", "card", "national-id")
REDACTOR = Redactor("redact", b"salt", rules=rule_set(KINDS))

# Published examples and test numbers, none of a person.
PERSONAL: dict[PersonalKind, tuple[str, ...]] = {
    "email": ("ada.lovelace@example.org", "o'x+tag@mail.example.co.uk", "A_B-c.9%z@xn--bcher-kva.example"),
    "phone": (
        "+49 30 901820",
        "+1 (415) 555-2671",
        "+14155552671",
        "+44 20 7946 0958",
        "+86 10-8765-4321",
        "0049 30 901820",
        "(415) 555-2671",
        "415-555-2671",
    ),
    "iban": (
        "DE02 1203 0000 0000 2020 51",
        "GB82WEST12345698765432",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NL91ABNA0417164300",
        "NO9386011117947",
        "ES9121000418450200051332",
        "MT84MALT011000012345MTLCAST001S",
    ),
    "card": (
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
    ),
    "national-id": (
        "123-45-6789",
        "AB 12 34 56 C",
        "12345678Z",
        "X1234567L",
        "RSSMRA85T10A562S",
        "255081416802538",
        "44051401359",
        "390.533.447-05",
        "Steuer-ID: 86 095 742 719",
        "BSN: 111222333",
    ),
}

OTHER = (
    "Python 3.11.4 on Linux 6.1.0-18, numpy==2.1.3, version 1.2.3.4",
    "at 1700000000, 1700000000000, 1700000000000000 and 1700000000000000000",
    "2024-01-02T10:00:00+02:00, 2024-01-02 10:00:00.123456 +0200",
    "192.168.100.200, 10.0.0.1:8080, fe80::1, 00:1a:2b:3c:4d:5e",
    "550e8400-e29b-41d4-a716-446655440000 3f786850e387550fdab836ed7e6dc881de23001b",
    "0.4111111111111111 and 3.141592653589793",
    "4111111111111112, 1234567890123456, 0000000000000000, 4444444444444444",
    "DE89370400440532013001 and GB82WEST12345698765433",
    "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000",
    "12345678A and RSSMRA85T10A562T and 44051401358 and 390.533.447-06",
    "git@github.com:owner/repository.git, icon@2x.png, root@localhost, pytest@8.4.1, @decorator.name",
    "+2024-01-02 added, +0200, x+12345678901",
    "order #W1234567, PO-1234567, SKU 123456789, issue 12345678",
    "SELECT 12345678 FROM t LIMIT 100000000",
)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in PERSONAL.items() for value in values])
def test_personal_data_leaves_the_text_where_its_kind_is_asked_for(kind: PersonalKind, value: str) -> None:
    secret = value.rpartition(": ")[2]
    for around in ("{}", "Please write to {} today.", "value={}\n", '["{}"]', "（{}）", "1: {}, 2: none"):
        text = around.format(value)
        assert secret not in REDACTOR.text(text).text, around
        assert {finding.kind for finding in REDACTOR.text(text).findings} == {kind}
        assert Redactor("redact", b"salt").text(text).text == text
        others: list[PersonalKind] = [other for other in KINDS if other != kind]
        assert Redactor("redact", b"salt", rules=rule_set(others)).text(text).text == text


@pytest.mark.parametrize("text", OTHER)
def test_other_numbers_and_names_stay(text: str) -> None:
    assert REDACTOR.text(text).text == text


def test_a_named_number_in_a_record_is_redacted_by_its_name() -> None:
    redacted = REDACTOR.value(
        {"phone": "030 1234567", "order": "030 1234567", "fields": [{"name": "mobile", "value": "0171 2345678"}]}
    )
    text = json.dumps(redacted.value)
    assert text.count("[REDACTED:phone:") == 2
    assert '"order": "030 1234567"' in text


def test_secrets_are_redacted_besides() -> None:
    assert "hunter2" not in REDACTOR.text("Ask ada@example.org; password=hunter2x").text


def test_code_holds_next_to_no_numbers_of_people() -> None:
    numbers = Redactor("redact", b"salt", rules=rule_set(("phone", "iban", "card", "national-id")))
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:150]]
    found = sum(len(numbers.text(text).findings) for text in texts)
    assert found <= sum(map(len, texts)) / 1_000_000


def test_all_digits_are_checked() -> None:
    """Of numbers with one digit changed, none passes: Luhn and the remainder by 97 see every single change."""
    rng = random.Random(1)
    for value in ("5555555555554444", "DE89370400440532013000"):
        for _ in range(50):
            place = rng.randrange(6, len(value))
            changed = value[:place] + str((int(value[place]) + rng.randrange(1, 10)) % 10) + value[place + 1 :]
            assert REDACTOR.text(changed).text == changed


@given(st.text(alphabet="0123456789+-. @()abcDEZ", max_size=60))
def test_redacting_personal_data_twice_changes_nothing_more(text: str) -> None:
    once = REDACTOR.text(text)
    assert REDACTOR.text(once.text) == type(once)(once.text)


HOSTILE = {
    "digits": "1234567890",
    "plus": "+1",
    "at": "a@a.",
    "at signs": "@",
    "groups": "4111 ",
    "ibans": "DE89 3704 ",
    "phones": "+49 30 901820 ",
    "labels": "phone: ",
    "dots": "123.456.",
    "letters": "ABCDEF85T10A562",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_linear_time(name: str) -> None:
    """The bound is generous for a loaded machine; a quadratic search would need minutes."""
    text = HOSTILE[name] * (200_000 // len(HOSTILE[name]))
    started = time.process_time()
    REDACTOR.text(text)
    assert time.process_time() - started < 20.0
