"""The numbers of a step, over all ranks: TRL's names where TRL has one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from judges.base import Status
from online_rl.ranks import collectives
from online_rl.scoring.scorer import Candidate
from online_rl.scoring.stats import CallStats, call_metrics

Record = dict[str, Any]
BETTER_SMALL = (  # ends of names
    *("_finding", "_location", "_severity", "_comparison", "_attribute", "_rate", "_ratio", "_errors", "/errors"),
    *("/error_weight", "/false_findings", "/missing_findings", "false_positives", "false_negatives"),
    *("none_share", "silent_on_abnormal", "/largest_cluster", "_cluster_abnormal", "image/f1_wrong"),
    *("findings/unread_references", "labels/unknown_sentences", "findings/lost", "judge/injection_hits"),
)


def is_better_greater(metric: str) -> bool:
    """False for errors per report and for shares of what went wrong.

    >>> is_better_greater("reward"), is_better_greater("judge/findings/false_finding")
    (True, False)
    """
    return not metric.endswith(BETTER_SMALL)


def record(candidate: Candidate) -> Record:
    """The numbers of one candidate; nothing of its text."""
    return {
        "reward": candidate.reward,
        "verbosity": candidate.verbosity,
        "words": candidate.words,
        "tokens": len(candidate.completion.ids),
        "prompt_tokens": len(candidate.completion.prompt.ids),
        "truncated": candidate.completion.truncated,
        "scores": {name: (s.value, s.parts) for name, s in candidate.scores.items()},
        "guards": {name: (s.value, s.parts) for name, s in candidate.guards.items()},
        "unscorable": _is_unscorable(candidate),
        "injections": candidate.injections,
        "seconds": sum(s.seconds for s in (*candidate.scores.values(), *candidate.guards.values())),
    }


def _is_unscorable(candidate: Candidate) -> bool:
    """Whether a judge could not score it, or a gate stayed undecided because its guard could not."""
    found = {s.status for s in candidate.scores.values()}
    reached = Status.FAILED not in found | {s.status for s in candidate.guards.values()}
    undecided = candidate.reward is None and not candidate.masked and reached
    return Status.UNSCORABLE in found or undecided


def gather_groups(groups: Sequence[Sequence[Candidate]]) -> list[list[Record]]:
    """The records of every group of every rank, in rank order, on every rank."""
    mine = [[record(c) for c in group] for group in groups]
    return [group for part in collectives.gather(mine) for group in part]


def summarise(groups: Sequence[Sequence[Record]]) -> dict[str, float]:
    """Means over scored candidates (reward and its parts) and over all of them (lengths, verbosity)."""
    records = [r for group in groups for r in group]
    if not records:
        return {}
    rewards = [r["reward"] for r in records if r["reward"] is not None]
    lengths = [r["tokens"] for r in records]
    verbosity = sorted(r["verbosity"] for r in records)
    metrics = {
        "completions/mean_length": _mean(lengths),
        "completions/min_length": float(min(lengths)),
        "completions/max_length": float(max(lengths)),
        "completions/clipped_ratio": _mean(r["truncated"] for r in records),
        "completions/mean_words": _mean(r["words"] for r in records),
        "verbosity/mean": _mean(verbosity),
        "verbosity/p10": verbosity[len(verbosity) // 10],
        "verbosity/p90": verbosity[len(verbosity) * 9 // 10],
        "judge/unscorable_rate": _mean(r["unscorable"] for r in records),
        "judge/injection_hits": float(sum(r["injections"] for r in records)),
        "judge/seconds_per_candidate": _mean(r["seconds"] for r in records),
    }
    if rewards:
        metrics["reward"] = _mean(rewards)
        spreads = [_spread([r["reward"] for r in group]) for group in groups]
        metrics["reward_std"] = _mean(s for s in spreads if s is not None)
    for name in records[0]["scores"]:
        metrics |= _judge_metrics(name, [r["scores"][name] for r in records if r["scores"][name][0] is not None])
    for name in records[0].get("guards", {}):
        metrics |= _guard_metrics(name, [r["guards"][name] for r in records])
    return metrics


@dataclass(frozen=True)
class Collected:
    """What all ranks collected in a step.

    groups      the records of every group
    calls       every rank's notes of its judge calls
    more        further metrics, where they are due: canaries, strata, how old the candidates were
    num_tokens  prompt and completion tokens of the run so far
    """

    groups: list[list[Record]]
    calls: list[CallStats]
    more: dict[str, float]
    num_tokens: int


def step_metrics(collected: Collected, seconds: Mapping[str, float], studies_per_step: int) -> dict[str, float]:
    """The step's numbers beside the update's own: rewards, lengths, calls, times, speed.

    seconds  phase -> seconds: "step" as a whole, "updating", "syncing weights"
    """
    groups = collected.groups
    records = [record for group in groups for record in group]
    tokens = sum(r["tokens"] + r["prompt_tokens"] for r in records)
    metrics = summarise(groups) | call_metrics(collected.calls) | collected.more
    metrics["step_time"] = seconds["step"]
    metrics["time/sync"] = seconds["syncing weights"]
    metrics["time/update"] = seconds["updating"] + metrics["time/read_ahead"]
    spent = sum(metrics[name] for name in ("time/generate", "time/judge_exposed", "time/update", "time/sync"))
    metrics["time/wait"] = max(0.0, metrics["step_time"] - spent)
    metrics["rollout/extra_studies"] = float(len(groups) - studies_per_step)
    metrics["num_tokens"] = float(collected.num_tokens)
    metrics["perf/tokens_per_second"] = tokens / metrics["step_time"]
    metrics["perf/completions_per_second"] = len(records) / metrics["step_time"]
    return metrics


def _guard_metrics(name: str, scores: list[tuple[float | None, dict[str, float]]]) -> dict[str, float]:
    """The mean, the parts and the unscorable rate of a judge that is not rewarded."""
    scored = [(value, parts) for value, parts in scores if value is not None]
    metrics = {f"guards/{name}/unscorable_rate": 1.0 - len(scored) / len(scores)}
    if scored:
        metrics[f"guards/{name}/mean"] = _mean(value for value, _ in scored)
    for part in sorted({p for _, parts in scored for p in parts} - {"verbosity"}):
        metrics[f"guards/{name}/{part}"] = _mean(parts[part] for _, parts in scored if part in parts)
    return metrics


def _judge_metrics(name: str, scores: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
    if not scores:
        return {}
    values = [value for value, _ in scores]
    metrics = {f"rewards/{name}/mean": _mean(values), f"rewards/{name}/std": _spread(values) or 0.0}
    for part in sorted({p for _, parts in scores for p in parts} - {"verbosity"}):
        found = [parts[part] for _, parts in scores if part in parts]
        key = f"raw_reward/{name}" if part == "raw" else f"judge/{name}/{part}"
        metrics[key] = _mean(found)
    return metrics


def _mean(values: Iterable[float]) -> float:
    numbers = [float(v) for v in values]
    return sum(numbers) / len(numbers) if numbers else 0.0


def _spread(values: Sequence[float | None]) -> float | None:
    numbers = [v for v in values if v is not None]
    return statistics.stdev(numbers) if len(numbers) > 1 else None
