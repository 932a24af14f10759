"""A hundred steps hit by four faults are the steps of a run left alone: the short form of benchmarks/soak.py."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.cores import cores
from tests.integration.launch import ROOT, environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]


def test_a_hundred_steps_through_four_faults_are_the_steps_of_a_run_left_alone(work):
    runs, found = work / "soak", work / "soak.json"
    runs.mkdir()
    command = [sys.executable, "benchmarks/soak.py", "--steps", "100", "--faults", "4"]
    with cores(2):
        done = subprocess.run(
            [*command, "--runs", str(runs), "--json", str(found)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=1400,
        )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    result = json.loads(found.read_text())
    codes = [(fault["fault"], fault["exit_code"]) for fault in result["faults"]]
    assert codes == [("SIGTERM", 75), ("a stopped rank", None), ("SIGKILL", -9), ("a full disk", 2)]
    same = result["same"]
    assert same["first_difference"] is None and same["policies"][0] == same["policies"][1]
    ours, theirs = same["accounts"]
    assert ours == theirs and ours["not scorable"] > 0 and ours["failed"] > 0 and ours["studies set aside"] > 0
    assert ours["sampled"] == ours["scored"] + ours["not scorable"] + ours["failed"]
    assert ours["sampled"] + 4 * ours["studies set aside"] == 100 * 16
