"""What a run leaves behind: event files, metrics.jsonl, and the fact that it went on when they could not be written."""

import json
import math
import os
import re
from itertools import pairwise

import numpy
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2

from online_rl.config import config_from_dict
from online_rl.monitor import Monitor
from online_rl.monitor.hparams import final_metrics, hyperparameters


def open_monitor(run_dir, max_steps=10, tensorboard=True, **more) -> Monitor:
    return Monitor(run_dir, max_steps, enabled=True, tensorboard=tensorboard, **more)


def events(run_dir) -> EventAccumulator:
    accumulator = EventAccumulator(
        str(run_dir / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
    )
    return accumulator.Reload()


def scalars(run_dir, tag) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run_dir).Scalars(tag)]


def sample(study, image, **more) -> dict:
    texts = {"indication": "Cough.", "reference": "Small effusion.", "candidate": "Clear lungs."}
    return {"study_id": study, "image": image, "reward": 0.5, "verbosity": 1.0, "scores": {}, **texts, **more}


def text_of(accumulator, tag, index=0) -> str:
    return accumulator.Tensors(f"{tag}/text_summary")[index].tensor_proto.string_val[0].decode()


def lines(run_dir) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


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
        "judge/unscorable_rate": 0.12,
        "frac_reward_zero_std": 0.9,
    }
    at_the_limit = {
        "verbosity/mean": 1.4,
        "completions/clipped_ratio": 0.2,
        "sampling/sampling_logp_difference/mean": 0.1,
        "judge/unscorable_rate": 0.1,
        "frac_reward_zero_std": 0.8,
    }
    monitor = open_monitor(tmp_path, tensorboard=False)
    monitor.log(1, at_the_limit)
    monitor.log(1, {name: math.nan for name in bad})
    assert "hint" not in capsys.readouterr().out
    monitor.log(2, bad)
    monitor.log(3, {**bad, "verbosity/mean": 1.6})
    monitor.log(4, {"verbosity/mean": 0.5})
    monitor.close()

    hints = [line for line in capsys.readouterr().out.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 6
    for number in ("1.50", "31%", "0.200", "12%", "90%", "0.50"):
        assert any(number in hint for hint in hints), number


def test_the_best_and_worst_report_stand_beside_image_and_reference_and_survive_odd_text(tmp_path, capsys):
    monitor = open_monitor(tmp_path)
    odd = "clear lungs \ud800 \u200f\N{GRINNING FACE}\x00"
    xray = Image.new("L", (64, 48), 128)
    worst = sample(
        "b",
        xray,
        candidate="",
        scores={"findings": {"value": 0.1, "missing_finding": 2, "false_comparison": 1, "wrong_location": 0}},
    )
    monitor.log_best_and_worst(3, {"best": sample("a", xray, candidate=odd), "worst": worst})
    monitor.log_config("run:\n  seed: 3")
    monitor.close()

    shown = events(tmp_path)
    (card,) = shown.Images("samples/best_of_step")
    assert card.step == 3 and card.width > 300 + 2 * 300  # X-ray, reference report, sampled report
    assert "clear lungs" in text_of(shown, "samples/best_of_step") and "Small effusion." in text_of(
        shown, "samples/best_of_step"
    )
    assert "missing finding x 2, false comparison)" in text_of(
        shown, "samples/worst_of_step"
    )  # what a judge did not count is not listed
    assert "seed: 3" in text_of(shown, "config")
    assert "warning" not in capsys.readouterr().out


def test_an_evaluation_shows_its_first_studies_before_training_and_now(tmp_path):
    Image.new("L", (64, 48), 128).save(tmp_path / "x.png")
    monitor = open_monitor(tmp_path)
    monitor.log_samples(0, [sample(f"s{i}", "x.png", reward=0.25 if i else None) for i in range(9)])
    monitor.log_samples(5, [sample(f"s{i}", "x.png", candidate="Effusion, left.") for i in range(9)])
    monitor.close()

    shown = events(tmp_path)
    assert sorted(shown.Tags()["images"]) == ["samples/s0", "samples/s1", "samples/s2", "samples/s3"]
    before, now = shown.Images("samples/s1")
    assert (before.step, now.step) == (0, 5) and now.width > before.width  # one report more
    assert "unscorable" in text_of(shown, "samples/s0") and "0.25" in text_of(shown, "samples/s1")
    last = text_of(shown, "samples/s1", 1)
    for words in ("Small effusion.", "Before training", "Clear lungs.", "Step 5", "Effusion, left."):
        assert words in last


def test_a_resumed_run_still_shows_what_was_written_before_training(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "before.jsonl").write_text(json.dumps(sample("s", "gone.png", candidate="As it was.")))
    monitor = open_monitor(tmp_path, start_step=3)
    monitor.log_samples(4, [sample("s", "gone.png"), sample("unseen", "gone.png")])
    monitor.close()
    shown = events(tmp_path)
    assert "As it was." in text_of(shown, "samples/s")
    assert "Before training" not in text_of(shown, "samples/unseen")


def test_verbosity_against_the_starting_policy_goes_on_over_a_resume(tmp_path):
    monitor = open_monitor(tmp_path)
    monitor.log_eval(0, {"completions/mean_words": 50.0})
    monitor.log(1, {"verbosity/mean": 1.25})
    monitor.log(2, {"verbosity/mean": 1.0})
    monitor.close()
    monitor = open_monitor(tmp_path, start_step=2)
    monitor.log(3, {"verbosity/mean": 0.75})
    monitor.log_eval(3, {"completions/mean_words": 40.0})
    monitor.log_eval(3, {"completions/mean_words": 40.0}, split="other")  # not measured at the start
    monitor.close()

    assert dict(scalars(tmp_path, "train/verbosity/vs_start")) == pytest.approx({1: 1.0, 2: 0.8, 3: 0.6})
    assert dict(scalars(tmp_path, "eval/verbosity/vs_start")) == pytest.approx({0: 1.0, 3: 0.8})
    assert "other/verbosity/vs_start" not in events(tmp_path).Tags()["scalars"]


def test_each_tag_holds_one_kind_of_data(tmp_path):
    """TensorBoard's data server drops a tag that holds two: reward curves have been lost to a histogram like that."""
    monitor = open_monitor(tmp_path)
    monitor.log_eval(0, {"reward": 0.5})
    monitor.log(1, {"reward": 0.5, "verbosity/mean": 1.0, "judge/findings/missing_finding": 1.0})
    monitor.log_eval(1, {"reward": 0.5})  # draws the errors
    monitor.log_histograms(1, {"reward": [0.1, 0.5], "verbosity": [1.0]})
    monitor.log_samples(0, [sample("s", Image.new("L", (8, 8)))])
    monitor.log_best_and_worst(1, {"best": sample("s", Image.new("L", (8, 8)))})
    monitor.log_config("run: {}")
    monitor.log_hparams({"run.seed": 0}, ["eval/reward"])
    monitor.close()

    kinds: dict[str, set[str]] = {}
    (path,) = (tmp_path / "tensorboard").iterdir()
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            kinds.setdefault(value.tag, set()).add(value.metadata.plugin_data.plugin_name or value.WhichOneof("value"))
    assert {"train/reward", "distribution/reward", "errors", "config/text_summary"} <= kinds.keys()
    assert {tag: found for tag, found in kinds.items() if len(found) > 1} == {}


def test_the_settings_stand_in_hparams_beside_the_final_metrics(tmp_path):
    from tensorboard.plugins.hparams import plugin_data_pb2

    cfg = config_from_dict({"judges": [{"use": "findings", "length_control": "lc_green"}]})
    monitor = open_monitor(tmp_path)
    monitor.log_hparams(hyperparameters(cfg), final_metrics(cfg))
    monitor.close()
    metadata = events(tmp_path).SummaryMetadata
    start = plugin_data_pb2.HParamsPluginData.FromString(
        metadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info.hparams
    assert start["train.learning_rate"].number_value == cfg.train.learning_rate
    assert start["judges"].string_value == "1 findings (lc_green)"
    experiment = plugin_data_pb2.HParamsPluginData.FromString(
        metadata("_hparams_/experiment").plugin_data.content
    ).experiment
    assert start["algorithm.grpo.kl_coef"].number_value == 0.0 and "algorithm.online_dpo.beta" not in start
    shown = [info.name.tag for info in experiment.metric_infos]
    assert shown[:3] == ["eval/reward", "eval/raw_reward/findings", "eval/verbosity/mean"]


def chart_pages(run_dir) -> dict[str, dict[str, list]]:
    """Page -> chart -> its patterns, or its bands (value, lower, upper); as TensorBoard reads them: the newest."""
    event = events(run_dir).Tensors("custom_scalars__config__")[-1]
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {
        page.title: {
            chart.title: list(chart.multiline.tag) or [(s.value, s.lower, s.upper) for s in chart.margin.series]
            for chart in page.chart
        }
        for page in layout.category
    }


def test_the_chart_pages_find_the_tags_that_are_written(tmp_path):
    monitor = open_monitor(tmp_path)
    monitor.log_eval(0, {"reward": 0.5})
    step = {"reward": 0.5, "reward_std": 0.1, "rewards/green/mean": 0.4, "verbosity/mean": 1.0, "kl": 0.1}
    monitor.log(1, {**step, "time/generate": 1.0, "judge/green/injection_hits": 0.0})
    monitor.close()
    pages = chart_pages(tmp_path)

    assert list(pages) == ["Reward and length", "Judge", "Policy", "Time"]
    tags = events(tmp_path).Tags()["scalars"]

    def drawn(page, chart):  # the plugin uses re.match
        return {tag for tag in tags if any(re.match(pattern, tag) for pattern in pages[page][chart])}

    assert drawn("Reward and length", "Reward in training") == {"train/reward"}  # and not reward_std, rewards/...
    scores = drawn("Reward and length", "Length-controlled score in training, by judge")
    assert scores == {"train/rewards/green/mean"}
    assert drawn("Time", "Generate (s)") == {"train/time/generate"}
    assert not any("DPO" in chart for chart in pages["Policy"])  # nothing of it was logged


def test_a_chart_comes_with_its_first_number_and_stays_over_a_resume(tmp_path):
    canaries = "Canaries (reports whose order is known; nothing may beat copy)"
    monitor = open_monitor(tmp_path)
    monitor.log(1, {"judge/retries": 0.0})
    monitor.close()
    assert canaries not in chart_pages(tmp_path)["Judge"]
    monitor = open_monitor(tmp_path, start_step=1)
    monitor.log(2, {"judge/retries": 0.0, "canary/green/copy": 1.0})
    monitor.close()
    assert canaries in chart_pages(tmp_path)["Judge"]
    monitor = open_monitor(tmp_path, start_step=2)
    monitor.log(3, {"judge/retries": 0.0})
    monitor.close()
    assert canaries in chart_pages(tmp_path)["Judge"]


def test_errors_are_stacked_from_a_to_f(tmp_path):
    monitor = open_monitor(tmp_path)
    monitor.log(1, {"judge/j/missing_finding": 0.5, "judge/j/false_finding": 0.25, "judge/j/omitted_comparison": 1.0})
    monitor.close()
    edges = [
        "stacked/zero",
        "stacked/j/a_false_finding",
        "stacked/j/b_missing_finding",
        "stacked/j/f_omitted_comparison",
    ]
    assert [scalars(tmp_path, edge) for edge in edges] == [[(1, 0.0)], [(1, 0.25)], [(1, 0.75)], [(1, 1.75)]]
    bands = chart_pages(tmp_path)["Judge"]["Errors per report, stacked (a) to (f): judge j"]
    assert bands == [(upper, lower, upper) for lower, upper in pairwise(edges)]


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
