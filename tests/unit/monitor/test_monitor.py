"""What a run leaves behind: event files, metrics.jsonl, and the fact that it went on when they could not be written."""

import json
import math
import os

import numpy
import pytest
from PIL import Image

from online_rl.monitor import Monitor
from tests.unit.monitor.reading import events, lines, open_monitor, sample, scalars


def test_metrics_reach_tensorboard_and_the_jsonl_file(tmp_path):
    monitor = open_monitor(tmp_path)
    monitor.log_eval(0, {"reward": 0.25})
    monitor.log(1, {"reward": 0.5, "rewards/green/mean": 0.75})
    seen_while_running = scalars(tmp_path, "train/reward")
    monitor.log(2, {"reward": 1.0})
    monitor.close()

    assert seen_while_running == [(1, 0.5)]  # a step is on disk when `log` returns
    assert scalars(tmp_path, "train/reward") == [(1, 0.5), (2, 1.0)]
    assert scalars(tmp_path, "train/rewards/green/mean") == [(1, 0.75)]
    assert scalars(tmp_path, "eval/reward") == [(0, 0.25)]
    first, second, third = lines(tmp_path)
    assert first["eval"] is True and first["step"] == 0 and first["reward"] == 0.25
    assert second["step"] == 1 and second["rewards/green/mean"] == 0.75 and "eval" not in second
    assert third["time"] >= second["time"] > 1e9


def test_not_finite_is_nan_in_tensorboard_and_null_in_json(tmp_path):
    monitor = open_monitor(tmp_path)
    monitor.log(1, {"reward": math.nan, "kl": math.inf, "loss": None, "length": numpy.float32(2.5)})
    monitor.log_histograms(1, {"rewards": [0.1, math.nan, 0.3], "nothing": [], "only_nan": [math.nan]})
    monitor.close()

    assert math.isnan(scalars(tmp_path, "train/reward")[0][1])
    assert scalars(tmp_path, "train/kl") == [(1, math.inf)]
    (record,) = lines(tmp_path)  # strict JSON: json.loads takes NaN, so look at the text too
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text() and "Infinity" not in json.dumps(record)
    assert record["reward"] is None and record["kl"] is None and record["loss"] is None and record["length"] == 2.5
    (histogram,) = events(tmp_path).Histograms("distribution/rewards")
    assert histogram.histogram_value.num == 2


def test_a_resumed_run_has_no_gap_and_no_overlap(tmp_path):
    """4 steps, killed in the 4th's line after a checkpoint at step 2, then on to 6: the same axis as one run of 6."""
    monitor = open_monitor(tmp_path, 6)
    monitor.log_eval(0, {"reward": -1.0})
    for step in range(1, 5):
        monitor.log(step, {"reward": float(step)})
    monitor.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "rew')

    monitor = open_monitor(tmp_path, 6, start_step=2)
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2]
    for step in range(3, 7):
        monitor.log(step, {"reward": step + 0.5})
    monitor.close()

    expected = [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5), (5, 5.5), (6, 6.5)]
    assert scalars(tmp_path, "train/reward") == expected
    assert [(line["step"], line["reward"]) for line in lines(tmp_path)] == [(0, -1.0), *expected]
    assert scalars(tmp_path, "eval/reward") == [(0, -1.0)]
    assert sorted(os.listdir(tmp_path)) == ["metrics.jsonl", "tensorboard"]  # no temporary file is left


def test_a_fresh_run_in_a_used_folder_does_not_mix_with_the_old_one(tmp_path):
    for rewards in ([9.0, 9.0, 9.0], [1.0, 2.0]):
        monitor = open_monitor(tmp_path)
        for step, reward in enumerate(rewards, start=1):
            monitor.log(step, {"reward": reward})
        monitor.close()

    assert scalars(tmp_path, "train/reward") == [(1, 1.0), (2, 2.0)]
    assert [line["reward"] for line in lines(tmp_path)] == [1.0, 2.0]
    assert len((tmp_path / "metrics.jsonl.previous").read_text().splitlines()) == 3


