"""A thousand steps on two ranks: does anything grow, and is what many faults have interrupted still the same run?

    python benchmarks/soak.py [--steps N] [--only steady|faults] [--runs DIR] [--json FILE] [section.key=value ...]

Both runs take the same cheap steps in float32 (16 candidates of at most 12 tokens), started by launch/single_node.sh,
with TensorBoard, samples, evaluations and checkpoints on. Both have the same judge, which fails on some cases, for a
moment or for good, and leaves others without a score (soak_judge.py), and the same studies, two of them with truncated
images.

    steady  is left alone. Memory (USS: what would be free if the process ended), threads and open files of every rank
            are read every second; growth is the slope of the medians of every 50 steps after the first 200, without
            the last one's, behind which the policy is exported.
    faults  is hit ten times, in turn by SIGTERM, a rank that is stopped for 5 seconds, SIGKILL of everything, and a
            disk that takes no checkpoint for a while. After each it is continued by the command that began it.

The last rows say whether both are one run: every metric of every step that is no time, all samples accounted for
(scored, not scorable, failed; studies set aside), and the final policy, bit by bit. A finished run is read
instead of repeated, and an interrupted one is continued.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
from machine import command_line, machine, write_json
from runs import keep

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "configs/demo_grpo.yaml"
STUDIES, GROUP, EVAL = 4, 4, 8
SETTINGS = (
    "model.dtype=float32",
    "train.learning_rate=1e-5",
    f"rollout.studies_per_step={STUDIES}",
    f"rollout.group_size={GROUP}",
    "rollout.max_completion_tokens=12",
    f"eval.studies={EVAL}",
    "eval.image_check=never",
    "scoring.max_retries=1",
    "scoring.max_failed_rate=0.5",
    "scoring.price_studies=0",
    "scoring.canary_every=0",
    "monitor.samples=4",
    "train.keep_checkpoints=2",
)
FIRST = 200  # steps after which memory should stand still
BLOCK = 50
KEPT = 1000  # steps from which on the result is kept
FAULTS = ("SIGTERM", "a stopped rank", "SIGKILL", "a full disk")
PATIENCE_S = 600.0
NO_FIGURE = ("time", "seconds", "latency", "in_flight", "per_second", "retries")  # depend on the clock or the process


def main() -> int:
    given = _arguments()
    folder = Path(given.runs).resolve()
    settings = [*SETTINGS, *prepare(folder), f"train.max_steps={given.steps}", *given.overrides]
    every = max(1, given.steps // 20)
    settings += [f"train.save_every={every}", f"eval.every={5 * every}", f"monitor.samples_every={5 * every}"]
    result: dict[str, Any] = {"command": command_line(), "machine": machine(), "steps": given.steps}
    if given.only != "faults":
        result["steady"] = steady(folder / "steady", settings)
    if given.only != "steady":
        result["faults"] = faulty(folder / "faults", settings, given.steps, given.faults)
    if not given.only:
        result["same"] = compare(folder / "steady", folder / "faults", given.steps)
    if given.steps >= KEPT:
        keep("soak", table(result), result, given.json)
    else:
        print(table(result))
        write_json(result, given.json)
    return 0 if result.get("same", {"ok": True})["ok"] else 1


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--steps", type=int, default=1000)
    made.add_argument("--faults", type=int, default=10, metavar="N", help="how often the second run is hit")
    made.add_argument("--only", choices=("steady", "faults"), help="one of the two runs, without the comparison")
    made.add_argument("--runs", metavar="DIR", default="runs/soak", help="where the run folders go")
    made.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    made.add_argument("overrides", nargs="*", metavar="section.key=value")
    return made.parse_intermixed_args()


def prepare(folder: Path) -> list[str]:
    """Draw the demo's studies once, and cut two images of the training split in the middle; settings that read them."""
    cache, rows = folder / "cache", folder / "studies.jsonl"
    settings = ["demo.studies=64", f"demo.cache={cache}"]
    command = [sys.executable, "-m", "online_rl.cli", "demo", "prepare", "--config", CONFIG, *settings]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (world,) = cache.glob("world-*")
    (policy,) = cache.glob("policy-*")
    studies = [json.loads(line) for line in (world / "studies.jsonl").read_text().splitlines()]
    for study in studies:
        study["image_paths"] = [str(world / path) for path in study["image_paths"]]
    for study in [s for s in studies if s["split"] == "train"][3:13:9]:
        whole = Path(study["image_paths"][0]).read_bytes()
        cut = folder / f"cut-{study['study_id']}.png"
        cut.write_bytes(whole[: len(whole) // 2])
        study["image_paths"] = [str(cut)]
    rows.write_text("".join(json.dumps(study) + "\n" for study in studies))
    judge = f"judges=[{{use: '{ROOT / 'benchmarks' / 'soak_judge.py'}:Faulty'}}]"
    data = [f"data.path={rows}", "data.reader=jsonl", "data.bad_images_budget=5"]
    return [*data, f"model.path={policy}", judge, "guards=[]"]


class Launch:
    """A training under the launcher, in a session of its own."""

    def __init__(self, run_dir: Path, settings: Sequence[str]) -> None:
        self.run_dir = run_dir
        command = ["bash", "launch/single_node.sh", CONFIG, *settings, f"run.dir={run_dir}", "resume=auto"]
        self._log = run_dir.with_suffix(".log").open("ab")
        env = {**os.environ, "RANKS": "2", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def everything(self) -> list[psutil.Process]:
        """Every process of the session; launchers make process groups of their own."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.Error):
                continue
        return found

    def ranks(self) -> dict[int, psutil.Process]:
        """The trainers, by rank."""
        found = {}
        for process in self.everything():
            try:
                words = process.cmdline()
                if "online_rl.train" in words and "deepspeed.launcher.launch" not in words:
                    found[int(process.environ()["RANK"])] = process
            except (psutil.Error, KeyError):
                continue
        return found

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        code = self.process.wait(timeout_s)
        self._log.close()
        return code

    def wait_for_step(self, step: int) -> bool:
        """Whether the run came to that step; False if it ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while last_step(self.run_dir) < step:
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                sys.exit(f"{self.run_dir}: no step in {PATIENCE_S:.0f} s; look at {self._log.name}.")
            time.sleep(0.1)
        return True


def records(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(run_dir)]


def last_step(run_dir: Path) -> int:
    """The step of the last line. No other line is parsed, because the run needs the cores meanwhile."""
    return next((json.loads(line)["step"] for line in _lines(run_dir)[-1:]), 0)


def _lines(run_dir: Path) -> list[bytes]:
    path = run_dir / "metrics.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # the last one may be half written


# ---- the run that is left alone


def steady(run_dir: Path, settings: Sequence[str]) -> dict[str, Any]:
    """Train it, and read what its processes hold."""
    kept = run_dir.with_suffix(".memory.jsonl")
    if not (run_dir / "model").is_dir():
        kept.unlink(missing_ok=True)
        launch = Launch(run_dir, settings)
        watcher = threading.Thread(target=_watch, args=(launch, kept), daemon=True)
        watcher.start()
        if code := launch.process.wait():
            sys.exit(f"{run_dir}: exit code {code}; look at {run_dir}.log.")
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    return growth([row for row in rows if row["step"] < last_step(run_dir)])  # behind it the policy is exported


def _watch(launch: Launch, kept: Path) -> None:
    with kept.open("a") as file:
        while launch.process.poll() is None:
            step = last_step(launch.run_dir)
            for rank, process in launch.ranks().items() if step else ():
                try:
                    held = {"mib": process.memory_full_info().uss / 2**20, "threads": process.num_threads()}
                    row = {"step": step, "rank": rank, **held, "files": process.num_fds()}
                except psutil.Error:  # it has just ended
                    continue
                file.write(json.dumps(row) + "\n")
            file.flush()
            time.sleep(1)


def growth(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By rank: MiB at FIRST and at the end, MiB per 100 steps in between, threads and files at both."""
    found = {}
    for rank in sorted({row["rank"] for row in rows}):
        blocks: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            if row["rank"] == rank:
                blocks.setdefault(row["step"] // BLOCK * BLOCK, []).append(row)
        medians = {
            step: {name: statistics.median(row[name] for row in block) for name in ("mib", "threads", "files")}
            for step, block in sorted(blocks.items())
        }
        later = {step: median for step, median in medians.items() if step >= FIRST} or medians
        steps = list(later)
        mib = [median["mib"] for median in later.values()]
        slope = statistics.linear_regression(steps, mib).slope * 100 if len(steps) > 1 else None
        first, last = later[steps[0]], later[steps[-1]]
        found[str(rank)] = {"mib_per_100_steps": slope, "first": first, "last": last, "from": steps[0], "to": steps[-1]}
    return found


# ---- the run that is hit


def faulty(run_dir: Path, settings: Sequence[str], steps: int, count: int) -> list[dict[str, Any]]:
    """Train it through `count` faults at even distances; what became of each."""
    kept = run_dir.with_suffix(".faults.json")
    happened: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    kinds = cycle(FAULTS)
    planned = [(steps * (i + 1) // (count + 1), next(kinds)) for i in range(count)][len(happened) :]
    launch = None
    for step, kind in planned:
        launch = launch or Launch(run_dir, settings)
        if not launch.wait_for_step(step):
            sys.exit(f"{run_dir}: exit code {launch.wait()} before step {step}; look at {run_dir}.log.")
        start = time.monotonic()
        code = hit(launch, kind)
        seconds = round(time.monotonic() - start, 1)
        happened.append({"step": last_step(run_dir), "fault": kind, "exit_code": code, "seconds": seconds})
        kept.write_text(json.dumps(happened))
        launch = launch if code is None else None
    if not (run_dir / "model").is_dir():
        launch = launch or Launch(run_dir, settings)
        if code := launch.process.wait():
            sys.exit(f"{run_dir}: exit code {code} at the end; look at {run_dir}.log.")
    return happened


def hit(launch: Launch, kind: str) -> int | None:
    """Do it, and wait until the run has ended: its exit code. None for a fault that it outlives."""
    if kind == "SIGTERM":
        launch.process.send_signal(signal.SIGTERM)
    elif kind == "SIGKILL":
        for process in launch.everything():
            process.kill()
    elif kind == "a stopped rank":
        rank = launch.ranks()[1]
        rank.suspend()
        time.sleep(5)
        rank.resume()
        return None
    else:
        _fill_the_disk(launch)
    code = launch.wait()
    left = launch.everything()
    for process in left:
        process.kill()
    if left and kind != "SIGKILL":
        sys.exit(f"{launch.run_dir}: {len(left)} processes outlived {kind}.")
    return code


def _fill_the_disk(launch: Launch) -> None:
    """No rank can write a file that is larger than the run's metrics and events: a checkpoint cannot be saved.

    The limit is of the processes (RLIMIT_FSIZE), so it ends with them.
    """
    own = [p.stat().st_size for p in launch.run_dir.rglob("*") if p.is_file() and "checkpoints" not in p.parts]
    size = max(own) + 2**20
    for process in launch.ranks().values():
        process.rlimit(psutil.RLIMIT_FSIZE, (size, process.rlimit(psutil.RLIMIT_FSIZE)[1]))


# ---- are they one run


def compare(ours: Path, theirs: Path, steps: int) -> dict[str, Any]:
    """The two runs, figure by figure."""
    accounts = [account(run, steps) for run in (ours, theirs)]
    figures = [[_without_clock(record) for record in records(run)] for run in (ours, theirs)]
    differing = [a["step"] for a, b in zip(*figures, strict=False) if a != b]
    found: dict[str, Any] = {
        "records": [len(rows) for rows in figures],
        "first_difference": min(differing, default=None),
        "accounts": accounts,
        "policies": [policy_hash(run) for run in (ours, theirs)],
        "set_aside": [_set_aside(run) for run in (ours, theirs)],
    }
    pairs = ("records", "accounts", "policies", "set_aside")
    found["ok"] = not differing and all(found[name][0] == found[name][1] for name in pairs)
    return found


def _without_clock(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not any(word in key for word in NO_FIGURE)}


def account(run_dir: Path, steps: int) -> dict[str, int]:
    """What became of every sampled completion. Ends the benchmark if a step is missing or a number is not whole."""
    rows = [record for record in records(run_dir) if not record.get("eval")]
    if [row["step"] for row in rows] != list(range(1, steps + 1)):
        sys.exit(f"{run_dir}/metrics.jsonl: expected the steps 1 to {steps}, each once.")
    found = {"sampled": 0, "not scorable": 0, "failed": 0, "scored": 0, "studies set aside": 0}
    for row in rows:
        extra = row.get("rollout/extra_studies", 0.0)
        sampled = (STUDIES + extra) * GROUP
        parts = [sampled * row["judge/unscorable_rate"], sampled * row["judge/failed_rate"], sampled, -extra]
        if any(abs(part - round(part)) > 1e-6 for part in parts):
            sys.exit(f"{run_dir}: step {row['step']}: {parts} completions, which is no whole number.")
        unscorable, failed, total, aside = map(round, parts)
        for name, count in zip(found, (total, unscorable, failed, total - unscorable - failed, aside), strict=True):
            found[name] += count
    return found


def policy_hash(run_dir: Path) -> str:
    files = sorted((run_dir / "model").glob("*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _set_aside(run_dir: Path) -> list[str]:
    path = run_dir / "quarantine.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted({json.loads(line)["row"] for line in lines})


def table(result: dict[str, Any]) -> str:
    told = result["machine"]
    lines = [f"# {result['steps']} steps on two ranks, left alone and hit by faults", ""]
    lines += [f"`{result['command']}`, {told['cpu']}, {told['cores']} cores, Python {told['python']}", ""]
    if "steady" in result:
        lines += ["| rank | steps | MiB | MiB per 100 steps | threads | open files |", "|---|---|---|---|---|---|"]
        for rank, row in result["steady"].items():
            a, b, slope = row["first"], row["last"], row["mib_per_100_steps"]
            cells = [rank, f"{row['from']} to {row['to']}", f"{a['mib']:.0f} to {b['mib']:.0f}"]
            cells += ["" if slope is None else f"{slope:+.2f}", f"{a['threads']:.0f} to {b['threads']:.0f}"]
            lines.append(f"| {' | '.join(cells)} | {a['files']:.0f} to {b['files']:.0f} |")
        lines.append("")
    if "faults" in result:
        lines += ["| at step | fault | exit code | seconds until it had ended |", "|---|---|---|---|"]
        for row in result["faults"]:
            code = "went on" if row["exit_code"] is None else str(row["exit_code"])
            lines.append(f"| {row['step']} | {row['fault']} | {code} | {row['seconds']} |")
        lines.append("")
    if "same" in result:
        same, (ours, theirs) = result["same"], result["same"]["accounts"]
        lines += ["| | left alone | hit |", "|---|---|---|"]
        lines += [f"| completions {name} | {ours[name]:,} | {theirs[name]:,} |" for name in ours]
        lines.append(f"| final policy, SHA-256 | {' | '.join(same['policies'])} |")
        first = same["first_difference"]
        equal = "in no step" if first is None else f"from step {first} on"
        lines += ["", f"Metrics that do not depend on the clock differ {equal}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
