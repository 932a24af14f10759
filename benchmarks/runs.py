"""Training runs as benchmarks make them: through the launcher that users take, each once, in pieces where need be."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from machine import write_json

from online_rl.pictures.plots import load_run

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("step_time", "time/generate", "time/judge_exposed", "time/update", "time/sync")  # where a step's seconds go


class Run(NamedTuple):
    """One training: a recipe, the settings over it, and the folder that it writes to.

    stage  what stands before the recipe on the command line: ("sft",) for the supervised stage
    """

    recipe: str
    folder: Path
    overrides: tuple[str, ...]
    stage: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return (self.folder / "model").exists()


def parser(description: str, runs: str, seeds: tuple[int, ...] = (0, 1, 2)) -> argparse.ArgumentParser:
    """The arguments that these benchmarks share; read them with `parse_intermixed_args`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    made.add_argument("--at-most", type=int, metavar="N", help="train no more than N runs now; 0 = only read")
    made.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, each on its share of the cores")
    made.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    made.add_argument("--runs", metavar="DIR", default=runs, help="where the run folders go")
    made.add_argument("overrides", nargs="*", metavar="section.key=value")
    return made


def train_missing(runs: Iterable[Run], at_most: int | None = None, jobs: int = 1) -> None:
    """Train what is not there yet, in this order, `at_most` so many, `jobs` at a time.

    A run folder of the same settings is read, not repeated; one of other settings ends the benchmark. Where several
    run at a time, each has a rank per core of its share, their seconds compare with each other's alone.
    """
    missing = [run for run in runs if not is_there(run)][:at_most]
    share = share_of(jobs)
    with ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(train, run, share) for run in missing]
        try:
            for one in as_completed(started):
                one.result()
        finally:
            for one in started:
                one.cancel()


def share_of(jobs: int) -> dict[str, str]:
    """Environment variables of one run when `jobs` run at a time: a rank for each core of its share."""
    return {} if jobs == 1 else {"RANKS": str(max(1, (os.cpu_count() or 1) // jobs)), "OMP_NUM_THREADS": "1"}


def is_there(run: Run) -> bool:
    """Whether the run is finished; ends the benchmark if its folder holds one of other settings."""
    if not run.finished:
        return False
    note = _note(run)
    if not note.exists() or json.loads(note.read_text())["overrides"] != list(run.overrides):
        sys.exit(f"{run.folder} holds a run with other settings, see {note}. Remove it, or name another --runs.")
    return True


def _note(run: Run) -> Path:
    return run.folder.with_suffix(".json")


def train(run: Run, variables: Mapping[str, str]) -> None:
    """Train, with `variables` in the environment; the log lies beside the run folder.

    A run that was interrupted there is continued.
    """
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    _note(run).write_text(json.dumps({"recipe": run.recipe, "overrides": run.overrides}, indent=1) + "\n")
    command = [
        "bash",
        "launch/single_node.sh",
        *run.stage,
        run.recipe,
        f"run.dir={run.folder}",
        *run.overrides,
        "resume=auto",
    ]
    log, started = run.folder.with_suffix(".log"), time.monotonic()
    with log.open("w") as out:
        done = subprocess.run(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | variables, check=False
        )
    if done.returncode:
        raise SystemExit(f"{run.folder.name}: exit code {done.returncode}; see {log}")
    print(f"{run.folder.name}: {time.monotonic() - started:.0f} s", flush=True)


def train_anew(run: Run) -> list[dict[str, float]]:
    """Train, whatever the folder held, and return the metrics of its steps."""
    shutil.rmtree(run.folder, ignore_errors=True)
    train(run, {})
    return load_run(run.folder)[0]


def medians(many: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians of the `PARTS` over steps, or over rounds."""
    return {name: statistics.median(one[name] for one in many) for name in PARTS}


def before_and_after(folder: Path, metrics: dict[str, str]) -> dict[str, list[float]]:
    """`metrics` (our name to the name in metrics.jsonl) of the greedy reports before and after training."""
    _, evaluations = load_run(folder)
    return {name: [evaluations[i][key] for i in (0, -1)] for name, key in metrics.items()}


def mean(runs: list[Any]) -> Any:
    """The mean of figures of one form: numbers, lists or dictionaries of them."""
    first = runs[0]
    if isinstance(first, dict):
        return {key: mean([run[key] for run in runs]) for key in first}
    if isinstance(first, list):
        return [mean(list(column)) for column in zip(*runs, strict=True)]
    return statistics.fmean(runs)


def keep(name: str, text: str, result: dict[str, Any], also: str | None = None) -> None:
    """Print the result and keep it in benchmarks/results/: NAME.json, and NAME.md, ended by NAME.notes.md, which is
    what was seen and cannot be computed. `also` is a further place for the JSON."""
    print(text)
    RESULTS.mkdir(exist_ok=True)
    notes = RESULTS / f"{name}.notes.md"
    (RESULTS / f"{name}.md").write_text(text + (f"\n{notes.read_text()}" if notes.exists() else ""))
    write_json(result, RESULTS / f"{name}.json")
    write_json(result, also)
