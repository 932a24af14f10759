"""A judge behind HTTP: a real server process and the real client; and servers that are not what they should be."""

from __future__ import annotations

import ast
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from judges import remote
from judges.base import Case, Labels, Score, Status
from judges.identity import identify
from judges.registry import load_judge
from judges.remote import HttpJudge
from judges.serve import JudgeServer, ServedJudge
from judges.wire import decode_cases, decode_score, encode_cases, encode_scores
from online_rl.errors import CheckpointError, ConfigError, JudgeError
from tests.served import Served

ROOT = Path(__file__).resolve().parents[3]
SECRET = "secretive effusion"
CASES = [
    Case(
        "s1",
        "small effusion",
        "small left effusion",
        images=("a.png", b"\x89bytes"),
        columns={"age": 70},
        raw_candidate="Small\nEFFUSION",
        raw_reference="Small left EFFUSION",
    ),
    Case("s2", SECRET, "no effusion", completion_ids=(1, 2)),
]
REWARDS = """
import asyncio
import time
from judges.base import Score

def words(completions, per_word=1.0, **columns):
    return [None if c == "unscorable" else per_word * len(c.split()) for c in completions]

async def later(completions, images, age, **columns):
    await asyncio.sleep(0)
    assert images[0] == ["a.png", b"\\x89bytes"]
    return [float(a or 0) for a in age]

def raises(completions, **columns):
    raise ValueError(completions[0])

def short(completions, **columns):
    return [0.5]

class Away:
    name = "away"
    def score(self, cases):
        return [Score.failed("the model behind it is loading") for _ in cases]
    def close(self):
        print("closed", flush=True)

class Broken(Away):
    def score(self, cases):
        raise RuntimeError(cases[0].candidate)

class Gone(Away):
    def score(self, cases):
        raise ConnectionRefusedError(cases[0].candidate)

def slow(completions, **columns):
    time.sleep(1.5)
    return [1.0] * len(completions)
"""