def test_unwritable_tensorboard_folder_is_one_warning_and_training_goes_on(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    monitor = open_monitor(tmp_path)
    for step in (1, 2, 3):
        monitor.log(step, {"reward": 0.1})
    monitor.log_text(1, "note", "text")
    monitor.close()

    out = capsys.readouterr().out
    assert out.count("warning: TensorBoard cannot be written") == 1 and "Training goes on" in out
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_unwritable_metrics_file_is_one_warning_and_tensorboard_goes_on(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").mkdir()
    monitor = open_monitor(tmp_path)
    for step in (1, 2):
        monitor.log(step, {"reward": 0.5})
    monitor.close()

    assert capsys.readouterr().out.count("warning: metrics.jsonl cannot be written") == 1
    assert scalars(tmp_path, "train/reward") == [(1, 0.5), (2, 0.5)]


def test_a_full_disk_while_running_costs_lines_and_not_the_run(tmp_path, capsys):
    """/dev/full takes an open and fails each write; afterwards the file is whole again."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full (Linux)")
    monitor = open_monitor(tmp_path, tensorboard=False)
    monitor.log(1, {"reward": 0.1})
    metrics = tmp_path / "metrics.jsonl"
    metrics.rename(tmp_path / "kept")
    metrics.symlink_to("/dev/full")
    monitor.log(2, {"reward": 0.2})
    monitor.log(3, {"reward": 0.3})
    metrics.unlink()
    (tmp_path / "kept").rename(metrics)
    metrics.write_text(metrics.read_text() + '{"step": 3, "re')  # what a full disk leaves behind
    monitor.log(4, {"reward": 0.4})
    monitor.close()

    assert capsys.readouterr().out.count("warning: metrics.jsonl cannot be written") == 1
    from online_rl.monitor.records import read_records

    assert [record["step"] for record in read_records(metrics)] == [1, 4]


def test_a_metric_that_is_no_number_is_named_and_left_out(tmp_path, capsys):
    monitor = open_monitor(tmp_path)
    monitor.log(1, {"reward": 0.5, "note": "high"})
    monitor.log(2, {"reward": 0.5, "note": "high"})
    monitor.close()

    assert capsys.readouterr().out.count("metric 'note' is a str") == 1
    assert "note" not in lines(tmp_path)[0]


def test_other_ranks_write_nothing(tmp_path, capsys):
    monitor = Monitor(tmp_path / "run", 5, enabled=False, tensorboard=True)
    with monitor.phase("generating"):
        monitor.log(1, {"reward": 0.5, "verbosity/mean": 9.0})
    monitor.log_eval(1, {"reward": 0.5})
    monitor.log_config("run: {}")
    monitor.log_histograms(1, {"rewards": [0.5]})
    monitor.log_hparams({"train.learning_rate": 1e-4}, ["eval/reward"])
    monitor.log_samples(0, [sample("s", Image.new("L", (8, 8)))])
    monitor.log_best_and_worst(1, {"best": sample("s", Image.new("L", (8, 8)))})
    monitor.warn("nobody reads this")
    monitor.close()

    assert not (tmp_path / "run").exists() and capsys.readouterr().out == ""


def test_each_warning_is_shown_once(tmp_path, capsys):
    monitor = open_monitor(tmp_path, tensorboard=False)
    for message in ("one", "two", "one", "one"):
        monitor.warn(message)
    monitor.close()
    assert capsys.readouterr().out.splitlines() == ["warning: one", "warning: two"]


def test_health_hints_come_once_per_kind_and_name_the_number(tmp_path, capsys):
    bad = {
        "verbosity/mean": 1.5,
        "completions/clipped_ratio": 0.31,
        "sampling/sampling_logp_difference/mean": 0.2,
        "sampling/masked_fraction": 0.75,
        "judge/unscorable_rate": 0.12,
        "frac_reward_zero_std": 0.9,
    }
    at_the_limit = {
        "verbosity/mean": 1.4,
        "completions/clipped_ratio": 0.2,
        "sampling/sampling_logp_difference/mean": 0.1,
        "sampling/masked_fraction": 0.5,
        "judge/unscorable_rate": 0.1,
        "frac_reward_zero_std": 0.8,
    }
    monitor = open_monitor(tmp_path, tensorboard=False)
    monitor.log(1, at_the_limit)
    monitor.log(1, {"verbosity/mean": 0.6})
    monitor.log(1, {name: math.nan for name in bad})
    assert "hint" not in capsys.readouterr().out
    monitor.log(2, bad)
    monitor.log(3, {**bad, "verbosity/mean": 1.6})
    monitor.log(4, {"verbosity/mean": 0.59})
    monitor.close()

    hints = [line for line in capsys.readouterr().out.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 7
    for number in ("1.50", "31%", "0.200", "75% of the tokens are masked", "12%", "90%", "0.59"):
        assert any(number in hint for hint in hints), number


def test_nothing_is_left_open_by_many_steps(tmp_path):
    monitor = open_monitor(tmp_path, 400)
    monitor.log(1, {"reward": 0.1})
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for step in range(2, 200):
        with monitor.phase("generating"):
            monitor.log(step, {"reward": 0.1})
    after = len(os.listdir("/proc/self/fd")) if before else 0
    monitor.close()
    monitor.close()  # again does nothing
    assert after <= before
