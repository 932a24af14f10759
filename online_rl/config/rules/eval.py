"""Rules between the keys of `eval`: what the best checkpoint is chosen by."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from online_rl.config.rules.rule import rule
from online_rl.truth.names import DIVERSITY, FINDINGS, IMAGE, LABELS

if TYPE_CHECKING:
    from online_rl.config.model import Config

METRIC = "eval.metric_for_best_model"
# What every evaluation has, whatever its judges.
OF_ANY_JUDGE = (
    "reward",
    *(name for name in FINDINGS if "<" not in name),
    *DIVERSITY,
    "judge/unscorable_rate",
    "verbosity/mean",
    "completions/mean_words",
    "completions/mean_length",
    "completions/clipped_ratio",
)


@rule(METRIC, "eval.every")
def the_best_is_found_by_evaluating(cfg: Config) -> str | None:
    if cfg.eval.metric_for_best_model is None or cfg.eval.every:
        return None
    return (
        f"eval.every: found 0 beside {METRIC}={cfg.eval.metric_for_best_model}, expected the steps between "
        "evaluations: without any, the last step is always the best. Set it, or remove the metric."
    )


@rule("monitor.stop_on_collapse", "eval.every")
def alarms_are_found_by_evaluating(cfg: Config) -> str | None:
    if not cfg.monitor.stop_on_collapse or cfg.eval.every:
        return None
    return (
        "eval.every: found 0 beside monitor.stop_on_collapse=true, expected the steps between evaluations: alarms are "
        "judged at these, so the run could not stop before its end. Set it, or stop_on_collapse=false."
    )


@rule(METRIC, "eval.load_best_model_at_end", "eval.greater_is_better")
def the_best_has_a_metric(cfg: Config) -> str | None:
    if cfg.eval.metric_for_best_model is not None:
        return None
    for key in ("load_best_model_at_end", "greater_is_better"):
        if getattr(cfg.eval, key):
            return f"eval.{key}: found true, expected {METRIC} beside it. Set that to a metric, such as reward."
    return None


@rule(METRIC, "judges", "guards")
def the_metric_is_one_of_an_evaluation(cfg: Config) -> str | None:
    """A part of a judge (`judge/<judge>/<part>`) is known when the judge has scored; the first evaluation checks it."""
    metric = cfg.eval.metric_for_best_model
    if metric is None:
        return None
    judges, guards = [j.label for j in cfg.judges], [g.label for g in cfg.guards]
    known = [*OF_ANY_JUDGE, *(f"rewards/{j}/mean" for j in judges), *(f"guards/{g}/mean" for g in guards)]
    if cfg.data.reader == "demo" and cfg.demo.reports is None:
        known += [name for name in LABELS if "<" not in name]
    if cfg.eval.image_check == "always":
        known += IMAGE
    if cfg.eval.vqa:
        known += ["vqa/accuracy", *(f"vqa/{name}/accuracy" for name in cfg.eval.vqa)]
    known += [f"raw_reward/{j.label}" for j in cfg.judges if j.length_control != "none"]
    parts = tuple([f"judge/{j}/" for j in judges] + [f"guards/{g}/" for g in guards])
    if metric in known or metric.startswith((*parts, "findings/f1/", "labels/f1/")):
        return None
    near = difflib.get_close_matches(metric.removeprefix("eval/").removeprefix("eval_"), known, 1, 0.5)
    meant = f"Did you mean {near[0]}? " if near else ""
    return (
        f"eval.metric_for_best_model: found {metric!r}, expected one of {', '.join(known)}, or judge/<judge>/<part>. "
        f"{meant}Correct it."
    )