class Server(Served):
    """`python -m judges.serve` on a free port."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "judges.serve", "--port", str(port), *arguments]
        super().__init__(command, {**os.environ, "PYTHONPATH": str(ROOT)}, start_s=60)

    def post(self, body: bytes, path: str = "/score", **headers: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content


@contextmanager
def serving(*arguments: str, port: int = 0) -> Iterator[Server]:
    server = Server(*arguments, port=port)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def rewards(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(REWARDS)
    return path


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(remote, "START_PATIENCE_S", 0.0)


@pytest.fixture(scope="module")
def findings() -> Iterator[Server]:
    with serving("--use", "findings", "--args", '{"normal_weight": 0.25}') as server:
        yield server


def client(server: Server, **args) -> HttpJudge:
    judge = load_judge("http", {"url": server.url, **args})
    judge.start()
    return judge


def test_a_served_judge_scores_as_it_does_at_home(findings):
    cases = [
        Case("s1", "Small left effusion. Heart is normal.", "Small left effusion."),
        Case("s2", "No effusion. \u202eclear 👍 \udcff", "Large right effusion."),
        Case("s3", "", "Clear."),
        Case("s4", "word " * 10_000, "No effusion."),
        Case("s5", "Effusion.", "Nothing said."),
    ]
    at_home = load_judge("findings", {"normal_weight": 0.25}).score(cases)
    served = client(findings, judge="findings").score(cases)
    plain = [(s.status, s.value, s.parts, s.detail) for s in at_home]
    assert [(s.status, s.value, s.parts, s.detail) for s in served] == plain
    assert Status.UNSCORABLE in {s.status for s in served}
    assert client(findings).score([]) == []


def test_reward_functions_sync_and_async_get_images_and_columns(rewards):
    with serving("--use", f"{rewards}:words", "--args", '{"per_word": 0.5}') as server:
        judge = client(server, judge="words")
        scores = judge.score([*CASES, Case("s3", "unscorable", "x")])
        assert [s.value for s in scores] == [1.0, 1.0, None]
        assert judge.granularity == "group" and judge.drain_metrics() == {"requests": 1.0, "unreadable_answers": 0.0}
        assert judge.drain_metrics()["requests"] == 0.0
    with serving("--use", f"{rewards}:later") as server:
        assert [s.value for s in client(server).score(CASES)] == [70.0, 0.0]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("raises", "'raises' raised ValueError.*rows 0 to 1.*'s1' to 's2'"),
        ("short", "'short' returned 1 values.*expected 2"),
        ("Broken", "'Broken' raised RuntimeError|'away' raised RuntimeError"),
    ],
)
def test_a_judge_that_breaks_its_contract_is_an_error_that_names_it_and_no_report(rewards, attribute, message):
    with serving("--use", f"{rewards}:{attribute}") as server:
        with pytest.raises(JudgeError, match=message) as caught:
            client(server).score([CASES[1], CASES[0]] if attribute == "Broken" else CASES)
        assert "effusion" not in str(caught.value)
        assert "effusion" not in server.log and "Traceback" not in server.log
        assert "HTTP 422" in server.log


@pytest.mark.parametrize("attribute", ["Away", "Gone"])
def test_a_judge_that_cannot_be_reached_behind_the_server_has_failed(rewards, attribute):
    with serving("--use", f"{rewards}:{attribute}") as server:
        scores = client(server).score(CASES)
        assert [s.status for s in scores] == [Status.FAILED, Status.FAILED]
        assert "effusion" not in server.log
        assert server.stop() == 0
    assert "closed" in server.log, "the judge's own close() ran"


def test_a_server_that_stops_has_failed_and_answers_again_when_it_is_back(findings, rewards):
    with serving("--use", f"{rewards}:words") as server:
        judge = client(server)
        assert judge.score(CASES)[0].value == 2.0
        port = server.url.rpartition(":")[2]
    assert [s.status for s in judge.score(CASES)] == [Status.FAILED] * 2
    with serving("--use", f"{rewards}:words", port=int(port)):
        assert judge.score(CASES)[0].value == 2.0


def test_another_judge_behind_the_address_is_refused(findings):
    served = client(findings).state_dict()
    assert client(findings, judge="findings", version=served["version"], hash=served["hash"][:12])
    for args, words in [
        ({"judge": "green"}, "serves name 'findings', expected 'green'"),
        ({"version": "9.9"}, "serves version .*'9.9'"),
        ({"hash": "abc123xyz"}, "serves hash .*'abc123xyz'"),
    ]:
        with pytest.raises(ConfigError, match=words):
            client(findings, **args)


def test_a_judge_that_changes_while_the_run_goes_on_or_rests_is_refused(rewards, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(REWARDS)
    with serving("--use", f"{own}:words") as server:
        judge = client(server)
        state, port = judge.state_dict(), server.url.rpartition(":")[2]
    own.write_text(REWARDS.replace("per_word *", "2 * per_word *"))
    with serving("--use", f"{own}:words", port=int(port)) as server:
        with pytest.raises(JudgeError, match="now serves hash"):
            judge.score(CASES)
        resumed = client(server)
        with pytest.raises(CheckpointError, match="the run was trained with"):
            resumed.load_state_dict(state)


def test_what_is_not_a_request_is_refused_and_serving_goes_on(findings):
    for body in (b"", b"{", b"[]", b'{"cases": [1]}', b'{"cases": [{"candidate": "a"}]}', b"\xff" * 50, b"[" * 100_000):
        assert findings.post(body)[0] == 400, body[:20]
    images = b'{"cases": [{"candidate": "a", "reference": "b", "images": [{"base64": "!"}]}]}'
    assert findings.post(images)[0] == 400
    assert findings.post(b"{}", path="/other")[0] == 404
    assert findings.post(b"", **{"Content-Length": str(10**12)})[0] == 413
    assert client(findings).score(CASES)[0].status is Status.SCORED
    assert SECRET not in findings.log and "Traceback" not in findings.log


def test_calls_at_once_are_answered_each_with_its_own(findings):
    judge = client(findings)
    expected = load_judge("findings", {"normal_weight": 0.25})
    cases = [Case(f"s{i}", "Small left effusion. " * (i % 3), "Small left effusion. Clear lungs.") for i in range(24)]
    answers: dict[int, float | None] = {}

    def ask(i: int) -> None:
        answers[i] = judge.score([cases[i]])[0].value

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answers[i] for i in range(24)] == [s.value for s in expected.score(cases)]


def test_a_call_whose_turn_does_not_come_is_told_to_ask_again(rewards):
    with serving("--use", f"{rewards}:slow", "--max-wait", "0.3") as server, ThreadPoolExecutor(2) as pool:
        statuses = [pool.submit(server.post, encode_cases(CASES)) for _ in range(2)]
        assert sorted(answer.result()[0] for answer in statuses) == [200, 503]
        assert server.post(encode_cases(CASES))[0] == 200


def test_wrong_arguments_end_with_one_message():
    for arguments, words in [
        (["--use", "nope", "--port", "0"], "'nope' is not known"),
        (["--use", "findings", "--port", "0", "--args", "[]"], "expected a JSON object"),
        (["--use", "findings", "--port", "0", "--args", '{"weight": 1}'], "do not fit"),
    ]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "judges.serve", *arguments], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


# Several judges behind one port.


@pytest.fixture(scope="module")
def several() -> Iterator[str]:
    served = []
    for use in ("findings", "findings_f1"):
        judge = load_judge(use)
        judge.name = use
        served.append(ServedJudge(judge, identify(judge, use)))
    server = JudgeServer(("127.0.0.1", 0), served)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize("name", ["findings", "findings_f1"])
def test_each_of_several_judges_is_found_by_its_name_or_its_path(several, name):
    expected = [s.value for s in load_judge(name).score(CASES)]
    for args in ({"url": several, "judge": name}, {"url": f"{several}/{name}"}):
        judge = load_judge("http", args)
        judge.start()
        assert [s.value for s in judge.score(CASES)] == expected
        assert judge.state_dict()["name"] == name


@pytest.mark.parametrize("args", [{}, {"judge": "radgraph"}])
def test_a_judge_that_is_not_among_several_is_refused_with_those_that_are(several, args):
    with pytest.raises(ConfigError, match=r"serves findings, findings_f1; args\.judge is .*expected one of these"):
        load_judge("http", {"url": several, **args}).start()
    with pytest.raises(ConfigError, match="HTTP 404"):
        load_judge("http", {"url": f"{several}/radgraph"}).start()


def test_a_score_for_nobody_in_particular_is_refused(several):
    connection = http.client.HTTPConnection(several.removeprefix("http://"), timeout=20)
    connection.request("POST", "/score", encode_cases(CASES))
    answer = connection.getresponse()
    assert answer.status == 404 and "/findings, /findings_f1" in json.loads(answer.read())["error"]
    connection.close()


# Servers that are something else.


def test_reports_take_no_way_through_a_proxy_of_the_environment(findings, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client(findings).score(CASES)[0].status is Status.SCORED


# The wire.


def test_cases_and_scores_come_back_as_they_were():
    assert decode_cases(encode_cases(CASES)) == CASES
    labels = Labels(frozenset({"Edema", "Pleural Effusion"}), frozenset())
    scores = [Score(0.5, parts={"a": 1.0}, detail="text", labels=labels), Score.unscorable("no", b=2.0), Score(-1e14)]
    again = [decode_score(item) for item in json.loads(json.dumps(encode_scores(scores)))]
    assert again == scores


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", object()])
def test_a_column_that_json_cannot_carry_is_named(value):
    with pytest.raises(JudgeError, match="study 's2': column 'label'"):
        encode_cases([CASES[0], Case("s2", SECRET, "b", columns={"label": value})])


# Little more than the standard library.

SERVED = (
    *("__init__", "base", "callable", "composite", "event_loop", "extras", "identity"),
    *("length", "network", "radeval/isolate", "radeval/judge", "radeval/metrics", "radeval/scorers", "radeval/server"),
    *("registry", "serve", "sources", "wire"),
)


def test_the_server_needs_nothing_that_is_not_in_the_standard_library():
    script = "import sys; sys.argv = ['serve', '--help']; import judges.serve, judges.findings; print(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVED)
def test_the_server_s_modules_are_python_3_10(name):
    """Environments of older metrics have older Pythons."""
    source = (ROOT / "judges" / f"{name}.py").read_text()
    ast.parse(source, feature_version=(3, 10))
    assert "StrEnum" not in source.replace("StrEnum needs", "")
