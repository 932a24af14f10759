"""The client of a served judge before servers that misbehave: what has failed, what is unscorable, what is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from judges import remote
from judges.base import Status
from judges.remote import HttpJudge
from online_rl.errors import ConfigError, JudgeError
from tests.unit.judges.test_serve import CASES, SECRET


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(remote, "START_PATIENCE_S", 0.0)


class Answers(BaseHTTPRequestHandler):
    """Answers as the test says: (status, body) per path."""

    server: FakeServer

    def do_GET(self) -> None:
        self._reply(*self.server.replies["/judge"])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(*self.server.replies["/score"])

    def _reply(self, status: int, body: bytes | float, length: int | None = None, encoding: str = "") -> None:
        if isinstance(body, float):
            return time.sleep(body)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "http://example.com/score")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


class FakeServer(ThreadingHTTPServer):
    daemon_threads = True
    replies: dict[str, tuple]


IDENTITY = {"protocol": 2, "name": "fake", "use": "fake", "version": "1", "hash": "abc", "granularity": "completion"}


@pytest.fixture
def fake() -> Iterator[Callable[..., HttpJudge]]:
    server = FakeServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def make(score: tuple = (200, b""), judge: tuple = (200, json.dumps(IDENTITY).encode()), **args) -> HttpJudge:
        server.replies = {"/judge": judge, "/score": score}
        return HttpJudge(f"http://127.0.0.1:{server.server_address[1]}", **args)

    yield make
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_server_errors_have_failed_and_may_be_asked_again(fake, status):
    judge = fake((status, b"oops"))
    judge.start()
    assert [(s.status, s.detail.endswith(f"HTTP {status}")) for s in judge.score(CASES)] == [(Status.FAILED, True)] * 2


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404])
def test_client_errors_stop_at_once(fake, status):
    with pytest.raises(ConfigError, match=f"HTTP {status}"):
        fake(judge=(status, b"")).start()
    judge = fake((status, SECRET.encode()))
    judge.start()
    with pytest.raises(JudgeError, match=f"HTTP {status}") as caught:
        judge.score(CASES)
    assert "effusion" not in str(caught.value)


def test_a_hang_has_failed_within_its_time(fake):
    judge = fake((200, 5.0), timeout_s=0.2)
    start = time.monotonic()
    assert [s.status for s in judge.score(CASES)] == [Status.FAILED] * 2
    assert time.monotonic() - start < 2


def test_a_truncated_answer_has_failed(fake):
    assert [s.status for s in fake((200, b'{"scores": [', 4096)).score(CASES)] == [Status.FAILED] * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_answer_that_cannot_be_unpacked_has_failed(fake, encoding):
    """A broken proxy in between: httpx.DecodingError, which is no TransportError."""
    judge = fake((200, b"not packed", None, encoding))
    judge.start()
    assert [s.status for s in judge.score(CASES)] == [Status.FAILED] * 2


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999999", "http://host:port", "http://a\x00b"])
def test_an_address_that_is_none_is_refused_when_it_is_named(url):
    with pytest.raises(JudgeError, match="args.url is .*expected http://HOST:PORT"):
        HttpJudge(url)


GOOD = {"status": "scored", "value": 0.5, "parts": {"a": 1}, "detail": ""}
UNREADABLE = {
    "not json": b"<html>proxy</html>",
    "empty": b"",
    "deep": b"[" * 200_000,
    "no scores": b"{}",
    "too few": json.dumps({"scores": [GOOD]}).encode(),
    "too many": json.dumps({"scores": [GOOD] * 3}).encode(),
    "numbers": b'{"scores": [0.5, 1.0]}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_that_cannot_be_read_is_unscorable_and_counted(fake, body):
    judge = fake((200, body))
    assert [s.status for s in judge.score(CASES)] == [Status.UNSCORABLE] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "0.5"},
        {"value": True},
        {"value": None},
        {"value": 10**400},
        {"value": [0.5]},
        {"status": "fine"},
        {"status": "unscorable"},
        {"parts": {"a": "1"}},
        {"parts": {"a": float("nan")}},
        {"parts": [1.0]},
        {"labels": ["effusion"]},
        {"labels": {"said": ["effusion"]}},
        {"labels": {"said": "effusion", "true": []}},
        {"labels": {"said": [1], "true": []}},
    ],
)
def test_one_score_that_cannot_be_read_leaves_the_others(fake, change):
    body = json.dumps({"scores": [{**GOOD, **change}, GOOD]}).encode()
    first, second = fake((200, body)).score(CASES)
    assert first.status is Status.UNSCORABLE and first.value is None
    assert (second.value, second.parts) == (0.5, {"a": 1.0})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", json.dumps(IDENTITY | {"protocol": 1}).encode(), b'{"object": "list", "data": []}']
)
def test_something_else_behind_the_url_is_refused_at_start(fake, body):
    with pytest.raises(ConfigError, match="not as a judge server.*args.url"):
        fake(judge=(200, body)).start()


def test_nobody_behind_the_url_is_refused_at_start():
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9 cannot be reached.*judges\.serve"):
        HttpJudge("http://127.0.0.1:9").start()
    with pytest.raises(JudgeError, match="'localhost:80'.*http://HOST:PORT"):
        HttpJudge("localhost:80")
