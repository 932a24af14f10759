"""The chart pages draw what is documented: every pattern finds a metric, and every promised curve has a chart."""

from __future__ import annotations

import re

import pytest

from judges.green.judge import GreenJudge
from judges.remote import HttpJudge
from online_rl.monitor.chart_pages import BAND, PAGES, pages, stacked_errors
from online_rl.pictures.error_plot import CATEGORIES
from tests.unit.test_docs import listed_metrics

DRAINING = [GreenJudge(url="http://localhost:1", cache=False), HttpJudge("http://localhost:1")]
PROMISED = {
    "Reward and length": (
        "train/reward",
        "train/raw_reward/j",
        "train/rewards/j/mean",  # after length control
        "train/verbosity/mean",
        "train/verbosity/vs_start",
        "train/completions/clipped_ratio",
        "train/verbosity/p10",
        "train/verbosity/p90",
    ),
    "Judge": (
        "train/time/judge_exposed",
        "train/judge/latency_p50",
        "train/judge/latency_p95",
        "train/judge/unscorable_rate",
        "train/judge/injection_hits",
        "train/judge/j/injection_hits",
        "train/judge/j/cache_hits",
        "train/canary/j/copy",
        *(f"stacked/j/{letter}_{name}" for letter, name in zip("abcdef", CATEGORIES, strict=True)),
    ),
    "Policy": (
        "train/kl",
        "train/entropy",
        "train/clip_ratio/low_mean",
        "train/clip_ratio/high_mean",
        "train/clip_ratio/region_mean",
        "train/sampling/sampling_logp_difference/mean",
        "train/grad_norm",
        "train/learning_rate",
    ),
    "Time": (
        "train/time/generate",
        "train/time/judge_exposed",
        "train/time/update",
        "train/time/sync",
        "train/perf/tokens_per_second",
    ),
}


def documented() -> set[str]:
    """The metrics of the tables in docs/watching.md, and the numbers that judges keep themselves, of a judge `j`."""
    own = {f"judge/j/{key}" for judge in DRAINING for key in judge.drain_metrics()}
    filled = {re.sub(r"<(judge|guard)>", "j", name) for name in listed_metrics()}
    parts = {name.replace("<part>", part) for name in filled for part in CATEGORIES}
    return {name.replace("<kind>", "copy") for name in parts} | own


def logged() -> set[str]:
    metrics = documented()
    return {f"{split}/{name}" for split in ("train", "eval") for name in metrics} | set(
        stacked_errors(dict.fromkeys(metrics, 1.0))
    )


def curves(chart) -> list[str]:
    """Patterns that match from the start of a tag, as the plugin does it."""
    kind, content = chart
    return [re.escape(tag) + "$" for series in content for tag in series] if kind == BAND else content


@pytest.mark.parametrize(("page", "title"), [(page, title) for page, charts in PAGES.items() for title in charts])
def test_every_curve_finds_a_documented_metric(page, title):
    tags = logged()
    idle = [curve for curve in curves(PAGES[page][title]) if not any(re.match(curve, tag) for tag in tags)]
    assert idle == []


@pytest.mark.parametrize("page", PROMISED)
def test_every_promised_curve_has_its_chart(page):
    assert logged() >= set(PROMISED[page])
    drawn = [curve for chart in pages(logged())[page].values() for curve in curves(chart)]
    assert [tag for tag in PROMISED[page] if not any(re.match(curve, tag) for curve in drawn)] == []


def test_the_charts_of_a_page_are_seen_at_once():
    """TensorBoard shows twelve of them; no run logs both what DPO and what GRPO does."""
    shown = pages({tag for tag in logged() if not re.search("/(chosen|rejected|accuracies|margins)$|/dpo/", tag)})
    assert max(len(charts) for charts in shown.values()) <= 12
