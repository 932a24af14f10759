"""What compilers and progress bars print stays off the console, unless they fail or --debug was given."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os, subprocess, sys
from online_rl.ranks.quiet import quiet_output
print("before")
try:
    with quiet_output():
        print("Time to load shm_comm op: 9 seconds")
        print("Building extension module", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "print('[1/2] c++ -O3')"])
        FAIL
except RuntimeError:
    print("failed")
print("after")
"""


def run(fails: bool, **environment: str) -> subprocess.CompletedProcess[str]:
    code = CODE.replace("FAIL", "raise RuntimeError" if fails else "pass")
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )


def test_nothing_is_shown_where_all_goes_well():
    done = run(fails=False)
    assert done.stdout.split() == ["before", "after"] and done.stderr == ""


def test_a_failure_shows_all_of_it():
    done = run(fails=True)
    assert done.stdout.split() == ["before", "failed", "after"]
    assert all(words in done.stderr for words in ("Time to load", "Building extension", "c++ -O3"))


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_debug_holds_nothing_back(value, shown):
    done = run(fails=False, ONLINE_RL_DEBUG=value)
    assert ("c++ -O3" in done.stdout) is shown and ("Building extension" in done.stderr) is shown
