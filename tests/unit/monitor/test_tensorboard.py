"""What TensorBoard shows of a run: samples, hyperparameters, chart pages; one kind of data per tag."""

import json
import re
from itertools import pairwise

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer import event_file_writer

from online_rl.config import config_from_dict
from online_rl.monitor.hparams import final_metrics, hyperparameters
from tests.unit.monitor.reading import chart_pages, events, open_monitor, sample, scalars, text_of


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
    assert start["algorithm.grpo.kl_coef"].number_value == 0.0 and "algorithm.preference.beta" not in start
    shown = [info.name.tag for info in experiment.metric_infos]
    truth = ["eval/findings/f1", "eval/findings/recall", "eval/diversity/distinct"]
    assert shown[:6] == ["eval/reward", "eval/raw_reward/findings", *truth, "eval/verbosity/mean"]


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


def test_a_chart_comes_with_its_first_number_and_stays_over_a_resume(tmp_path, monkeypatch):
    # Files of one second are read in the order of their names, which a counter ends; 10 would come before 9.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(100))
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
