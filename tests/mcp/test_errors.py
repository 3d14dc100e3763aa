"""The one mapping from our errors to what a client reads."""

from collections.abc import Iterator
from typing import get_args

import pytest
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from reasoning_bank import errors
from reasoning_bank.errors import ReasoningBankError, StorageCode
from reasoning_bank.mcp.errors import as_protocol_error, as_resource_error, as_tool_error, explain, storage_advice

SECRET = "/home/someone/bank.db SELECT"
SHOWN = (errors.InputError, errors.PermissionDeniedError, errors.BusyError, errors.UpstreamError)
"""Their texts are written for the model; the others are written for the person at the machine."""


def kinds(parent: type[ReasoningBankError]) -> Iterator[type[ReasoningBankError]]:
    """Those that every room may raise, whatever other tests have imported: a room's own are subclasses of them."""
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from kinds(child)


def made(kind: type[ReasoningBankError]) -> ReasoningBankError:
    return kind(SECRET, code="io") if issubclass(kind, errors.StorageError) else kind(SECRET)


@pytest.mark.parametrize("kind", list(kinds(ReasoningBankError)))
def test_every_error_has_a_text_for_the_client(kind: type[ReasoningBankError]) -> None:
    text = explain(made(kind))
    assert text
    assert (SECRET in text) == issubclass(kind, SHOWN)
    assert str(as_tool_error(made(kind))) == text


@pytest.mark.parametrize("code", get_args(StorageCode))
def test_every_storage_failure_says_what_to_do(code: StorageCode) -> None:
    assert storage_advice(code).endswith(".")
    assert len({storage_advice(other) for other in get_args(StorageCode)}) == len(get_args(StorageCode))


def test_only_a_missing_item_is_not_found_as_a_resource() -> None:
    assert isinstance(as_resource_error(errors.NotFoundError("x")), ResourceNotFoundError)
    assert not isinstance(as_resource_error(errors.InputError("x")), ResourceNotFoundError)


def test_wrong_input_is_the_clients_error_and_the_rest_is_ours() -> None:
    assert as_protocol_error(errors.InputError("x")).error.code == -32602
    assert as_protocol_error(errors.BusyError("x")).error.code == -32603


def test_a_retry_is_offered_with_its_time() -> None:
    assert explain(errors.BusyError("the queue is full", retry_after_s=2.5)).endswith("Try again in 2.5 s.")
    assert "Try again" not in explain(errors.UpstreamError("no answer"))


def test_a_model_that_is_missing_need_not_be_the_embedding_model() -> None:
    assert "compression.llmlingua_model" in explain(errors.ModelUnavailableError("x"))
