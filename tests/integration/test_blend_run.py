"""A run with a blended reward: a judge behind a real server, a gate on a guard, a length multiplier that adapts."""

from __future__ import annotations

import re
import sys

import pytest

from tests.integration.launch import Finished, records, started, train

pytestmark = pytest.mark.long

SERVED = """
def commas(completions, **columns):
    return [min(1.0, text.count(",") / 3) for text in completions]
"""


@pytest.fixture(scope="module")
def blend(work, small, own_reward) -> tuple[Finished, Finished, str]:
    """Two steps, then a third in a launch of its own; and the server's log."""
    served = work / "served.py"
    served.write_text(SERVED)
    command = [sys.executable, "-m", "judges.serve", "--use", f"{served}:commas", "--port", "0"]
    own = f"{own_reward / 'long_words.py'}:long_words"
    with started(work / "serve", command, 0) as server:  # hardly does anything beside the run
        server.wait_until(lambda: "listening" in server.text("out"))
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", server.text("out"))
        band = "length_control: target_band, length_args: {low: 0.0, high: 0.1, rate: 1.0}"
        judges = [
            f"judges=[{{use: '{own}', {band}}}, {{use: http, args: {{url: '{url}', judge: commas}}, "
            "only_if: findings.false_finding <= 3}]",
            "guards=[{use: findings}]",
            "scoring.multi_objective_aggregation=normalize_then_sum",
            f"run.dir={work / 'blend.run'}",
            "train.max_steps=3",
        ]
        first = train(work / "blend", *small, *judges, "train.stop_after=2").ok(75)
        second = train(work / "blend.2", *small, *judges, "resume=auto").ok()
        server.process.terminate()
        server.process.wait(30)
        return first, second, server.text("out") + server.text("err")


def test_judge_guard_and_multiplier_are_in_every_step(blend):
    lines = records(blend[1].run_dir)
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert 0 <= line["rewards/http/mean"] <= 1 and 0 <= line["guards/findings/mean"] <= 1
        assert line["grad_norm"] > 0
        assert not any(name.startswith("rewards/findings") for name in line)


def test_the_multiplier_follows_verbosity_across_the_checkpoint(blend):
    lines = records(blend[1].run_dir)
    expected = 0.0
    for line in lines:
        assert line["judge/long_words/multiplier"] == pytest.approx(expected, abs=1e-6)
        expected = min(10.0, max(0.0, expected + line["verbosity/mean"] - 0.1))


def test_evaluations_have_the_guard_and_plain_rewards(blend):
    for line in records(blend[1].run_dir, evaluations=True):
        assert "guards/findings/mean" in line and line["reward"] > 0


def test_the_console_names_each_judge_s_code(blend):
    first, _, log = blend
    for name in ("long_words.py", "judges/remote.py", "judges/findings/judge.py"):
        assert re.search(rf"{re.escape(name)}, sha256 [0-9a-f]{{16}}", re.sub(r"\s*\n\s*", "", first.out)), name
    assert "HTTP 200" in log and "Traceback" not in log
