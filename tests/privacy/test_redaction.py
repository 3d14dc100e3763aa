import io
import json
import logging
import random
import sysconfig
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_bank.errors import InputError
from reasoning_bank.privacy.doors import redact_record
from reasoning_bank.privacy.redaction import PLACEHOLDER, RedactingFilter, Redactor
from reasoning_bank.records import ErrorContext, JsonValue, MemoryItem, NewTrace
from tests.privacy.samples import ASSIGNMENTS, HOLE, PROVIDER_KEYS, password

REDACTOR = Redactor("redact", b"a salt of the bank")
SURROUNDINGS = (
    "{}",
    "export KEY={}\n",
    'headers = {{"X-Key": "{}"}}',
    "The log said\\n{}\\nand went on.",
    "curl https://api.example.com/v1?key={}&page=2",
    "中文{}，然后",
    "    {}   # from the console",
    "key%3D{}",
    "It was about {}. Then it failed.",
)


@pytest.mark.parametrize("kind", PROVIDER_KEYS)
def test_a_provider_key_leaves_the_text_wherever_it_stands(kind: str) -> None:
    rng = random.Random(kind)
    for surrounding in SURROUNDINGS:
        secret = PROVIDER_KEYS[kind](rng)
        redacted = REDACTOR.text(surrounding.format(secret))
        assert len(redacted.findings) == 1, surrounding
        body = secret.removeprefix("AccountKey=").partition(":AA")[2] if ":AA" in secret else secret[12:]
        assert body not in redacted.text, surrounding
        assert redacted.text.startswith(surrounding.partition("{}")[0].format()[:3])


@pytest.mark.parametrize(("name", "template", "make"), ASSIGNMENTS, ids=[name for name, _, _ in ASSIGNMENTS])
def test_a_value_named_as_secret_leaves_the_text_and_the_name_stays(name: str, template: str, make: object) -> None:
    assert callable(make)
    rng = random.Random(name)
    for _ in range(20):
        secret = str(make(rng))
        redacted = REDACTOR.text(template.replace(HOLE, secret))
        before, _, after = template.partition(HOLE)
        assert secret not in redacted.text
        assert redacted.text.startswith(before)
        assert redacted.text.endswith(after.lstrip("&=.")), redacted.text


def test_nearly_all_of_many_planted_secrets_are_found() -> None:
    """600 provider keys and 560 assigned values in running text; the goal for provider keys is .98."""
    rng = random.Random(7)
    makers = [*PROVIDER_KEYS.values()]
    keys = [makers[n % len(makers)](rng) for n in range(600)]
    values = [(template, make(rng)) for _, template, make in ASSIGNMENTS for _ in range(20)]
    text = "\n".join(f"step {n}: used {key} to log in" for n, key in enumerate(keys))
    assigned = "\n".join(template.replace(HOLE, value) for template, value in values)
    text, assigned = REDACTOR.text(text).text, REDACTOR.text(assigned).text
    found_keys = sum(key[-16:] not in text for key in keys)
    found_values = sum(value not in assigned for _, value in values)
    assert found_keys / len(keys) >= 0.98
    assert found_values / len(values) >= 0.98


@pytest.mark.parametrize(
    "clean",
    [
        "password = get_password()",
        "password: str | None = None",
        "password = os.environ['DB_PASSWORD']",
        "password = request.form.password",
        "login(user, password=password)",
        'password="${DB_PASSWORD}"',
        'password: "{{ vault_password }}"',
        "password=<your-password>",
        'if password == "":',
        '{"password": "string"}',
        '"PWD": "/home/ada/project"',
        "The password is required and must be at least 8 characters.",
        '{"password": "Your password must have 8 characters"}',
        "token = tokenizer.encode(text)",
        "max_tokens: 12000, tokens=1500",
        'token_type: "bearer"',
        "next_token = tokens[index + 1]",
        'api_key="YOUR_API_KEY_HERE_123"',
        "secret = load_secret('name')",
        "Authorization: Bearer ${TOKEN}",
        'f"Authorization: Bearer {token}"',
        "sk-folding-cube-animation-name-of-20",
        "task-12345678901234567890123456",
        "git commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "docker run -u 1000:1000 image",
        "http://localhost:8080/path@v1",
        "git@github.com:owner/repository.git",
        "https://user@host.example/x",
        "d41d8cd98f00b204e9800998ecf8427e  file.txt",
        "550e8400-e29b-41d4-a716-446655440000",
        "hf_hub_download(repo_id='a/b')",
        "SKIP_THIS_TEST and SKU12345",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
        "secret_name: db-credentials",
        "credentials: same-origin",
        "--password TEXT  The password to use.",
    ],
)
def test_what_only_looks_like_a_secret_stays(clean: str) -> None:
    assert REDACTOR.text(clean).text == clean


