"""No answer of a judge server fills the memory, and Retry-After is read in both of its forms."""

from __future__ import annotations

import asyncio
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from judges import http_answers
from judges.base import Case, Status
from judges.green.client import Client, Failure
from judges.http_answers import TooLarge, ask, retry_after_s
from judges.remote import HttpJudge


class Bomb(BaseHTTPRequestHandler):
    """Answers everything with a small body that unpacks to a large one."""

    def do_GET(self):
        body = gzip.compress(b" " * self.server.size)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http_answers, "MOST_BYTES", 2**20)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Bomb)
    made.size = 8 * 2**20
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def url(server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_a_large_answer_is_not_read_to_its_end(server, url):
    with pytest.raises(TooLarge, match="1 MiB"):
        ask(httpx, "GET", url)
    server.size = 2**20
    assert len(ask(httpx, "GET", url).content) == 2**20


def test_a_large_answer_to_a_judge_is_unscorable(url):
    judge = HttpJudge(url)
    [score] = judge.score([Case("s", "a", "b")])
    assert score.status is Status.UNSCORABLE and "larger than" in score.detail
    assert judge.drain_metrics()["unreadable_answers"] == 1
    judge.close()


def test_a_large_answer_of_a_model_server_has_failed(url):
    [answer] = asyncio.run(Client([url]).complete([{"prompt": [1]}]))
    assert isinstance(answer, Failure) and "larger than" in answer.reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("-3", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    now = 1445412480.0  # 21 Oct 2015 07:28:00 UTC
    assert retry_after_s({"Retry-After": text}, now) == seconds


def test_without_headers_there_is_no_wish():
    assert retry_after_s(None) == retry_after_s({}) == 0.0
