"""What does a step cost, whatever it samples, and what each completion beyond that?

    python benchmarks/step_cost.py [--rounds N] [--steps N] [--json FILE] [--runs DIR] [section.key=value ...]

Runs through the launcher that users take, GRPO on the demo with its own judges, one after the other in every round:

    fixed     2 studies x 8 candidates of at most 8 tokens: what is left when there is next to nothing to do
    N         N completions a step, 8 of a study, of the demo's length

The first step of a run, which warms caches up, is left out. `ratio` is the seconds per completion at the most
completions over those at the fewest (128). Keeps the table in benchmarks/results/.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import PARTS, Run, keep, medians, parser, train_anew

GOAL_FIXED_S = 0.5
COUNTS = (128, 512, 2048)
SETTINGS = (
    "rollout.group_size=8",
    "scoring.canary_every=0",
    "scoring.price_studies=0",
    "eval.studies=2",
    "eval.image_check=never",
    "monitor.samples_every=0",
    "monitor.samples=0",
)
FIXED = "fixed"
ARMS: dict[str, tuple[str, ...]] = {
    FIXED: ("rollout.studies_per_step=2", "rollout.max_completion_tokens=8"),
    **{str(count): (f"rollout.studies_per_step={count // 8}",) for count in COUNTS},
}


def measure(folder: Path, arm: str, steps: int, overrides: list[str]) -> dict[str, float]:
    """Medians over a run's steps but the first."""
    more = (f"train.max_steps={steps}", f"train.save_every={steps}")
    run = Run("configs/demo_grpo.yaml", folder, (*SETTINGS, *ARMS[arm], *more, *overrides))
    return medians(train_anew(run)[1:])


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """Seconds, medians over the rounds, and milliseconds of a step per completion."""
    rows = [f"| completions | {' | '.join(PARTS)} | ms per completion |", "|---|" + "---|" * (len(PARTS) + 1)]
    for arm in ARMS:
        seconds = medians([one[arm] for one in rounds])
        each = "-" if arm == FIXED else f"{1000 * seconds['step_time'] / int(arm):.1f}"
        name = "16 of 8 tokens" if arm == FIXED else arm
        rows.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in seconds.values())} | {each} |")
    return "\n".join(rows)


def main() -> int:
    made = parser(__doc__ or "", "runs/step_cost")
    made.add_argument("--rounds", type=int, default=3, metavar="N")
    made.add_argument("--steps", type=int, default=6, metavar="N", help="of each run; the first does not count")
    arguments = made.parse_intermixed_args()
    place = Path(arguments.runs).resolve()
    rounds = [
        {arm: measure(place / f"{arm}-{number}", arm, arguments.steps, arguments.overrides) for arm in ARMS}
        for number in range(arguments.rounds)
    ]
    fewest, most = str(COUNTS[0]), str(COUNTS[-1])
    shares = [one[most]["step_time"] / int(most) / (one[fewest]["step_time"] / int(fewest)) for one in rounds]
    where, ratio = machine(), statistics.median(shares)
    text = (
        f"# What does a step cost?\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, Python "
        f"{where['python']}. Medians of {arguments.rounds} rounds of {arguments.steps - 1} steps, seconds.\n\n"
        f"{table(rounds)}\n\nA completion among {most} costs {ratio:.2f} times one among {fewest}. Goal of the first "
        f"row's step_time: {GOAL_FIXED_S} s.\n"
    )
    result: dict[str, Any] = {"machine": where, "command": command_line(), "rounds": rounds, "settings": SETTINGS}
    keep("step_cost", text, result | {"ratio": ratio, "goal of the fixed cost, s": GOAL_FIXED_S}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
