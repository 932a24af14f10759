"""One policy writes its most likely report for every study of a split, and judges score them.

`command.py` beside this file runs it as `python -m online_rl.commands.eval.worker` with a `Task` as JSON on stdin: a
process of its own, so that the memory of one policy is given back before the next is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from judges.identity import identify
from online_rl import __version__
from online_rl.commands.eval.image_check import check, read_check, write_check
from online_rl.commands.eval.keeping import is_finished, keeping, write_about
from online_rl.commands.eval.rows import ROWS, make_row
from online_rl.commands.eval.source import ABOUT, SCORES, Policy
from online_rl.commands.eval.summary import read_rows
from online_rl.commands.eval.writing import Writer, make_writer, quiet
from online_rl.commands.score.journal import Journal
from online_rl.config import Config, config_from_dict
from online_rl.data.draw import draw_by_patient
from online_rl.data.readers import read_studies
from online_rl.data.studies import Studies
from online_rl.data.study import Study
from online_rl.errors import DataError, JudgeFailed
from online_rl.exits import run_with_exit_codes
from online_rl.provenance import data_hashes
from online_rl.truth.labels import Reader

# What a greedy report or its scores depend on, beside policy, studies and judges.
DEPENDS_ON = (
    ("model", ("dtype",)),
    ("data", ("prompt", "system_prompt", "prior", "section", "report_format", "max_images", "image_max_side")),
    ("rollout", ("max_completion_tokens", "max_model_len", "reasoning_tags", "engine_args")),
    ("scoring", ("truncated", "multi_objective_aggregation")),
)
OTHERS = (
    "holds finished results of another evaluation (other {}). Add --overwrite to replace them, or name another "
    "--output."
)


@dataclass(frozen=True)
class Task:
    """config   of the run, with the judges that are asked
    policy   `Policy.as_dict()`
    folder   where the results go
    split    train, eval or test
    studies  how many, drawn by patient; None = all that the config keeps
    reports  keep the texts as well
    image_check  write reports on other patients' images as well
    part     (i, n): every nth study from the ith on is this process's; another one puts the parts together
    """

    config: dict[str, Any]
    policy: dict[str, Any]
    folder: str
    split: str
    studies: int | None
    reports: bool
    overwrite: bool
    image_check: bool = False
    part: tuple[int, int] | None = None

    def places(self, total: int) -> range:
        """Which of the split's studies, counted from 0, are this process's."""
        first, step = self.part or (0, 1)
        return range(first, total, step)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is scored is kept, judges are closed
    task = Task(**json.load(sys.stdin))
    if task.reports:
        os.umask(0o077)  # report texts are for the user's eyes alone
    evaluate(task)
    return 0


def evaluate(task: Task) -> None:
    """Write `scores.jsonl` and `about.json`. Finished results of the same task are left as they are; those of another
    are refused. What an interrupted evaluation has scored is kept, and the next one continues behind it."""
    from online_rl.environment import prepare_environment

    prepare_environment()
    from online_rl.demo.prepare import prepare
    from online_rl.demo.reader import read_report
    from online_rl.scoring import Scorer
    from online_rl.scoring.setup import dry_call, load_judges, make_blend

    policy = Policy(**task.policy)
    data = task.config
    data["model"] |= {"path": policy.path, "revision": policy.revision}
    data["run"]["dir"] = task.folder  # nothing is written to the run, whose model this may be
    if task.studies is not None and task.split == "eval":
        data["eval"]["studies"] = task.studies  # as many are kept
    cfg = config_from_dict(data)
    demo = prepare(cfg)
    path = str(demo.policy or cfg.model.path)
    found, left_out = _studies(cfg, demo.world, task)
    studies: list[Study] = getattr(found, task.split)
    if task.studies is not None:
        drawn = {study.study_id for study in draw_by_patient(studies, task.studies)}
        studies = [study for study in studies if study.study_id in drawn]
    judges, guards = load_judges(cfg)
    identities = [  # `url` and `urls` say where a judge is, not what it is
        identify(judge, entry.use, {k: v for k, v in entry.args.items() if k not in ("url", "urls")}).hash
        for judge, entry in zip([*(j for j, _ in judges), *guards], [*cfg.judges, *cfg.guards], strict=True)
    ]
    of = _what(cfg, policy.fingerprint(path), studies, identities, task)
    places = task.places(len(studies))
    folder = Path(task.folder)
    note = f" ({left_out})" if left_out else ""
    finished = is_finished(folder / SCORES, of, task.overwrite, "scores", OTHERS)
    checked = not task.image_check or (finished and read_check(folder, of) is not None)
    if finished:
        _say(f"{policy.label}: {len(places)} studies of the {task.split} split are in {folder} already{note}")
    if finished and checked:
        return
    tools = _Tools(
        Scorer(judges, cfg, guards, make_blend(cfg)),
        lambda judges: make_writer(cfg, policy, path, judges, found.quarantine),
        lambda scorer: dry_call(scorer, studies[0], cfg),
    )
    labelled = cfg.data.reader == "demo" and cfg.demo.reports is None
    reader = read_report if labelled else None  # the demo's sentences alone are known to it
    try:
        if not finished:
            _score(folder, of, studies, places, tools, task, reader, note)
            write_about(folder, {"policy": policy.said, "split": task.split, "left_out": left_out, "of": of})
        if not checked:
            _say(f"{policy.label}: {len(studies)} studies again with other patients' images")
            with tools.at_work():
                rows, at_once = read_rows(folder), cfg.rollout.max_num_seqs
                image = check(rows, studies, tools.write, tools.scorer, at_once, reader, tools.write.forcing)
            write_check(folder, of, image)
    except JudgeFailed as problem:  # the scorer speaks of training
        message = str(problem).replace("start again with resume=auto", "give the same command again")
        raise JudgeFailed(message) from None
    finally:
        tools.scorer.close()


class _Tools:
    """Judges and engine, started when they are first needed; what they say meanwhile is thrown away."""

    write: Writer

    def __init__(self, scorer: Any, make: Callable[[list[Any]], Any], try_out: Callable[[Any], None]) -> None:
        self.scorer = scorer
        self._make, self._try_out = make, try_out
        self._started = False

    @contextmanager
    def at_work(self) -> Iterator[TextIO]:
        """Yields what was stderr before."""
        with quiet() as terminal:
            if not self._started:
                self.scorer.start()
                self._try_out(self.scorer)
                self.write = self._make([judge for judge, _ in self.scorer.judges])
                self._started = True
            yield terminal


def _score(
    folder: Path,
    of: dict[str, Any],
    studies: list[Study],
    places: Sequence[int],
    tools: _Tools,
    task: Task,
    reader: Reader | None,
    note: str,
) -> None:
    """Write `scores.jsonl`, behind what an interrupted evaluation has left and what other processes have scored."""
    (folder / ABOUT).unlink(missing_ok=True)
    label = task.policy["label"]
    with keeping(folder / SCORES, of, task.overwrite, f"{len(places)} studies are scored") as journal:
        parts = _take_parts(journal, folder, of, len(studies))
        todo = [place for place in places if place not in journal.rows]
        if todo or not parts:
            _say(f"{label}: {len(todo)} of {len(places)} studies of the {task.split} split{note}")
        if todo:
            with tools.at_work() as terminal:
                _fill(journal, studies, todo, tools, task, terminal, reader)
    for part in parts:
        shutil.rmtree(part)


def part_of(folder: Path, part: tuple[int, int]) -> Path:
    """Where the results of one part of an evaluation go until they are put together."""
    return folder / f"part-{part[0] + 1}-of-{part[1]}"


def _take_parts(journal: Journal, folder: Path, of: dict[str, Any], total: int) -> list[Path]:
    """Add the rows of the finished parts of this evaluation to the journal; returns their folders."""
    taken = []
    for about in sorted(folder.glob(f"part-*/{ABOUT}")):
        part = json.loads(about.read_text(encoding="utf-8"))["of"]
        first, step = part.pop("part")
        if part == json.loads(json.dumps(of)):
            rows = dict(zip(range(first, total, step), read_rows(about.parent), strict=True))
            new = [place for place in rows if place not in journal.rows]
            journal.add(new, [rows[place] for place in new])
            taken.append(about.parent)
    return taken


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _studies(cfg: Config, world: Path | None, task: Task) -> tuple[Studies, str]:
    """All studies, and what is left out of the split in words."""
    found = read_studies(cfg, world)
    kept: list[Study] = getattr(found, task.split)
    if not kept:
        there = ", ".join(f"{split} {len(getattr(found, split))}" for split in ("train", "eval", "test"))
        raise DataError(f"--split: the data has no study in {task.split!r} ({there}). Name another split.")
    over = found.report.get(f"{task.split} studies over the limit", 0)
    if task.studies is not None and task.studies <= len(kept) and task.studies < len(kept) + over:
        return found, f"of {len(kept) + over}, by --studies"
    key = "eval.studies" if task.split == "eval" else "data.max_train_studies"
    return found, f"{over} more are left out by {key}={len(kept)}" if over else ""


def _what(cfg: Config, weights: str, studies: Sequence[Study], identities: list[str], task: Task) -> dict[str, Any]:
    """What the results are of. Interrupted or finished results of anything else are not taken for these."""
    dump = cfg.model_dump(mode="json")
    entries = [
        {key: entry[key] for key in entry if key != "args"} | {"hash": identity}
        for entry, identity in zip([*dump["judges"], *dump["guards"]], identities, strict=True)
    ]
    part = {} if task.part is None else {"part": list(task.part)}
    priors = [[s.prior.study_id, s.prior.reference] if s.prior else None for s in studies]
    contents = {**data_hashes(studies), "counts": [len(s.images) for s in studies], "priors": priors}
    return {
        "policy": weights,
        "split": task.split,
        "studies": hashlib.sha256(json.dumps(contents).encode()).hexdigest(),
        "judges": entries,
        "reports": task.reports,
        "rows": ROWS,
        "version": __version__,
        **part,
        **{f"{section}.{key}": dump[section][key] for section, keys in DEPENDS_ON for key in keys},
    }


def _fill(
    journal: Journal,
    studies: list[Study],
    todo: list[int],
    tools: _Tools,
    task: Task,
    terminal: TextIO,
    reader: Reader | None,
) -> None:
    """Score as many studies at a time as the engine decodes at once, and keep their rows before the next ones."""
    patients = _numbered(studies)
    size = task.config["rollout"]["max_num_seqs"]
    label = task.policy["label"]
    total = len(task.places(len(studies)))
    with _progress(terminal, label, total, total - len(todo), task.part) as advance:
        for start in range(0, len(todo), size):
            places = todo[start : start + size]
            rollouts = tools.write([studies[place] for place in places])
            rollouts.stream = _watched(rollouts.stream, advance)
            written = {g[0].completion.prompt.study.study_id: g[0] for g in tools.scorer.score(rollouts).groups}
            rows = [
                make_row(studies[place], written.get(studies[place].study_id), patients, task.reports, reader)
                for place in places
            ]
            journal.add(places, rows)


def _numbered(studies: Sequence[Study]) -> Mapping[str, int]:
    """A number for each patient, in the order of their first studies."""
    patients: dict[str, int] = {}
    for study in studies:
        patients.setdefault(study.patient, len(patients))
    return patients


def _watched(stream: Any, advance: Callable[[], Any]) -> Iterator[Any]:
    for completion in stream:
        advance()
        yield completion


@contextmanager
def _progress(
    terminal: TextIO, label: str, total: int, done: int, part: tuple[int, int] | None
) -> Iterator[Callable[[], Any]]:
    """A bar on a terminal; nothing elsewhere. Of several processes, whose parts are equally long, the first has it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=terminal)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not console.is_terminal or (part is not None and part[0] > 0)
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda: bar.advance(task)


if __name__ == "__main__":
    code = run_with_exit_codes(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
