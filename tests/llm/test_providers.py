"""From a configuration to a provider; scripts."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from reasoning_bank.errors import ConfigError, UpstreamError
from reasoning_bank.llm.exchange import Message, ModelRequest, Purpose, Reply
from reasoning_bank.llm.providers import ProviderChoice, Wire, open_provider, try_connection
from reasoning_bank.opening.language import _choice
from reasoning_bank.settings import LanguageModelSettings, ProviderSettings

from . import endpoint, wires
from .conftest import BOUND_S, KEY
from .endpoint import TEXT, ModelServer

SCRIPT = """
[[reply]]
purpose = "judge"
match = "exit code [1-9]"
json = { outcome = "failure" }
times = 2

[[reply]]
purpose = "judge"
text = "unknown"

[[reply]]
match = "overload"
error = "the model is overloaded"
status = 503

[[reply]]
match = "long"
text = "two  words "
finish = "length"
"""


def asked(text: str, purpose: Purpose | None = None) -> ModelRequest:
    return ModelRequest(messages=(Message("system", "Judge."), Message("user", text)), purpose=purpose)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "script.toml"
    file.write_text(SCRIPT, encoding="utf-8")
    return file


@pytest.mark.parametrize("wire", ["chat_completions", "responses", "anthropic"])
async def test_configuration_opens_the_client_of_its_format(wire: Wire, server: ModelServer) -> None:
    async with open_provider(ProviderChoice(wire=wire, base_url=f"{server.url}/", api_key=KEY)) as opened:
        assert (await try_connection(opened.provider, model="m", timeout_s=BOUND_S)).text == TEXT
        assert opened.pool is not None
        assert opened.pool.statistics().requests == 1
    assert server.requests[0].path == wires.PATHS[wire]


async def test_trying_a_connection_says_what_is_wrong(server: ModelServer) -> None:
    server.otherwise = endpoint.status(401)
    async with open_provider(ProviderChoice(wire="responses", base_url=server.url, api_key=KEY)) as opened:
        with pytest.raises(UpstreamError, match=r"'m' at 127.0.0.1:\d+ answered HTTP 401: .*check llm.api_key"):
            await try_connection(opened.provider, model="m", timeout_s=BOUND_S)


async def test_certificates_that_cannot_be_read_are_said_so_at_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    for content in (None, "no certificate"):
        if content:
            file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"llm.ca_file 'ca.pem' holds no certificates"):
            async with open_provider(ProviderChoice(wire="responses", ca_file=file)):
                pass


def test_settings_of_connections_reach_the_provider() -> None:
    given: dict[str, Any] = {
        "pool_size": 3,
        "max_retries": 1,
        "timeout_s": 9.0,
        "read_timeout_s": 2.0,
        "trust_env": True,
    }
    choice = _choice(LanguageModelSettings(**given), ProviderSettings(), None)
    assert {name: getattr(choice, name) for name in given} == given


def test_key_of_a_choice_is_not_shown() -> None:
    assert KEY not in repr(ProviderChoice(wire="anthropic", api_key=KEY))


async def test_script_replies_by_purpose_and_words(script: Path) -> None:
    async with open_provider(ProviderChoice(wire="scripted", script=script)) as opened:
        provider = opened.provider
        texts = [
            (await provider.complete(asked("exit code 2", "judge"), model="m", timeout_s=1)).text for _ in range(3)
        ]
        assert texts == ['{"outcome": "failure"}'] * 2 + ["unknown"]
        with pytest.raises(UpstreamError, match="the model is overloaded") as caught:
            await provider.complete(asked("overload"), model="m", timeout_s=1)
        assert caught.value.status == 503
        with pytest.raises(UpstreamError, match="no reply for distil"):
            await provider.complete(asked("else", "distil"), model="m", timeout_s=1)


async def test_script_is_streamed_word_by_word(script: Path) -> None:
    async with open_provider(ProviderChoice(wire="scripted", script=script)) as opened:
        async with aclosing(opened.provider.stream(asked("long"), model="m", timeout_s=1)) as stream:
            *pieces, reply = [piece async for piece in stream]
        assert isinstance(reply, Reply)
        assert pieces == ["two", "  words", " "]
        assert (reply.text, reply.finish, reply.model) == ("two  words ", "length", "m")
        assert reply.usage.output == 2


async def test_script_may_be_a_file_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "script.jsonl"
    file.write_text('{"text": "one", "times": 1}\n\n{"text": "two"}\n', encoding="utf-8")
    async with open_provider(ProviderChoice(wire="scripted", script=file)) as opened:
        replies = [(await opened.provider.complete(asked("?"), model="m", timeout_s=1)).text for _ in range(2)]
    assert replies == ["one", "two"]


@pytest.mark.parametrize("text", ["[[reply]]\nanswer = 1", "[[reply]]\nmatch = '('", "oops"])
async def test_script_that_cannot_be_used_is_said_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "script.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the script of the model, script.toml: "):
        async with open_provider(ProviderChoice(wire="scripted", script=file)):
            pass
    for missing in (None, tmp_path / "none.toml"):
        with pytest.raises(ConfigError):
            async with open_provider(ProviderChoice(wire="scripted", script=missing)):
                pass
