"""Traces of steps: written per rank with the phases' names, summed up, and never worth a run."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest
import torch

from online_rl.config import config_from_dict
from online_rl.monitor import Monitor
from online_rl.monitor.profile import largest
from online_rl.train import main


@pytest.fixture
def make_monitor(tmp_path):
    def make(folder="run"):
        monitor = Monitor(tmp_path / folder, 4, enabled=True, tensorboard=False)
        monitor.profile = [2]
        return monitor

    return make


def work(monitor, number):
    with monitor.step(number) as step:
        with step.phase("sampling and scoring"):
            torch.ones(64, 64) @ torch.ones(64, 64)
        with step.phase("updating"):
            torch.ones(8).exp()


def test_the_steps_that_are_named_are_traced_with_their_phases(make_monitor, tmp_path, capsys):
    monitor = make_monitor()
    for number in (1, 2, 3):
        work(monitor, number)
    monitor.close()
    [file] = (tmp_path / "run" / "profile").iterdir()
    assert file.name == "step-2.rank-0.pt.trace.json.gz"
    names = [event.get("name") for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]]
    assert {"sampling and scoring", "updating", "aten::mm", "aten::exp"} <= set(names)
    printed = capsys.readouterr().out
    assert "largest entries of" in printed and "aten::mm" in printed and str(file.parent) in printed


def test_a_trace_that_cannot_be_written_costs_a_warning(make_monitor, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "profile").write_text("a file where the folder should be")
    monitor = make_monitor()
    work(monitor, 2)
    work(monitor, 3)
    monitor.close()
    assert "warning" in "".join(capsys.readouterr())


def test_a_step_that_fails_says_why(make_monitor):
    monitor = make_monitor()
    with pytest.raises(ZeroDivisionError), monitor.step(2):
        _ = 1 / 0


def test_the_largest_entries_come_first_with_their_share():
    entries = [
        SimpleNamespace(key=f"op{i}", count=i, self_cpu_time_total=1e6 * i, self_device_time_total=1e6 * (20 - i))
        for i in range(1, 13)
    ]
    on_cpu = largest(entries, on_gpu=False).splitlines()
    assert on_cpu[0] == "the 10 largest entries of 78.00 s on the CPU, each without what it calls:"
    assert on_cpu[1].split() == ["12.000", "s", "15.4%", "12", "x", "op12"] and len(on_cpu) == 11
    assert largest(entries, on_gpu=True).splitlines()[1].split()[0] == "19.000"


def test_the_command_line_names_steps_by_commas(monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr("online_rl.train.end_on_signals", lambda: None)
    monkeypatch.setattr("online_rl.train.watch_ancestors", lambda: None)
    monkeypatch.setattr("sys.argv", ["train", "--config", "x.yaml", "--profile", "3,8", "run.seed=1"])
    assert main(lambda config, overrides: seen.update(overrides=list(overrides)) or 0) == 0
    assert seen["overrides"] == ["run.seed=1", "debug.profile=[3, 8]"]
    monkeypatch.setattr("sys.argv", ["train", "--config", "x.yaml", "--profile", "all"])
    with pytest.raises(SystemExit):
        main()
    assert "--profile: invalid" in capsys.readouterr().err


def test_steps_count_from_one():
    from online_rl.errors import ConfigError

    with pytest.raises(ConfigError, match=r"debug.profile"):
        config_from_dict({"debug": {"profile": [0]}})
