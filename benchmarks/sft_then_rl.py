"""What should a fixed time be spent on: supervised fine-tuning, reinforcement learning, or one after the other?

    python benchmarks/sft_then_rl.py [--budgets 120 360] [--seeds 0 1 2] [--jobs N] [--at-most N] [--arms ARM ...]
                                     [--reports DIR] [--json FILE] [--runs DIR] [section.key=value ...]

The base has seen captions only: the shipped policy's vision encoder, which was taught labels and places, and a language
side that was taught to name the findings of a film, never to write a report. It is made here, once, in about five
minutes. From it, each in as many seconds of steps (a budget; starting and evaluating do not count):

    SFT            reference reports, by `online-rl sft`, eight per update at five times the recipe's learning rate
    RL             the demo's recipe, by `online-rl train`, from the base itself
    SFT then RL    half of the seconds each

How many steps a budget has is measured first, in short runs; the table shows the seconds that the steps took in fact.
Greedy reports of every evaluation study are read against the labels, which nothing rewards. `--reports` names a folder
with IU X-ray's csv files: the same on real sentences, read by the findings rules, into a table of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import RESULTS, ROOT, Run, is_there, keep, parser, share_of, train

from online_rl.pictures.plots import load_run
from online_rl.pictures.style import new_figure, save, style

RECIPE = "configs/demo_grpo.yaml"
ARMS = ("SFT", "RL", "SFT then RL")
COLOURS = {"SFT": "#2563eb", "RL": "#d97706", "SFT then RL": "#059669"}
SHORT = (  # evaluating is `online-rl eval`'s, on every study
    "eval.studies=16",
    "eval.every=0",
    "eval.image_check=never",
    "scoring.price_studies=0",
    "monitor.samples=16",
    "train.save_every=100000",
)
MEASURED = {  # column -> figure of `online-rl eval`
    "F1": "labels/f1",
    "precision": "labels/precision",
    "recall": "labels/recall",
    "silent on abnormal": "labels/silent_on_abnormal",
    "distinct": "diversity/distinct",
    "verbosity": "verbosity/mean",
    "reward": "reward",
    "ROUGE-L": "wording/rouge_l",
}
# The recipe's 32 reports per update at 2e-4 are for policies that write already: from this base its loss stays above 4.
LEARN_TO_WRITE = ("sft.learning_rate=1e-3", "sft.studies_per_step=8")
TRIAL = 12  # steps of the runs that measure how long a step takes
EXPLAINED = (
    "Greedy reports of every evaluation study. F1, precision, recall and silence are {against}. *base* has seen "
    "captions only; *budget* is in seconds of steps."
)
LABELS = "against the drawn labels, which nothing rewards and no reference text holds"
RULES = "by the findings rules against the reference reports, since real sentences come without labels"
REAL = ("rollout.max_model_len=384",)  # real indications are longer


def make_base(folder: Path) -> None:
    """Write the policy that has seen captions only."""
    import torch
    from safetensors.torch import load_file

    from online_rl.demo import shipped
    from online_rl.demo.make_policy import NAME, SEED, STUDIES, language_of, prepare_course
    from online_rl.demo.policy import make_model, save_policy
    from online_rl.demo.teaching import learn_to_write

    def progress(stage: str, step: int, steps: int, loss: float) -> None:
        if step % 250 == 0 or step == steps:
            print(f"base: {stage} {step}/{steps}, loss {loss:.3f}", flush=True)

    torch.set_num_threads(os.cpu_count() or 1)
    course = prepare_course(STUDIES, SEED, os.cpu_count() or 1, progress)
    model = make_model(course.processor, SEED)
    weights = load_file(shipped.FOLDER / shipped.BASE)
    sight = {name: tensor.float() for name, tensor in weights.items() if name.startswith("model.vision_model.")}
    if model.load_state_dict(sight, strict=False).unexpected_keys or not sight:
        raise SystemExit("the shipped policy has another vision encoder than make_model's")
    learn_to_write(model, course.lessons.films, course.captions, NAME, language_of(model), SEED, progress)
    save_policy(folder, model, course.processor)


class Plan:
    """The runs of one benchmark: what they start from, and how many steps their seconds have."""

    def __init__(self, place: Path, base: Path, settings: Sequence[str], share: Mapping[str, str]) -> None:
        self.place, self.base, self.settings, self.share = place, base, tuple(settings), share
        self.per_step: dict[str, float] = {}

    def sft(self, name: str, seed: int, steps: int) -> Run:
        own = (f"run.seed={seed}", f"model.path={self.base}", f"sft.max_steps={steps}")
        return Run(RECIPE, self.place / name, (*own, *LEARN_TO_WRITE, *SHORT, *self.settings), ("sft",))

    def rl(self, name: str, seed: int, steps: int, after: Run | None = None) -> Run:
        policy = f"run:{after.folder}" if after else str(self.base)
        own = (f"run.seed={seed}", f"model.path={policy}", f"train.max_steps={steps}")
        return Run(RECIPE, self.place / name, (*own, *SHORT, *self.settings))

    def measure(self) -> None:
        """Find the seconds of a step: of SFT, of RL from the base, and of RL from a policy that writes reports."""
        writes = self.sft("trial-sft", 0, 5 * TRIAL)
        for name, run in {"SFT": writes, "RL": self.rl("trial-rl", 0, TRIAL)}.items():
            self.run([run])
            self.per_step[name] = step_seconds(run.folder)
        after = self.rl("trial-rl-after", 0, TRIAL, writes)
        self.run([after])
        self.per_step["RL after SFT"] = step_seconds(after.folder)

    def chain(self, arm: str, budget: int, seed: int) -> list[Run]:
        """The runs of an arm, one after the other."""
        name = f"{arm.replace(' ', '_')}-{budget}s-seed{seed}"
        if arm == "SFT":
            return [self.sft(name, seed, self._steps("SFT", budget))]
        if arm == "RL":
            return [self.rl(name, seed, self._steps("RL", budget))]
        first = self.sft(f"{name}-first", seed, self._steps("SFT", budget / 2))
        return [first, self.rl(name, seed, self._steps("RL after SFT", budget / 2), first)]

    def _steps(self, kind: str, seconds: float) -> int:
        return max(1, round(seconds / self.per_step[kind]))

    def run(self, chain: Sequence[Run]) -> None:
        for run in chain:
            if not is_there(run):
                train(run, self.share)

    def finish(self, chain: Sequence[Run]) -> None:
        """Train the chain, and evaluate the policy at its end."""
        self.run(chain)
        evaluate(chain[-1].folder, str(chain[-1].folder), self.share)


def step_seconds(folder: Path) -> float:
    """The median of a run's steps, without the first two, in which things are made that later ones find."""
    steps, _ = load_run(folder)
    return statistics.median(step["step_time"] for step in steps[2:])


