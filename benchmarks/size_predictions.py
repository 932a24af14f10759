"""Does `online-rl size --like RUN` say how long another run's steps will take? Predicted first, then run.

    python benchmarks/size_predictions.py [--rounds N] [--steps N] [--runs DIR] [--json FILE] [section.key=value ...]

One run gives the machine's constants. Three others, with a policy more than twice as large, completions twice as long
and groups twice as large, are predicted from it and only then made. Policies have random weights and the demo's
architecture, so that completions run to their limit and arithmetic, not Python, takes the time; studies are the demo's,
and the reward is the share of vowels, since the text means nothing. Every run goes through the launcher that users
take.

Seconds are medians over the steps but the first and over the rounds. `ratio` is the largest disagreement among the
parts that take at least a twentieth of their step: measured / predicted or its inverse. The goal is 1.3.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import Run, keep, parser, train_anew

from online_rl.commands import measured
from online_rl.commands.doctor.fitness import Examination
from online_rl.commands.roofline import CPU
from online_rl.config import load_config

GOAL, COUNTS_FROM = 1.3, 0.05  # of the ratio; share of a step from which a part counts
RECIPE, RANKS = "configs/demo_grpo.yaml", 2
SMALL, LARGE = (384, 6), (512, 10)  # width and layers of the language part
FIRST = "measured"
PLANS: dict[str, tuple[tuple[int, int], int, int]] = {  # run -> policy, completion tokens, group size
    FIRST: (SMALL, 80, 4),
    "larger policy": (LARGE, 80, 4),
    "longer completions": (SMALL, 160, 4),
    "larger groups": (SMALL, 80, 8),
}
SETTINGS = (
    "rollout.studies_per_step=16",
    "judges=[{use: 'benchmarks/size_predictions.py:vowels', length_control: none}]",
    "scoring.canary_every=0",
    "scoring.price_studies=0",
    "eval.studies=2",
    "eval.image_check=never",
    "monitor.samples_every=0",
    "monitor.samples=0",
)


def vowels(completions: list[str]) -> list[float]:
    """A reward that differs between random texts."""
    return [sum(c in "aeiou" for c in text.lower()) / max(1, len(text)) for text in completions]


def make_policy(folder: Path, width: int, layers: int) -> None:
    """The shipped policy's architecture and processor, its language part resized, with random weights."""
    import torch
    from transformers import AutoConfig, Idefics3ForConditionalGeneration

    from online_rl.demo import shipped

    shipped.unpack(shipped.START, folder)
    config = AutoConfig.from_pretrained(folder)
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = width, 8 * width // 3, layers
    text.num_attention_heads = text.num_key_value_heads = width // 32
    text.head_dim = 32
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)


def settings_of(name: str, policies: Path, steps: int) -> tuple[str, ...]:
    (width, layers), tokens, group = PLANS[name]
    return (
        f"model.path={policies / str(width)}",
        f"rollout.max_completion_tokens={tokens}",
        f"rollout.group_size={group}",
        f"train.max_steps={steps}",
        f"train.save_every={steps}",
        *SETTINGS,
    )


def predict(run: Run, like: Path) -> dict[str, float]:
    """Seconds of each part and of the step, as `online-rl size` computes them."""
    cfg = load_config(run.recipe, run.overrides)
    first = measured.read(like)
    shape, its_shape = Examination(cfg, RANKS).shape, Examination(first.cfg, RANKS).shape
    parts = measured.step_parts(shape, cfg, RANKS, CPU, first, its_shape)
    return _with_whole({part.name: part.seconds for part in parts})


def took(run: Run, steps: list[dict[str, float]]) -> dict[str, float]:
    """The same of a run that was made."""
    counted = steps[1:]
    found = {name: statistics.median(step[metric] for step in counted) for name, metric in measured.METRICS.items()}
    return _with_whole(found)


def _with_whole(parts: dict[str, float]) -> dict[str, float]:
    return parts | {"step": sum(parts.values())}


def table(predicted: dict[str, dict[str, float]], seen: dict[str, dict[str, float]]) -> str:
    """Per run and part: predicted, measured, and measured / predicted."""
    rows = ["| run | part | predicted, s | measured, s | measured / predicted |", "|---|---|---|---|---|"]
    for name, parts in predicted.items():
        for part, computed in parts.items():
            there = seen[name][part]
            rows.append(f"| {name} | {part} | {computed:.2f} | {there:.2f} | {there / computed:.2f} |")
    return "\n".join(rows)


def disagreement(predicted: dict[str, dict[str, float]], seen: dict[str, dict[str, float]]) -> float:
    """The largest measured / predicted, or its inverse, of the parts that count."""
    ratios = [
        seen[name][part] / computed
        for name, parts in predicted.items()
        for part, computed in parts.items()
        if seen[name][part] >= COUNTS_FROM * seen[name]["step"]
    ]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def main() -> int:
    made = parser(__doc__ or "", "runs/size_predictions")
    made.add_argument("--rounds", type=int, default=2, metavar="N")
    made.add_argument("--steps", type=int, default=6, metavar="N", help="of each run; the first does not count")
    arguments = made.parse_intermixed_args()
    place = Path(arguments.runs).resolve()
    predictions: list[dict[str, dict[str, float]]] = []
    measurements: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder)
        for width, layers in (SMALL, LARGE):
            make_policy(policies / str(width), width, layers)
        for number in range(arguments.rounds):
            runs = {
                name: Run(
                    RECIPE,
                    place / f"{name.replace(' ', '-')}-{number}",
                    (*settings_of(name, policies, arguments.steps), *arguments.overrides),
                )
                for name in PLANS
            }
            train_anew(runs[FIRST])
            others = [name for name in PLANS if name != FIRST]
            predictions.append({name: predict(runs[name], runs[FIRST].folder) for name in others})
            measurements.append({name: took(runs[name], train_anew(runs[name])) for name in others})
    predicted, seen = _medians(predictions), _medians(measurements)
    where, ratio = machine(), disagreement(predicted, seen)
    text = (
        f"# Predicted seconds, and what the runs took\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, "
        f"Python {where['python']}. Medians of {arguments.rounds} rounds of {arguments.steps - 1} steps.\n\n"
        f"{table(predicted, seen)}\n\nThe parts that take at least {COUNTS_FROM:.0%} of their step agree within a "
        f"factor of {ratio:.2f}; the goal is {GOAL}.\n"
    )
    result: dict[str, Any] = {"machine": where, "command": command_line(), "ratio": ratio, "plans": PLANS}
    keep("size_predictions", text, result | {"predicted": predicted, "measured": seen}, arguments.json)
    return 0


def _medians(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {part: statistics.median(one[name][part] for one in rounds) for part in parts}
        for name, parts in rounds[0].items()
    }


if __name__ == "__main__":
    sys.exit(main())
