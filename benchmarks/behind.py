"""What does a slow judge cost? Whole training steps with a judge as slow as sampling and update together.

    python benchmarks/behind.py [--rounds N] [--steps N] [--json FILE] [--runs DIR] [section.key=value ...]

Three arms through the launcher that users take, one after the other in every round, GRPO on the demo, 64 studies x 8
candidates a step:

    unjudged   the judge answers at once
    in step    it answers after s seconds, and the step waits for it (scoring.behind=0)
    behind     the same, one step behind (scoring.behind=1)

The judge computes nothing here (slow_judge.py), and s is the median step of the round's unjudged arm. The first step of
a run, which warms caches up and with `behind` samples twice, is left out, and so is the last, which samples nothing
there. `ratio` is behind over unjudged, the median of the rounds. Keeps the table in benchmarks/results/.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import PARTS, Run, keep, medians, parser, train_anew

GOAL = 1.08
SETTINGS = (
    "rollout.studies_per_step=64",
    "rollout.group_size=8",
    "scoring.workers=2048",  # the judge takes whatever comes
    "scoring.canary_every=0",
    "scoring.price_studies=0",
    "eval.studies=2",
    "eval.image_check=never",
    "guards=[]",
    "monitor.samples_every=0",
    "monitor.samples=0",
)
ARMS = {"unjudged": (0, False), "in step": (0, True), "behind": (1, True)}  # -> scoring.behind, whether it is slow


def measure(folder: Path, arm: str, steps: int, seconds: float, overrides: list[str]) -> dict[str, float]:
    """Medians over a run's middle steps."""
    behind, slow = ARMS[arm]
    judge = f"judges=[{{use: 'benchmarks/slow_judge.py:Slow', args: {{seconds: {seconds if slow else 0.0:.3f}}}}}]"
    more = (judge, f"scoring.behind={behind}", f"train.max_steps={steps}", f"train.save_every={steps}")
    return medians(train_anew(Run("configs/demo_grpo.yaml", folder, (*SETTINGS, *more, *overrides)))[1:-1])


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """Seconds of the medians over the rounds, and each arm's step over its round's unjudged one."""
    rows = [f"| arm | {' | '.join(PARTS)} | over unjudged |", "|---|" + "---|" * (len(PARTS) + 1)]
    for arm in ARMS:
        seconds = medians([one[arm] for one in rounds]).values()
        rows.append(f"| {arm} | {' | '.join(f'{value:.2f}' for value in seconds)} | {ratio(rounds, arm):.3f} |")
    return "\n".join(rows)


def ratio(rounds: list[dict[str, dict[str, float]]], arm: str) -> float:
    return statistics.median(one[arm]["step_time"] / one["unjudged"]["step_time"] for one in rounds)


def main() -> int:
    made = parser(__doc__ or "", "runs/behind")
    made.add_argument("--rounds", type=int, default=2, metavar="N")
    made.add_argument(
        "--steps", type=int, default=6, metavar="N", help="of each run; the first and the last do not count"
    )
    arguments = made.parse_intermixed_args()
    place = Path(arguments.runs).resolve()
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(arguments.rounds):
        found: dict[str, dict[str, float]] = {}
        for arm in ARMS:
            seconds = found.get("unjudged", {}).get("step_time", 0.0)
            folder = place / f"{arm.replace(' ', '_')}-{number}"
            found[arm] = measure(folder, arm, arguments.steps, seconds, arguments.overrides)
        rounds.append(found)
    where, steps = machine(), arguments.steps - 2
    seconds = statistics.median(one["unjudged"]["step_time"] for one in rounds)
    text = (
        f"# What does a slow judge cost?\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, Python "
        f"{where['python']}. Medians of {arguments.rounds} rounds of {steps} steps, seconds. The judge answers "
        f"{seconds:.1f} s after it was asked, as long as an unjudged step takes.\n\n"
        f"{table(rounds)}\n\nGoal of the last row: {GOAL}.\n"
    )
    result: dict[str, Any] = {"machine": where, "command": command_line(), "rounds": rounds, "settings": SETTINGS}
    keep("behind", text, result | {"ratio": ratio(rounds, "behind"), "goal": GOAL}, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