def seconds(chain: Sequence[Run]) -> float:
    """What the steps of all runs of a chain took."""
    return sum(step["step_time"] for run in chain for step in load_run(run.folder)[0])


def evaluate(run: Path, policy: str, share: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Figures of the policy's greedy reports of every evaluation study, with intervals; kept beside the run."""
    kept = run.with_suffix(".eval.json")
    if not kept.exists():
        command = [sys.executable, "-m", "online_rl.cli", "eval", policy, "--config", str(run / "config.resolved.yaml")]
        command += ["eval.studies=null", "--output", str(run.with_suffix(".eval")), "--json", str(kept)]
        log = run.with_suffix(".eval.log")
        with log.open("w") as out:
            done = subprocess.run(
                command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | share, check=False
            )
        if done.returncode:
            raise SystemExit(f"{run.name}: the evaluation ended with exit code {done.returncode}; see {log}")
    return json.loads(kept.read_text())["policies"][0]["metrics"]


def figures(metrics: Mapping[str, Mapping[str, float]], real: bool) -> dict[str, float | None]:
    """The columns of the table, None where a policy has none: precision, of one that calls nothing present."""
    keys = {name: key.replace("labels/", "findings/") if real else key for name, key in MEASURED.items()}
    return {name: metrics[key]["mean"] if key in metrics else None for name, key in keys.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row per run, the base first."""
    lines = [
        f"| | budget | seed | seconds | steps | {' | '.join(MEASURED)} |",
        "|---|---|---|---|---|" + "---|" * len(MEASURED),
    ]
    for row in rows:
        cells = [row["arm"], *(str(row.get(name, "-")) for name in ("budget", "seed", "seconds", "steps"))]
        cells += ["-" if row[name] is None else f"{row[name]:.3f}" for name in MEASURED]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """F1 over the seconds that were spent: a point per run, a line through the means of each arm."""
    with style():
        figure = new_figure("F1 of present findings by the seconds spent")
        axes = figure.subplots()
        base = rows[0]["F1"]
        for arm, colour in COLOURS.items():
            mine = [row for row in rows if row["arm"] == arm]
            axes.scatter([r["budget"] for r in mine], [r["F1"] for r in mine], color=colour, s=18, alpha=0.7)
            budgets = sorted({r["budget"] for r in mine})
            means = [statistics.fmean(r["F1"] for r in mine if r["budget"] == budget) for budget in budgets]
            axes.plot([0, *budgets], [base, *means], color=colour, label=arm)
        axes.set_xlabel("seconds of steps")
        axes.set_ylabel("pooled over the evaluation studies, greedy")
        axes.set_ylim(0, 1)
        axes.legend(loc="lower right", fontsize=8)
        save(figure, path)


def main() -> int:
    made = parser(__doc__ or "", "runs/sft_then_rl")
    made.add_argument("--budgets", type=int, nargs="+", default=[120, 360], metavar="SECONDS")
    made.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    made.add_argument("--reports", type=Path, metavar="DIR", help="IU X-ray's csv files, for its real sentences")
    given = made.parse_intermixed_args()
    place = Path(given.runs).resolve()
    base = place / "base"
    if not (base / "config.json").exists():
        make_base(base)
    name = "sft_then_rl"
    settings = list(given.overrides)
    if given.reports:
        name, place = f"{name}_iu", place / "iu"
        settings += [f"demo.reports={given.reports.resolve()}", *REAL]
    real = given.reports is not None
    plan = Plan(place, base, settings, share_of(given.jobs))
    plan.measure()
    start = evaluate(place / "trial-rl", str(base), plan.share)
    chains = {
        (arm, budget, seed): plan.chain(arm, budget, seed)
        for budget in given.budgets
        for seed in given.seeds
        for arm in given.arms
    }
    missing = [chain for chain in chains.values() if not chain[-1].folder.with_suffix(".eval.json").exists()]
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(plan.finish, missing[: given.at_most]))
    rows: list[dict[str, Any]] = [{"arm": "base", **figures(start, real)}]
    for (arm, budget, seed), chain in chains.items():
        if chain[-1].folder.with_suffix(".eval.json").exists():
            found = evaluate(chain[-1].folder, "", plan.share)
            steps = " + ".join(str(len(load_run(run.folder)[0])) for run in chain)
            spent = {"budget": budget, "seed": seed, "seconds": round(seconds(chain)), "steps": steps}
            rows.append({"arm": arm, **spent, **figures(found, real)})
    where = machine()
    at_a_time = f", {given.jobs} runs at a time on a core each" if given.jobs > 1 else ""
    text = (
        f"# Supervised fine-tuning, reinforcement learning, or both\n\n`{command_line()}` on {where['cpu']}, "
        f"{where['cores']} cores{at_a_time}. "
        f"{EXPLAINED.format(against=RULES if real else LABELS)}\n\n{table(rows)}\n"
    )
    picture(rows, RESULTS / f"{name}.png")
    keep(name, text, {"machine": where, "rows": rows, "seconds per step": plan.per_step}, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
