"""A judge that is away for two minutes is waited for; its own wish to be left alone is obeyed; the user hears of it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from judges.base import Case, Score, Status
from judges.remote import HttpJudge
from judges.wire import PROTOCOL
from online_rl.config.model import Scoring
from online_rl.errors import JudgeFailed
from online_rl.scoring import patience
from online_rl.scoring.calls import Calls, out_of_reach
from online_rl.scoring.patience import Outages, Patience

CASES = [Case("s1", "a b c", "reference"), Case("s2", "a b", "reference")]


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to, and the real pauses."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(patience, "time", made)
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 10.0)
    return made


def attempts_of(clock, options, until: float, wish_s: float = 0.0) -> list[float]:
    """When a judge that is away until `until` is asked, in seconds from the first failure; all if it comes back."""
    waits, start, asked = Patience(options), clock.now, [0.0]
    while clock.now - start < until:
        if waits.is_over(len(asked), wish_s):
            break
        clock.now += waits.pause(len(asked), wish_s)
        asked.append(clock.now - start)
    return asked


@pytest.mark.parametrize("seed", range(20))
def test_two_minutes_are_waited_out_with_default_settings(clock, monkeypatch, seed):
    monkeypatch.setattr(patience, "random", __import__("random").Random(seed))
    asked = attempts_of(clock, Scoring(), until=120.0)
    assert asked[-1] >= 120.0, "it was asked again after it had come back"
    assert asked[-1] <= 130.0, "and soon after"
    assert len(asked) < 40
    pauses = [after - before for before, after in zip(asked, asked[1:], strict=False)]
    for number, pause in enumerate(pauses):
        whole = min(0.2 * 2**number, 10.0)
        assert 0.5 * whole <= pause <= whole


def test_a_judge_that_is_gone_for_good_is_given_up(clock):
    asked = attempts_of(clock, Scoring(outage_s=30.0), until=1e9)
    assert 30.0 <= asked[-1] <= 40.0


def test_ranks_do_not_come_back_together(clock):
    first, second = (attempts_of(clock, Scoring(), until=60.0) for _ in range(2))
    assert not set(first[1:]) & set(second[1:])


def test_a_number_of_retries_still_counts_attempts(clock):
    assert len(attempts_of(clock, Scoring(max_retries=3), until=1e9)) == 4


def test_a_wish_is_obeyed_unless_it_lies_past_the_deadline(clock):
    assert attempts_of(clock, Scoring(), until=90.0, wish_s=45.0) == [0.0, 45.0, 90.0]
    assert attempts_of(clock, Scoring(), until=1e9, wish_s=601.0) == [0.0]


class Away(BaseHTTPRequestHandler):
    """A judge server that answers 503 or 429, with Retry-After, until the server's `back_at`, and at its first call if
    `is_away` says so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(time.monotonic())
        if time.monotonic() < self.server.back_at or (self.server.is_away and len(self.server.asked) == 1):
            self.send_response(self.server.status)
            if self.server.wish:
                self.send_header("Retry-After", self.server.wish)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({"name": "j", "scores": [{"status": "scored", "value": v} for v in (3.0, 2.0)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Away)
    made.asked, made.back_at, made.status, made.wish = [], 0.0, 503, ""
    made.is_away = False
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def ask(server):
    """Ask the judge behind the server; returns its answer and what the user was told."""

    def ask(**options):
        judge = HttpJudge(f"http://127.0.0.1:{server.server_address[1]}")
        calls, told = Calls(Scoring(**options)), []
        calls.tell(told.append)
        try:
            return calls.submit(judge, CASES).result(30), told
        finally:
            calls.close()
            judge.close()

    return ask


def test_a_judge_that_is_away_for_seconds_changes_no_score_and_the_user_is_told(server, ask, monkeypatch):
    assert PROTOCOL == 2  # what the handler above speaks
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.5)  # so that an attempt surely falls between being told and 4 s
    unharmed, silence = ask()
    server.back_at = time.monotonic() + 4.0
    answer, told = ask()
    assert [s.value for s in answer.scores] == [s.value for s in unharmed.scores] == [3.0, 2.0]
    assert answer.retries >= 3 and silence == []
    assert "waiting for judge 'http'" in told[0] and "HTTP 503" in told[0] and "asked again in" in told[0]
    assert "answers again after" in told[-1]


@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_wish_to_be_left_alone_is_obeyed(server, ask, status):
    server.is_away, server.status, server.wish = True, status, "1"
    answer, _ = ask()
    assert [s.value for s in answer.scores] == [3.0, 2.0] and len(server.asked) == 2
    assert server.asked[1] - server.asked[0] >= 1.0


def test_a_wish_that_no_step_can_wait_for_ends_the_call_with_the_number(server, ask):
    server.back_at, server.wish = time.monotonic() + 60, "3600"
    start = time.monotonic()
    answer, _ = ask()
    assert time.monotonic() - start < 5
    assert all(s.status is Status.FAILED for s in answer.scores)
    message = str(out_of_reach(HttpJudge("http://localhost"), answer.scores, Scoring()))
    assert "left alone for 3600 s" in message and "HTTP 503" in message


def test_a_users_own_client_may_hear_the_wish_too(ask):
    import httpx

    from judges.border import scores_after

    response = httpx.Response(429, headers={"Retry-After": "12"}, request=httpx.Request("GET", "http://localhost"))
    error = httpx.HTTPStatusError("", request=response.request, response=response)
    assert scores_after(error, "mine", CASES) == [Score.failed("HTTPStatusError", 12.0)] * 2


def test_an_outage_is_told_now_and_then_and_not_at_every_attempt(clock):
    told: list[str] = []
    outages = Outages()
    outages.say = told.append
    for _ in range(60):  # seconds
        outages.waiting("green", "HTTP 503", 1.0)
        outages.waiting("green", "HTTP 503", 1.0)  # another call
        clock.now += 1.0
    outages.over("green")
    outages.over("green")
    assert len(told) == 4 and "after 60 s" in told[-1]


def test_the_error_names_how_long_it_was_waited_for():
    judge = HttpJudge("http://localhost")
    error = out_of_reach(judge, [Score.failed("HTTP 503")], Scoring())
    assert isinstance(error, JudgeFailed) and "scoring.outage_s=150 s" in str(error)
