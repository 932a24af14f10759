"""Whatever leaves a user's code, wherever it is called, is one error with the name, the file and the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from judges import load_judge, score
from judges.base import Case, Status
from judges.border import is_unreachable
from judges.errors import JudgeError
from online_rl.cli import main
from online_rl.config.model import Scoring
from online_rl.scoring.calls import Calls

LEAVES = {
    "exit": "raise SystemExit(0)",
    "quit": "import sys; sys.exit('secret finding')",
    "cancelled": "import asyncio; raise asyncio.CancelledError('secret finding')",
    "own": "raise type('Mine', (BaseException,), {})('secret finding')",
    "stop": "raise StopIteration('secret finding')",
    "ordinary": "raise ValueError('secret finding')",
    "unprintable": "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
}

JUDGE = """
class Judge:
    name = "mine"
    def __init__(self):
        {make}
    def start(self):
        {start}
    {sync}def score(self, cases):
        {score}
    def close(self):
        {close}
"""
PLACES = ("make", "start", "score", "close")


@pytest.fixture(params=LEAVES)
def leaves(request) -> str:
    return LEAVES[request.param]


@pytest.fixture
def write(tmp_path):
    """Write a judge that leaves in one place; returns its name."""

    def write(place: str, leaves: str, is_async: bool = False) -> str:
        code = dict.fromkeys(PLACES, "pass") | {"score": "from judges import Score; return [Score(1.0) for _ in cases]"}
        code |= {place: leaves, "sync": "async " if is_async else ""}
        (tmp_path / "mine.py").write_text(JUDGE.format(**code))
        return f"{tmp_path}/mine.py:Judge"

    return write


def line_of(use: str, code: str) -> str:
    path = use.partition(":")[0]
    lines = Path(path).read_text().splitlines()
    return f"{path}:{next(i for i, line in enumerate(lines, 1) if code in line)}"


def told(error: JudgeError, use: str, code: str) -> None:
    assert line_of(use, code) in str(error) and "raised" in str(error)
    assert "secret" not in str(error)


def call(use: str) -> list:
    calls = Calls(Scoring(max_retries=0, call_timeout_s=20.0))
    try:
        judge = load_judge(use)
        calls.start(judge)
        try:
            return calls.submit(judge, [Case("s1", "secret finding", "b")]).result(20).scores
        finally:
            calls.close_judge(judge)
    finally:
        calls.close()


@pytest.mark.parametrize("place", ["make", "start", "score"])
def test_a_judge_that_leaves_is_named_with_file_and_line(write, leaves, place):
    use = write(place, leaves)
    with pytest.raises(JudgeError, match="mine") as raised:
        call(use)
    told(raised.value, use, leaves)


@pytest.mark.parametrize("how", sorted(set(LEAVES) - {"stop"}))  # which Python turns into RuntimeError in a coroutine
def test_an_async_judge_that_leaves_is_named_too(write, how):
    leaves = LEAVES[how]
    use = write("score", leaves, is_async=True)
    with pytest.raises(JudgeError, match="mine") as raised:
        call(use)
    told(raised.value, use, leaves)


def test_a_task_of_the_judges_own_that_exits_ends_its_call_and_not_the_loop(write):
    ends = "import asyncio, sys; return await asyncio.create_task(asyncio.to_thread(sys.exit, 3))"
    with pytest.raises(JudgeError, match="raised SystemExit"):
        call(write("score", ends, is_async=True))


def test_a_judge_that_cannot_be_closed_is_warned_about(write, leaves):
    use = write("close", leaves)
    with pytest.warns(UserWarning, match=r"close\(\) raised") as warned:
        assert [s.value for s in call(use)] == [1.0]
    assert line_of(use, leaves) in str([w.message for w in warned])


@pytest.mark.parametrize(
    ("kind", "how"), [("def", how) for how in LEAVES] + [("async def", how) for how in LEAVES if how != "stop"]
)
def test_a_reward_function_that_leaves_is_named_with_the_rows(tmp_path, kind, how):
    leaves = LEAVES[how]
    path = tmp_path / "mine.py"
    path.write_text(f"{kind} reward(completions, **columns):\n    {leaves}\n")
    with pytest.raises(JudgeError, match="'reward' raised.*'s1'") as raised:
        call(f"{path}:reward")
    told(raised.value, f"{path}:reward", leaves)
    with pytest.raises(JudgeError, match="'reward' raised"):
        score([("a b", "a")], f"{path}:reward")


@pytest.mark.parametrize("place", ["import", "make", "start", "score"])
@pytest.mark.parametrize("how", ["exit", "cancelled", "own"])
def test_the_command_line_refuses_and_does_not_end_well(write, tmp_path, monkeypatch, capsys, place, how):
    monkeypatch.chdir(tmp_path)
    use = write(place, LEAVES[how])
    if place == "import":
        Path("mine.py").write_text(f"{LEAVES[how]}\n")
    Path("pairs.jsonl").write_text(json.dumps({"reference": "Clear.", "candidate": "secret finding"}) + "\n")
    assert main(["score", "--judge", use, "--input", "pairs.jsonl", "--output", "scores.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "mine.py:" in said and "raised" in said and "Traceback" not in said
    assert not Path("scores.jsonl").exists()


def test_ctrl_c_in_a_users_code_stays_ctrl_c(write):
    with pytest.raises(KeyboardInterrupt):
        call(write("score", "raise KeyboardInterrupt"))


def test_ctrl_c_while_a_judge_is_made_stays_ctrl_c(write):
    with pytest.raises(KeyboardInterrupt):
        load_judge(write("make", "raise KeyboardInterrupt"))


@pytest.mark.parametrize(
    "broken",
    [
        "raise ConnectionRefusedError('secret finding')",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9', timeout=2)",
        "import httpx; httpx.get('http://127.0.0.1:9', trust_env=False)",
    ],
)
def test_a_connection_of_the_users_that_breaks_is_a_judge_out_of_reach(tmp_path, broken):
    """Asked again like any other; nobody is told to correct a function that is right."""
    path = tmp_path / "mine.py"
    path.write_text(f"def reward(completions, **columns):\n    {broken}\n")
    [found] = call(f"{path}:reward")
    assert found.status is Status.FAILED and "mine.py:2" in found.detail and "secret" not in found.detail
    [found] = score([("a b", "a")], f"{path}:reward")
    assert found.status is Status.FAILED


def test_a_server_that_answers_no_is_not_out_of_reach():
    import httpx

    def raised(status: int) -> Exception:
        request = httpx.Request("GET", "http://localhost")
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, request=request))

    assert [is_unreachable(raised(status)) for status in (400, 404, 429, 503)] == [False, False, True, True]
    assert not is_unreachable(ValueError()) and not is_unreachable(SystemExit(500))
