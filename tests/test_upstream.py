"""Where requests may go, how long a server asks to wait, and what is repeated of its errors."""

from email.utils import formatdate

import pytest

from reasoning_bank.errors import ConfigError
from reasoning_bank.upstream import checked_url, reason_of, retry_after_s

KEY = "sk-test-1234567890abcdef"
WALL = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "later", "retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(WALL + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(WALL - 30, usegmt=True)}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e12"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "in a minute"}, None),
        ({"retry-after": "Wed, 99 Foo 2026 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_servers_wish_to_wait_is_read_in_each_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, wall=WALL) == seconds


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.openai.com/v1", KEY),
        ("http://127.0.0.1:11434/v1", KEY),
        ("http://localhost:1234/v1", KEY),
        ("http://[::1]:8000/v1", KEY),
        ("http://192.168.1.20:11434/v1", None),
        ("https://10.0.0.5/v1", KEY),
    ],
)
def test_usable_addresses_are_accepted(url: str, key: str | None) -> None:
    assert checked_url(url, key=key, settings="llm") == url


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("ftp://example.com", None, "send the API's root"),
        ("https://", None, "send the API's root"),
        ("https://api.openai.com/v1?key=x", None, "send the API's root"),
        ("https://user:pass@example.com/v1", None, "holds a user or password"),
        ("http://169.254.169.254/latest", None, "no model server has such an address"),
        ("http://[::ffff:169.254.169.254]/v1", None, "no model server has such an address"),
        ("http://2852039166/v1", None, "no model server has such an address"),
        ("http://0.0.0.0:8000/v1", None, "no model server has such an address"),
        ("http://api.example.com/v1", KEY, "over https only"),
        ("http://192.168.1.20/v1", KEY, "over https only"),
        ("https://api.example.com/v1", "sk-1\nHost: x", "no blanks"),
        ("https://api.example.com/v1", "", "no blanks"),
    ],
)
def test_dangerous_addresses_and_keys_are_refused(url: str, key: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        checked_url(url, key=key, settings="llm")
    assert "sk-" not in str(caught.value)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error": {"message": "too long"}}', "too long"),
        ('{"type": "error", "error": {"type": "x", "message": "overloaded"}}', "overloaded"),
        ('{"error": "model not found"}', "model not found"),
        ('{"detail": "no such route"}', "no such route"),
        ('{"detail": [{"msg": "x"}]}', '{"detail": [{"msg": "x"}]}'),
        ("<html><h1>Bad\n gateway</h1></html>", "Bad gateway"),
        (f"{KEY} is wrong, so are Bearer abcdef and sk-ab***yz", "[key] is wrong, so are Bearer [key] and [key]"),
        ("api_version_unknown, key-less", "api_version_unknown, key-less"),
        ("x" * 400, "x" * 300 + "…"),
        ("\ufffd", "\ufffd"),
        ("[" * 60_000, "[" * 300 + "…"),
    ],
)
def test_reason_of_an_error_is_short_and_holds_no_key(body: str, reason: str) -> None:
    assert reason_of(body.encode(), key=KEY) == reason