def test_clean_code_has_at_most_one_false_finding_per_100_kb() -> None:
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:150]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    found = sum(len(REDACTOR.text(text).findings) for text in texts)
    assert found <= sum(map(len, texts)) / 100_000


def test_a_truncated_private_key_goes_to_its_last_line_and_the_text_behind_stays() -> None:
    rng = random.Random(1)
    begin, *lines, _, _ = PROVIDER_KEYS["PEM"](rng).split("\n")
    text = "\n".join([begin, *lines]) + "\nThe output was cut here."
    assert REDACTOR.text(text).text.endswith("\nThe output was cut here.") or "cut here" in REDACTOR.text(text).text
    assert not any(line in REDACTOR.text(text).text for line in lines)


def test_equal_secrets_stay_equal_and_the_salt_decides_how_they_read() -> None:
    key = PROVIDER_KEYS["GitHub classic"](random.Random(3))
    first, second = PLACEHOLDER.findall(REDACTOR.text(f"{key} and {key}").text)
    assert first == second
    assert first.startswith("[REDACTED:github-token:")
    assert Redactor("redact", b"another bank").text(key).text != first


def test_a_value_is_searched_to_its_leaves_and_keys() -> None:
    key = PROVIDER_KEYS["Anthropic"](random.Random(4))
    value: JsonValue = {
        "steps": [{"tool": "bash", "args": {"cmd": f"curl -H 'x-api-key: {key}'"}}, {key: [1, None, True]}],
        "password": "hunter2",
        "env": [{"name": "DB_PASSWORD", "value": "S3cr!et99"}, {"name": "PORT", "value": "5432"}],
        "pin": 1234,
    }
    redacted = REDACTOR.value(value)
    text = json.dumps(redacted.value)
    assert not any(secret in text for secret in (key, "hunter2", "S3cr!et99"))
    assert '"5432"' in text
    assert '"pin": 1234' in text
    assert len(redacted.findings) == 4
    assert REDACTOR.value(redacted.value).value == redacted.value


def test_no_value_is_lost_when_two_secret_keys_read_the_same() -> None:
    rng = random.Random(5)
    keys: JsonValue = {PROVIDER_KEYS["npm"](rng): number for number in range(600)}
    redacted = REDACTOR.value(keys).value
    assert isinstance(redacted, dict)
    assert sorted(map(str, redacted.values())) == sorted(map(str, range(600)))


def test_block_refuses_by_kind_and_never_repeats_the_secret() -> None:
    key = PROVIDER_KEYS["Stripe live"](random.Random(6))
    blocking = Redactor("block", b"salt")
    for refused in (lambda: blocking.text(f"pay with {key}", "task"), lambda: blocking.value({"a": [key]}, "task")):
        with pytest.raises(InputError, match=r"task.*stripe-key") as error:
            refused()
        assert key[8:] not in str(error.value)
    assert blocking.text("nothing here").findings == ()


def test_off_lets_everything_pass() -> None:
    key = PROVIDER_KEYS["Stripe live"](random.Random(6))
    assert Redactor("off", b"salt").text(key).text == key
    assert Redactor("off", b"salt").value({"password": key}).value == {"password": key}


