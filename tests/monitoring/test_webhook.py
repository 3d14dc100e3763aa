"""The webhook keeps its address to itself, and loses nothing because a server is busy for a while."""

import http.server
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.to_thread
import pytest

from reasoning_bank.background.tasks import Guarded
from reasoning_bank.opening.webhook import Webhook

Answer = Callable[[int], tuple[int, dict[str, str]]]
"""Status and headers for the n-th request."""


@contextmanager
def hook(answer: Answer, *, until: int) -> Generator[tuple[str, list[bytes], threading.Event]]:
    """A server: its address, what it took (status 204), and an event once it was asked `until` times."""
    asked: list[int] = []
    taken: list[bytes] = []
    enough = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = answer(len(asked))
            said = b'{"error": "no such hook ' + self.path.encode() + b'"}' if status != 204 else b""
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)
            asked.append(status)
            taken.extend([body] if status == 204 else [])
            if len(asked) == until:
                enough.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/SECRETTOKEN", taken, enough
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@asynccontextmanager
async def posting(url: str, count: int) -> AsyncGenerator[None]:
    """A webhook at work with so many documents to post."""
    webhook = Webhook(url)
    for number in range(count):
        webhook.post({"number": number})
    async with Guarded("webhook", webhook.run):
        yield


async def test_an_answer_that_repeats_the_secret_of_the_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with hook(lambda _: (404, {}), until=2) as (url, _, enough):
        async with posting(url, 2):
            assert await anyio.to_thread.run_sync(enough.wait, 30)
            with anyio.fail_after(30):
                while not (said := [each.message for each in caplog.records if "alert" in each.message]):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
    assert said[0] == "an alert could not be posted to monitoring.webhook_url: the server answered 404"
    assert "SECRETTOKEN" not in caplog.text


async def test_a_server_that_asks_to_wait_gets_everything_afterwards_and_in_order() -> None:
    def busy_first(number: int) -> tuple[int, dict[str, str]]:
        return (429, {"retry-after-ms": "10"}) if number < 5 else (204, {})

    with hook(busy_first, until=8) as (url, taken, enough):
        async with posting(url, 3):
            assert await anyio.to_thread.run_sync(enough.wait, 30)
    assert taken == [b'{"number": 0}', b'{"number": 1}', b'{"number": 2}']
