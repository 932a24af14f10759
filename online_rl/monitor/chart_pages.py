"""The pages of TensorBoard's *Custom Scalars* tab: which tags are drawn together, under which title.

A chart is on its page once one of its tags has been logged, so a GRPO run shows no empty DPO charts. The plugin
matches patterns from the start of a tag, hence ^ and $.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from online_rl.pictures.error_plot import CATEGORIES, is_error

LINES, BAND = "lines", "band"  # a line for each tag that matches; or (value, lower edge, upper edge)
Series = tuple[str, str, str]


def _bare(tag: str) -> Series:
    """A band of no width: TensorBoard smooths lines and not bands, and over a few evaluations smoothing misleads."""
    return (tag, tag, tag)


# TensorBoard draws all curves of a run in one colour, hence one curve per chart wherever the count is known. It pages
# after twelve charts, and puts bands behind lines.
PAGES: dict[str, dict[str, tuple[str, list[Any]]]] = {
    "Truth": {
        "F1 of present findings against the references (1 = all right, none false)": (
            BAND,
            [_bare("eval/findings/f1")],
        ),
        "F1 of present findings against the drawn labels (demo)": (BAND, [_bare("eval/labels/f1")]),
        "Recall: share of the findings that the reports name": (BAND, [_bare("eval/findings/recall")]),
        "Precision: share of the named findings that are there": (BAND, [_bare("eval/findings/precision")]),
        "Silent reports, of studies with a finding (near 1 = collapse)": (
            BAND,
            [_bare("eval/findings/silent_on_abnormal")],
        ),
        "Distinct reports (near 0 = one report for everybody)": (BAND, [_bare("eval/diversity/distinct")]),
        "Share of the most frequent report": (BAND, [_bare("eval/diversity/largest_cluster")]),
        "F1 gained by the right image over another patient's (band: 95 %)": (
            BAND,
            [("eval/image/gain_f1", "eval/image/gain_f1_low", "eval/image/gain_f1_high")],
        ),
        "Alarms (1 = has rung)": (LINES, ["^eval/alarms/.*$"]),
    },
    "Supervised stage": {
        "Loss in training (nats per token of the reference reports)": (LINES, ["^train/loss$"]),
        "Share of tokens that are the most likely one, in training": (LINES, ["^train/mean_token_accuracy$"]),
        "Loss on held-out studies": (BAND, [_bare("eval/loss")]),
        "Perplexity on held-out studies": (BAND, [_bare("eval/perplexity")]),
        "Share of tokens that are the most likely one, on held-out studies": (
            BAND,
            [_bare("eval/mean_token_accuracy")],
        ),
        "Epoch": (LINES, ["^train/epoch$"]),
    },
    "Reward and length": {
        "Reward in training": (LINES, ["^train/reward$"]),
        "Reward in evaluation (greedy reports, held-out studies)": (BAND, [_bare("eval/reward")]),
        "Raw score in training (before length control)": (LINES, ["^train/raw_reward/[^/]+$"]),
        "Length-controlled score in training, by judge": (LINES, ["^train/rewards/[^/]+/mean$"]),
        "Guards in training (judges that are not rewarded)": (LINES, ["^train/guards/[^/]+/mean$"]),
        "Verbosity against the starting policy, in training": (LINES, ["^train/verbosity/vs_start$"]),
        "Verbosity against the starting policy, in evaluation": (BAND, [_bare("eval/verbosity/vs_start")]),
        "Clipped ratio (share cut at the token limit)": (LINES, ["^train/completions/clipped_ratio$"]),
        "Spread of rewards within a group": (LINES, ["^train/reward_std$"]),
        "Verbosity against the reference report, in training (band: 80 % of the reports)": (
            BAND,
            [("train/verbosity/mean", "train/verbosity/p10", "train/verbosity/p90")],
        ),
        "Verbosity against the reference report, in evaluation (band: 80 %)": (
            BAND,
            [("eval/verbosity/mean", "eval/verbosity/p10", "eval/verbosity/p90")],
        ),
        "Completion length in training, tokens (band: shortest to longest)": (
            BAND,
            [("train/completions/mean_length", "train/completions/min_length", "train/completions/max_length")],
        ),
    },
    "Judge": {
        "Judge time that training waited for (s)": (LINES, ["^train/time/judge_exposed$"]),
        "Latency of a judge call (s): half, and 95 of 100, are faster": (LINES, ["^train/judge/latency_p(50|95)$"]),
        "Unscorable share": (LINES, ["^train/judge/unscorable_rate$"]),
        "Injection hits (places where reports speak as a judge or a user)": (LINES, ["^train/judge/injection_hits$"]),
        "Injection hits by judge, canaries included": (LINES, ["^train/judge/[^/]+/injection_hits$"]),
        "Cache hits (scores that were on disk)": (LINES, ["^train/judge/[^/]+/cache_hits$"]),
        "Duplicates (candidates scored with an equal one)": (LINES, ["^train/judge/[^/]+/duplicates_saved$"]),
        "Canaries (reports whose order is known; nothing may beat copy)": (LINES, ["^train/canary/.*$"]),
        "Calls repeated": (LINES, ["^train/judge/retries$"]),
        "Share of candidates that no call reached": (LINES, ["^train/judge/failed_rate$"]),
        "Judge calls in flight": (LINES, ["^train/judge/in_flight$"]),
    },
    "Policy": {
        "KL to the ref_model (nats per token)": (LINES, ["^train/kl$"]),
        "Entropy (nats per token)": (LINES, ["^train/entropy$"]),
        "Clip ratios (share of tokens)": (LINES, ["^train/clip_ratio/.*$"]),
        "Sampling difference, vLLM against trainer (nats per token)": (
            LINES,
            ["^train/sampling/sampling_logp_difference/mean$"],
        ),
        "Sampling difference of the worst token (nats)": (LINES, ["^train/sampling/sampling_logp_difference/max$"]),
        "Gradient norm (before clipping)": (LINES, ["^train/grad_norm$"]),
        "Learning rate": (LINES, ["^train/learning_rate$"]),
        "Share of groups without spread, which teach nothing": (LINES, ["^train/frac_reward_zero_std$"]),
        "Loss": (LINES, ["^train/loss$"]),
        "Effective sample size of the importance weights (1 = all)": (LINES, ["^train/sampling/ess_.*$"]),
        "DPO: implicit rewards": (LINES, ["^train/rewards/(chosen|rejected)$"]),
        "DPO: share of pairs ranked as the judge does": (LINES, ["^train/rewards/accuracies$"]),
        "DPO: margin": (LINES, ["^train/rewards/margins$"]),
        "DPO: pairs per group": (LINES, ["^train/dpo/pairs_per_group$"]),
    },
    "Time": {
        "Step time (s)": (LINES, ["^train/step_time$"]),
        "Generate (s)": (LINES, ["^train/time/generate$"]),
        "Judge, beyond generation (s)": (LINES, ["^train/time/judge_exposed$"]),
        "Update (s)": (LINES, ["^train/time/update$"]),
        "Sync of weights to vLLM (s)": (LINES, ["^train/time/sync$"]),
        "Waiting and the rest (s)": (LINES, ["^train/time/wait$"]),
        "Tokens per second": (LINES, ["^train/perf/tokens_per_second$"]),
        "Completions per second": (LINES, ["^train/perf/completions_per_second$"]),
        "Tokens so far": (LINES, ["^train/num_tokens$"]),
    },
}
FLOOR = "stacked/zero"  # the lower edge of the lowest band


def stacked_errors(metrics: dict[str, float]) -> dict[str, float]:
    """Upper edges of the bands of each judge's error categories, (a) lowest: `stacked/<judge>/a_false_finding`, ...

    TensorBoard stacks nothing by itself; each edge is the sum of its category and of those below.
    """
    edges: dict[str, float] = {}
    for judge in sorted({name.split("/")[1] for name in metrics if is_error(name)}):
        height = 0.0
        for letter, category in zip("abcdef", CATEGORIES, strict=True):
            if f"judge/{judge}/{category}" in metrics:
                height += metrics[f"judge/{judge}/{category}"]
                edges[f"stacked/{judge}/{letter}_{category}"] = height
    return {FLOOR: 0.0, **edges} if edges else {}


def pages(tags: Collection[str]) -> dict[str, dict[str, tuple[str, list[Any]]]]:
    """`PAGES` without the charts that none of `tags` is in, and with the stacked errors of the judges in `tags`."""
    wanted = {page: dict(charts) for page, charts in PAGES.items()}
    if "train/mean_token_accuracy" not in tags:  # an online run has a loss too, which is on its page already
        del wanted["Supervised stage"]
    judges = sorted({tag.split("/")[1] for tag in tags if tag.startswith("stacked/") and tag != FLOOR})
    stacks = {f"Errors per report, stacked (a) to (f): judge {judge}": (BAND, _bands(judge, tags)) for judge in judges}
    wanted["Judge"] = {**stacks, **wanted["Judge"]}
    shown = {
        page: {title: chart for title, chart in charts.items() if _has_data(*chart, tags)}
        for page, charts in wanted.items()
    }
    return {page: charts for page, charts in shown.items() if charts}


def layout_summary(shown: dict[str, dict[str, tuple[str, list[Any]]]]) -> Any:
    """The `Summary` message that the plugin reads. (torch's own writer knows bands of a single series only.)"""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.custom_scalar import layout_pb2
    from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, PLUGIN_NAME

    def chart(title: str, kind: str, content: list[Any]) -> Any:
        if kind == LINES:
            return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=content))
        series = [
            layout_pb2.MarginChartContent.Series(value=value, lower=lower, upper=upper)
            for value, lower, upper in content
        ]
        return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=series))

    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=page, chart=[chart(title, *about) for title, about in _order(charts)])
            for page, charts in shown.items()
        ]
    )
    value = Summary.Value(
        tag=CONFIG_SUMMARY_TAG,
        tensor=TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto()),
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME)),
    )
    return Summary(value=[value])


def _order(charts: dict[str, tuple[str, list[Any]]]) -> list[tuple[str, tuple[str, list[Any]]]]:
    """Lines as they stand; bands the other way round, because the plugin shows the last one first."""
    lines = [(title, chart) for title, chart in charts.items() if chart[0] == LINES]
    bands = [(title, chart) for title, chart in charts.items() if chart[0] == BAND]
    return lines + bands[::-1]


def _bands(judge: str, tags: Collection[str]) -> list[Series]:
    edges = sorted(tag for tag in tags if tag.startswith(f"stacked/{judge}/"))
    return [(upper, lower, upper) for lower, upper in zip([FLOOR, *edges], edges, strict=False)]


def _has_data(kind: str, content: list[Any], tags: Collection[str]) -> bool:
    if kind == BAND:
        return any(value in tags for value, _, _ in content)
    return any(re.match(pattern, tag) for pattern in content for tag in tags)