def test_every_text_of_a_record_is_redacted() -> None:
    rng = random.Random(8)
    keys = [PROVIDER_KEYS["GitHub classic"](rng) for _ in range(12)]
    item = MemoryItem(
        text=keys[0],
        title=keys[1],
        description=keys[2],
        content=keys[3],
        tags=(keys[4], "plain"),
        domain=keys[5],
        error_context=ErrorContext(keys[6], keys[7], keys[8]),
        actor=keys[9],
        metadata={keys[10]: [keys[11]]},
    )
    trace = NewTrace(task=keys[0], trajectory=[{"role": "user", "content": keys[1]}], tags=(keys[2],), session=keys[3])
    clean_item, found = redact_record(REDACTOR, item)
    clean_trace, found_in_trace = redact_record(REDACTOR, trace)
    assert not any(key in repr(clean_item) + repr(clean_trace) for key in keys)
    assert (len(found), len(found_in_trace)) == (12, 4)
    assert clean_item.tags[1] == "plain"
    assert redact_record(REDACTOR, clean_item) == (clean_item, ())


def test_log_lines_tracebacks_and_arguments_lose_their_secrets() -> None:
    key = PROVIDER_KEYS["OpenAI project"](random.Random(9))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter(Redactor("block", b"salt")))
    logger = logging.getLogger("tests.privacy.door")
    logger.addHandler(handler)
    logger.warning("calling with %s", key)
    try:
        int(key)
    except ValueError:
        logger.exception("failed")
    logger.removeHandler(handler)
    assert "calling with [REDACTED:openai-key:" in stream.getvalue()
    assert "invalid literal for int() with base 10: '[REDACTED:openai-key:" in stream.getvalue()
    assert key not in stream.getvalue()


FRAGMENTS = st.sampled_from(
    [
        "password=",
        "password: ",
        '"',
        "'",
        "sk-",
        "eyJ",
        ".",
        "://",
        "a:",
        "@h",
        "\n",
        " ",
        "token=",
        "ab12cd34ef56",
        "[REDACTED:",
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0B",
        "\\n",
        "AKIA",
        "secret",
        "=",
        "--",
        ":",
        "[",
        "]",
        "中",
    ]
)


@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = REDACTOR.text(text)
    again = REDACTOR.text(once.text)
    assert (again.text, again.findings) == (once.text, ())


@given(st.text(), st.sampled_from(sorted(PROVIDER_KEYS)), st.text(), st.integers(0, 2**32))
def test_no_key_survives_between_any_texts(before: str, kind: str, after: str, seed: int) -> None:
    secret = PROVIDER_KEYS[kind](random.Random(seed))
    redacted = REDACTOR.text(f"{before} {secret} {after}")
    assert secret[-16:] not in redacted.text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\"'`")), st.integers(0, 2**32))
def test_no_quoted_password_survives_between_any_texts(around: str, seed: int) -> None:
    secret = password(random.Random(seed))
    assert secret not in REDACTOR.text(f'{around}\npassword="{secret}"\n{around}').text


PROBES = {
    "key starts": "sk-" * 17_000,
    "jwt starts": "eyJ" * 17_000,
    "jwt dots": ("eyJ" + "a" * 20 + ".") * 2_100,
    "pem starts": "-----BEGIN PRIVATE KEY-----" * 1_900,
    "pem body": "-----BEGIN PRIVATE KEY-----" + "A" * 50_000,
    "pem lines": "-----BEGIN PRIVATE KEY-----\n" + ("A" * 64 + "\n") * 780,
    "pem blanks": "-----BEGIN PRIVATE KEY-----" + " " * 50_000,
    "names": "password=" * 5_600,
    "names and blanks": "password   " * 4_600,
    "names in quotes": 'password="' * 5_000,
    "one long value": "password=" + "a" * 50_000,
    "one long quote": 'token="' + "a1" * 25_000,
    "tokens": "token:" * 8_400,
    "urls": "a://b:" * 8_400,
    "colons": "://" * 17_000,
    "url password": "a://b:" + "c" * 50_000,
    "machines": "machine a login b " * 2_800,
    "discord": "discord " + "M" * 50_000,
    "bearer": "bearer " * 7_200,
    "placeholders": "[REDACTED:" * 5_000,
    "authorization": "authorization:" * 3_600,
    "hex": "0123456789abcdef" * 3_200,
}


@pytest.mark.parametrize("name", PROBES)
def test_hostile_text_costs_linear_time(name: str) -> None:
    """Fifty kilobytes of each; a quadratic rule needs minutes, the bound is generous for a loaded machine."""
    started = time.process_time()
    REDACTOR.text(PROBES[name])
    assert time.process_time() - started < 10.0
