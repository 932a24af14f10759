"""What a run took, part by part, over what the roofline computes for it: a machine's own constants, from a short run.

Two runs on one machine differ in model, lengths and group; what the roofline assumes about the machine is the same for
both. So each part of the second is computed, times measured / computed of the same part of the first:

    seconds = computed(config) x measured(run) / computed(run)

What the run waited for judges, and what it spent outside of the parts (metrics, pictures, the logger), is taken over as
it stands.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from online_rl.commands import roofline
from online_rl.commands.roofline import Lengths, Part
from online_rl.commands.sizing import Shape
from online_rl.config import Config, load_config
from online_rl.errors import DataError
from online_rl.pictures.plots import load_run

REST = "rest"
JUDGE = "judge, waited for"
METRICS = {  # of a part
    "generate": "time/generate",
    JUDGE: "time/judge_exposed",
    "update": "time/update",
    "sync": "time/sync",
    REST: "time/wait",
}
LENGTHS = ("num_tokens", "completions/mean_length", "completions/max_length", "completions/clipped_ratio")
CUT = 0.05  # share of completions that may reach their limit while lengths are still the policy's own


@dataclass(frozen=True)
class Measured:
    """Medians over a run's steps but the first, which warms caches up.

    ranks    that it had
    seconds  by part; REST is what a step spends outside of the others
    lengths  tokens, as sampled
    cut      share of completions that reached their limit
    """

    cfg: Config
    ranks: int
    seconds: dict[str, float]
    lengths: Lengths
    cut: float

    def lengths_of(self, cfg: Config) -> Lengths:
        """The tokens to expect of another configuration: as long as this run's, or as much of its limit as here."""
        most, own_most = cfg.rollout.max_completion_tokens, self.cfg.rollout.max_completion_tokens
        scale = 1.0 if self.cut <= CUT else most / own_most
        longest, mean = min(most, self.lengths.longest * scale), min(most, self.lengths.completion * scale)
        return Lengths(self.lengths.prompt, mean, longest)


def read(run: Path) -> Measured:
    """Raises DataError for a folder without three steps, their metrics, or a checkpoint, which says how many ranks."""
    records, _ = load_run(run)
    counted = records[1:]
    states = sorted((run / "checkpoints").glob("step-*/state.json"))
    if len(counted) < 2 or not states:
        raise DataError(
            f"{run}: found {len(records)} steps and {len(states)} checkpoints, expected at least 3 steps and a "
            "checkpoint, which says how many ranks there were. Let the run end."
        )
    absent = [name for name in (*METRICS.values(), *LENGTHS) if name not in counted[0]]
    if absent:
        raise DataError(f"{run}: its steps have no {absent[0]}, expected a training run of this version.")
    cfg = load_config(run / "config.resolved.yaml", [])

    def median(name: str) -> float:
        return statistics.median(record[name] for record in counted)

    seconds = {part: median(metric) for part, metric in METRICS.items()}
    sampled = cfg.rollout.studies_per_step * cfg.rollout.group_size
    steps = records[-1]["step"] - records[0]["step"]
    each = (records[-1]["num_tokens"] - records[0]["num_tokens"]) / (steps * sampled)
    completion = statistics.fmean(record["completions/mean_length"] for record in counted)
    lengths = Lengths(each - completion, completion, median("completions/max_length"))
    ranks = json.loads(states[-1].read_text())["world_size"]
    return Measured(cfg, ranks, seconds, lengths, median("completions/clipped_ratio"))


def step_parts(shape: Shape, cfg: Config, ranks: int, gpu: str, like: Measured, its_shape: Shape) -> list[Part]:
    """The parts of a step of `cfg`, as computed times what `like` took over what is computed for it.

    Preparing prompts belongs to generation here, as in the run's own seconds.
    """
    of_run = _by_name(roofline.step_parts(its_shape, like.cfg, like.ranks, gpu, lengths=like.lengths))
    computed = _by_name(roofline.step_parts(shape, cfg, ranks, gpu, lengths=like.lengths_of(cfg)))
    parts = {JUDGE: "a faster judge, more servers of it", REST: "fewer samples and pictures, see monitor"}
    found = {name: Part(name, like.seconds[name], "as in the run", advice) for name, advice in parts.items()}
    for name in ("generate", "update", "sync"):
        took = like.seconds[name] / sum(part.seconds for part in of_run[name])
        largest = max(computed[name], key=lambda part: part.seconds)
        found[name] = replace(largest, name=name, seconds=took * sum(part.seconds for part in computed[name]))
    return [found[name] for name in METRICS]


def _by_name(parts: list[Part]) -> dict[str, list[Part]]:
    """The parts of an update under one name."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.name.partition(":")[0], []).append(part)
    return found
