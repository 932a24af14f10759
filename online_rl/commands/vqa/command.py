"""`online-rl eval-vqa`: which policies, which questions; the table; two policies by McNemar's test."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_rl.commands.eval.command import read_config
from online_rl.commands.eval.keeping import write_report
from online_rl.commands.eval.process import Say, run_worker
from online_rl.commands.eval.source import ABOUT, START, Policy, find, find_run
from online_rl.commands.vqa.worker import ANSWERS, Task
from online_rl.config import Config
from online_rl.errors import ConfigError, DataError
from online_rl.vqa.accuracy import Row, compare, summarise
from online_rl.vqa.formats import FORMATS

if TYPE_CHECKING:
    from rich.console import RenderableType


def evaluate_vqa(
    policy: str,
    questions: Sequence[str] = (),
    against: str | None = None,
    config: Path | None = None,
    image_root: Path | None = None,
    split: str = "test",
    max_tokens: int = 32,
    output: Path | None = None,
    texts: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Ask one policy, or two, every question; return what `summary.json` holds.

    policy, against  as in `online-rl eval`, or a folder of answers of an earlier call
    questions        FORMAT=FILE of each set
    split            of vqa_rad: test or train
    max_tokens       of an answer
    output           folder of the results; None = eval/vqa in the run folder, or here

    Raises UserError; RankFailed, whose error the worker has printed already.
    """
    if split not in ("test", "train"):
        raise ConfigError(f"--split: found {split!r}, expected test or train (it concerns vqa_rad alone).")
    sets = [_set(text) for text in questions]
    run = find_run(policy) or (find_run(against) if against and policy == START else None)
    place = output or (run or Path()) / "eval" / "vqa"
    cfg = read_config(policy, config, run, overrides, ()) if config or run else None
    sources = [_source(text, cfg, sets, say) for text in (policy, *([against] if against else []))]
    if texts and cfg is not None and cfg.data.confidential:
        raise ConfigError("--texts: found it beside data.confidential=true, expected no text on disk. Leave it out.")
    found: list[tuple[str, list[Row]]] = []
    for source in sources:
        folder = source if isinstance(source, Path) else place / _label(source, found)
        if isinstance(source, Policy):
            assert cfg is not None
            what = dataclasses.replace(source, label=folder.name).as_dict()
            root = str(image_root) if image_root else None
            task = Task(cfg.model_dump(mode="json"), what, str(folder), sets, root, split, max_tokens, texts, overwrite)
            run_worker("online_rl.commands.vqa.worker", task, say)
        found.append((folder.name, read_answers(folder)))
    report = report_of(found)
    if any(isinstance(source, Policy) for source in sources) or output:
        write_report(place / "summary.json", report, "answers")
        say(f"results  {place}")
    return report


def report_of(found: Sequence[tuple[str, Sequence[Row]]]) -> dict[str, Any]:
    """Raises DataError if two policies were asked different questions."""
    report: dict[str, Any] = {"policies": [{"label": label, "accuracy": summarise(rows)} for label, rows in found]}
    if len(found) > 1:
        (ours, mine), (theirs, other) = found
        ids = [{row["question_id"] for row in rows} for rows in (mine, other)]
        if ids[0] != ids[1]:
            raise DataError(
                f"{ours} answered {len(ids[0])} questions, {theirs} {len(ids[1])}, {len(ids[0] & ids[1])} of them the "
                "same. Ask both the same --questions."
            )
        report["comparison"] = {"of": ours, "against": theirs, "differences": compare(mine, other)}
    return report


def read_answers(folder: Path) -> list[Row]:
    """The rows of an earlier call. Raises DataError if they are not whole."""
    needed = {"question_id", "source", "task", "group", "status", "right"}
    try:
        with (folder / ANSWERS).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        if not rows or not (folder / ABOUT).is_file() or any(needed - row.keys() for row in rows):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise DataError(
            f"{folder}: {ANSWERS} is not what this version of `online-rl eval-vqa` writes. Ask again with --overwrite."
        ) from None
    return rows


def tables(report: dict[str, Any]) -> list[RenderableType]:
    """Accuracy by source and task; with two policies the difference and McNemar's p."""
    from rich.table import Table

    policies = report["policies"]
    differences = report.get("comparison", {}).get("differences")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    labels = [policy["label"] for policy in policies]
    last = ["difference (95 %)", "McNemar p"] if differences else ["unreadable"]
    for i, heading in enumerate(["", "questions", *labels, *last]):
        table.add_column(heading, justify="right" if i else "left", overflow="fold")
    for name, first in policies[0]["accuracy"].items():
        if differences:
            change = differences.get(name)
            cells = [_number(p["accuracy"].get(name, {}).get("accuracy")) for p in policies]
            cells += [_interval(change, "difference", "+"), f"{change['p']:.3g}"] if change else ["-", "-"]
        else:
            cells = [_interval(first, "accuracy"), str(first["unreadable"])]
        table.add_row(name, str(first["questions"]), *cells)
    notes = ["unreadable answers count as wrong; intervals by patient, or by image"]
    for policy in policies:
        found = policy["accuracy"]["all"]
        notes.append(f"{policy['label']}: {found['unreadable']} of {found['questions']} answers unreadable")
        if found["not_asked"]:
            notes[-1] += f"; {found['not_asked']} questions were not asked, their images cannot be decoded"
    return [table, *notes]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(found: dict[str, Any], key: str, sign: str = "") -> str:
    if found[key] is None:
        return "-"
    ends = "" if found["low"] is None else f" ({found['low']:{sign}.3f}..{found['high']:{sign}.3f})"
    return f"{found[key]:{sign}.3f}{ends}"


def _set(text: str) -> list[str]:
    name, equals, file = text.partition("=")
    if not equals or name not in FORMATS:
        raise ConfigError(f"--questions: found {text!r}, expected FORMAT=FILE with one of {', '.join(FORMATS)}.")
    return [name, file]


def _source(text: str, cfg: Config | None, sets: Sequence[Sequence[str]], say: Say) -> Policy | Path:
    if (Path(text) / ANSWERS).is_file():
        return Path(text)
    found = find(text, cfg or Config(), lambda line: say(f"note: {line}"))
    if not isinstance(found, Policy):
        raise DataError(f"{text}: holds scores of reports, not answers. Name a policy, or results of eval-vqa.")
    if cfg is None:
        raise ConfigError(f"--config: found none, and {text} lies in no run folder. Name the YAML file of its limits.")
    if not sets:
        raise ConfigError(f"--questions: found none; expected FORMAT=FILE with one of {', '.join(FORMATS)}.")
    return found


def _label(source: Policy, found: Sequence[tuple[str, Any]]) -> str:
    return source.label if source.label not in [label for label, _ in found] else f"{source.label}-2"
