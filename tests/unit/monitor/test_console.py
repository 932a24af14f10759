"""What the console says: the greppable line, and the live display at several widths."""

import io
import math
import re
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from online_rl.monitor.console import LineDisplay, LiveDisplay, open_display, sparkline
from online_rl.monitor.summary import Eta, duration, step_line, time_split

METRICS = {
    "reward": 0.412,
    "verbosity/mean": 0.98,
    "completions/mean_length": 51.2,
    "kl": 0.0012,
    "learning_rate": 1e-4,
    "step_time": 3.21,
    "time/generate": 3.21 * 0.41,
    "time/judge": 3.21 * 0.30,  # most of it beside generation
    "time/judge_exposed": 3.21 * 0.02,
    "time/update": 3.21 * 0.54,
    "time/sync": 3.21 * 0.03,
}


def test_the_line_of_a_step():
    assert step_line(12, 80, METRICS, 220.0) == (
        "step 12/80  reward 0.412  verbosity 0.98  length 51.2  kl 0.0012  lr 1.0e-04  step_time 3.21s  "
        "(generate 41% judge 2% update 54% sync 3%)  eta 3m40s"
    )


def test_the_line_leaves_out_what_is_not_there_and_shows_nan():
    assert step_line(1, 2, {"reward": math.nan}, None) == "step 1/2  reward nan"


def test_time_that_no_part_accounts_for_is_shown_as_other():
    split = time_split({"time/generate": 1.0, "time/update": 2.0, "step_time": 4.0})
    assert split == {"generate": 0.25, "update": 0.5, "other": 0.25}
    assert time_split({"reward": 1.0}) == {}
    assert time_split({"time/generate": math.nan, "step_time": 1.0}) == {}
    assert time_split({"time/generate": 1.0, "time/update": 1.0, "step_time": 0.5}) == {"generate": 0.5, "update": 0.5}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.6, "1m00s"), (220, "3m40s"), (7500, "2h05m"), (97200, "1d03h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_eta_follows_the_recent_steps():
    eta = Eta(max_steps=100)
    assert eta.update(1, math.nan) is None
    for step in range(2, 30):
        eta.update(step, 100.0)
    for step in range(30, 50):
        left = eta.update(step, 2.0)
    assert left == pytest.approx((100 - 49) * 2.0)


def test_a_pipe_gets_lines_and_never_control_characters(capsys):
    display = open_display(80, 0, "demo [grpo]")
    assert isinstance(display, LineDisplay)
    display.enter("generating")
    display.step(1, METRICS)
    display.leave()
    display.evaluation(0, {"reward": 0.3}, "eval")
    display.close()
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line.split("  ")[0] for line in out.splitlines()] == ["demo [grpo]", "step 1/80", "eval at step 0"]


def test_an_ascii_terminal_does_not_stop_the_run(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    LineDisplay(3, "démo · grpo").message("done")
    assert raw.getvalue() == b"d?mo ? grpo\ndone\n"


@pytest.mark.parametrize("width", [20, 40, 72, 120])
def test_the_live_display_fits_the_terminal_and_shows_the_step(width):
    display = LiveDisplay(Console(file=io.StringIO(), force_terminal=True, width=width), 80, 0, "demo policy · grpo")
    try:
        for step in range(1, 13):
            display.step(step, {**METRICS, "reward": step / 30, "raw_reward": 0.5, "grad_norm": 0.8})
        display.enter("generating")
        page = Console(file=io.StringIO(), width=width)
        page.print(display._view)
    finally:
        display.close()
    text = page.file.getvalue()
    assert all(cell_len(line) <= width for line in text.splitlines())
    if width >= 40:
        assert "step 12/80" in text and "generating" in text
        for label, value in [("reward", "0.400"), ("raw", "0.500"), ("verbosity", "0.98"), ("grad norm", "0.80")]:
            assert re.search(rf"{label}\s+{value}", text), label
        assert "generate\xa041%" in text


def test_the_live_display_prints_messages_as_they_are_and_stops_clean():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = LiveDisplay(console, 3, 0, "t")
    display.message("warning: judges[0].args[/red] is odd")
    display.close()
    out = console.file.getvalue()
    assert "judges[0].args[/red] is odd" in out
    assert out.rfind("\x1b[?25h") > out.rfind("\x1b[?25l")  # the cursor is visible again


def test_sparkline():
    assert sparkline((0.0, 1.0), 10) == "▁█"
    assert sparkline((2.0, 2.0, 2.0), 10) == "▄▄▄"
    assert len(sparkline(tuple(range(1000)), 12)) == 12
    assert sparkline((1.0,), 10) == "" and sparkline((1.0, 2.0), 0) == ""
