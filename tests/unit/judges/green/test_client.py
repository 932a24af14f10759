"""GREEN's client and answers that no HTTP library can read."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from judges.errors import ConfigError
from judges.green.client import Client, Failure


class Packed(BaseHTTPRequestHandler):
    """Says that its answer is packed, which it is not."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"not packed")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def client():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Packed)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    client = Client([f"http://127.0.0.1:{server.server_address[1]}"], 5.0)
    yield client
    client.close()
    server.shutdown()
    server.server_close()


def test_answers_that_cannot_be_unpacked_are_failures_with_a_name(client):
    [answer] = asyncio.run(client.complete([{"prompt": [1], "max_tokens": 1}]))
    assert isinstance(answer, Failure) and "DecodingError" in answer.reason
    with pytest.raises(ConfigError, match=r"could not be reached within 0 s \(DecodingError\)"):
        client.check("model", 0.0, lambda: None)
    with pytest.raises(ConfigError, match=r"cannot be reached \(DecodingError\)"):
        client.check_sleep_mode()


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999999", "host:8000", "http://host:port"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="expected one like http://localhost:8000"):
        Client([url], 1.0).check("model", 0.0)
