"""`online-rl eval`: which policies, which studies, which judges; the tables; and everything that is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judges.green.place import visible_gpus
from online_rl import __version__
from online_rl.commands.eval import worker
from online_rl.commands.eval.image_check import read_check
from online_rl.commands.eval.keeping import write_report
from online_rl.commands.eval.process import Say, run_worker, run_workers
from online_rl.commands.eval.source import ABOUT, SCORES, START, Policy, Results, find, find_run
from online_rl.commands.eval.summary import Evaluated, compare, method, read_results, summarise
from online_rl.config import Config, config_from_dict, load_config
from online_rl.data.split_words import SPLITS
from online_rl.errors import ConfigError, DataError
from online_rl.paths import refuse_overlap, same_place


def evaluate_policies(
    policy: str,
    against: str | None = None,
    config: Path | None = None,
    split: str = "eval",
    judges: Sequence[str] = (),
    output: Path | None = None,
    studies: int | None = None,
    reports: bool = False,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    json_file: Path | None = None,
    image_check: bool = False,
    table: str | None = None,
    rexrank: Path | None = None,
    processes: int | None = None,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Evaluate one policy, or two on the same studies; return what `--json` holds.

    policy, against  see `source.py`; results of an earlier call are read, nothing is generated for them
    config           None = that of the run that `policy` lies in
    judges           names as in `online-rl score`, or of the config; none = the config's judges and guards
    output           folder of the results, one folder in it per policy; None = eval/SPLIT in the run folder, or here
    studies          how many of the split, drawn by patient
    reports          keep reference and candidate in the rows
    overwrite        replace finished results of another evaluation
    image_check      write reports on other patients' images as well
    table            "paper": also write `paper.md`, `paper.tex` and `paper.csv`
    rexrank          also write the reports of `policy` as ReXrank takes them; they are then kept in the rows as well
    processes        that share the studies, each on a GPU of its own; None = one per GPU

    Raises UserError; RankFailed, whose error the worker has printed already.
    """
    if table not in (None, "paper"):
        raise ConfigError(f"--table: found {table!r}, expected paper.")
    gpus = _gpus(processes)
    split, reports = _split(split), reports or rexrank is not None
    run = find_run(policy) or (find_run(against) if against and policy == START else None)
    cfg = read_config(policy, config, run, overrides, judges) if config or run else None
    sources = [_find(text, cfg, say) for text in (policy, *([against] if against else []))]
    if cfg is not None and reports and cfg.data.confidential:
        raise ConfigError(
            f"{'--rexrank' if rexrank else '--reports'}: found it beside data.confidential=true, expected no report "
            "text on disk. Leave it out, or add data.confidential=false to this command if its folder may hold reports."
        )
    place = output or (run or Path()) / "eval" / (f"{split}-{studies}" if studies else split)
    labels = _labels(sources)
    data = Path(cfg.data.path) if cfg is not None and cfg.data.path else None
    _refuse_lost_files(sources, labels, place, {"--config": config, "data.path": data}, json_file, rexrank)
    evaluated = []
    for source, label in zip(sources, labels, strict=True):
        if isinstance(source, Policy):
            assert cfg is not None
            what = dataclasses.replace(source, label=label).as_dict()
            folder = place / label
            dump = cfg.model_dump(mode="json")
            _evaluate(worker.Task(dump, what, str(folder), split, studies, reports, overwrite, image_check), gpus, say)
        else:
            folder = source.folder
            if image_check and read_check(folder) is None:
                raise ConfigError(
                    f"--image-check: found kept results without one in {folder}, expected a policy that can write "
                    "reports. Name the run, checkpoint or model folder."
                )
        evaluated.append(read_results(folder, label))
    if rexrank:
        from online_rl.commands.eval.rexrank import write_submission

        say(f"ReXrank  {write_submission(rexrank, evaluated[0].rows, cfg, split)}")
    report = _report(evaluated)
    if output or any(isinstance(source, Policy) for source in sources):
        write_report(place / "summary.json", report, "scores")
        from online_rl.commands.eval.picture import draw

        say(f"picture  {draw(report, evaluated, place / 'eval.png')}")
        say(f"results  {place}")
    if table:
        from online_rl.commands.eval.paper import write_tables

        written = write_tables(report, [e.about["of"].get("judges", []) for e in evaluated], place)
        say(f"table    {', '.join(map(str, written))}")
    if json_file:
        write_report(json_file, report, "scores")
    return report


def _split(text: str) -> str:
    for split, words in SPLITS.items():
        if text.lower() in words:
            return split
    raise ConfigError(f"--split: found {text!r}, expected train, eval (validation, dev ...) or test.")


def read_config(
    policy: str, config: Path | None, run: Path | None, overrides: Sequence[str], judges: Sequence[str]
) -> Config:
    """The configuration of the run, or the one that was named, with the judges that are asked."""
    path = config or (run or Path()) / "config.resolved.yaml"
    try:
        cfg = load_config(path, [*overrides, "resume=never"])
    except ConfigError as problem:
        if config or not run:
            raise
        raise ConfigError(
            f"{problem}\n\nThe run's own configuration does not load, so another version of online-rl wrote it. "
            "Set these keys at the end of the command (key=value), or give another file by --config."
        ) from None
    if not judges:
        return cfg
    entries = [_judge_entry(name, cfg) for name in judges]
    data = cfg.model_dump(mode="json")
    data["judges"], data["guards"] = [{**entries[0], "weight": 1.0}], entries[1:]
    return config_from_dict(data, origin="--judge")


def _judge_entry(name: str, cfg: Config) -> dict[str, Any]:
    """A judge or guard of the configuration by its name there; otherwise what `online-rl score` would take."""
    from online_rl.commands.score.run import use_and_rule

    for entry in (*cfg.judges, *cfg.guards):
        if entry.label == name:
            return entry.model_dump(mode="json", exclude={"weight", "only_if"})
    use, rule = use_and_rule(name)
    return {"use": use, "name": name.rpartition(":")[2], "length_control": rule}


def _find(text: str, cfg: Config | None, say: Say) -> Policy | Results:
    found = find(text, cfg or Config(), lambda line: say(f"note: {line}"))
    if isinstance(found, Policy) and cfg is None:
        raise ConfigError(
            f"--config: found none, and {text} lies in no run folder (no config.resolved.yaml). Name the YAML file "
            "that says which data, prompt, limits and judges to evaluate it with."
        )
    return found


def _labels(sources: Sequence[Policy | Results]) -> list[str]:
    """One for each, all different."""
    labels = [source.label for source in sources]
    return labels if len(set(labels)) == len(labels) else [labels[0], f"{labels[1]}-2"]


def _refuse_lost_files(
    sources: Sequence[Policy | Results],
    labels: Sequence[str],
    place: Path,
    reads: Mapping[str, Path | None],
    json_file: Path | None,
    rexrank: Path | None,
) -> None:
    """Refuse results that would lie in the folder of a policy, and a report in the place of a file of another kind.

    Raises DataError.
    """
    for source, label in zip(sources, labels, strict=True):
        read = [Path(p) for p in (source.path, source.shards) if p] if isinstance(source, Policy) else []
        if find_run(str(place / label)) == place / label:  # a run folder, whose files the results would stand among
            read.append(place / label)
        if any(same_place(place / label, folder) for folder in read):
            raise DataError(
                f"--output: the results of {label} would be written into {place / label}, which holds a policy or a "
                "run. Name another folder."
            )
    written = [place / name for name in ("summary.json", "eval.png")]
    written += [place / label / name for label in labels for name in (SCORES, ABOUT)]
    refuse_overlap(reads, {"--output": written, "--json": json_file, "--rexrank": rexrank})
    if json_file is not None and json_file.is_file() and not _is_report(json_file):
        raise DataError(f"--json: {json_file} exists and was not written by this command. Name another file.")


def _is_report(path: Path) -> bool:
    """Whether an earlier call has written this file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"version", "policies"} <= content.keys()


def _gpus(processes: int | None) -> list[str | None]:
    """One GPU per process. None is no choice: there is no GPU, or a single process, which finds its own."""
    found = visible_gpus()
    count = max(1, len(found)) if processes is None else processes
    if found and count > len(found):
        raise ConfigError(f"--processes: found {count}, expected at most {len(found)}, the number of GPUs.")
    return [*found[:count]] if found and count > 1 else [None] * count


def _evaluate(task: worker.Task, gpus: Sequence[str | None], say: Say) -> None:
    """Evaluate in as many processes as there are `gpus`; the last one, alone, puts their parts together."""
    module, folder = "online_rl.commands.eval.worker", Path(task.folder)
    if len(gpus) > 1 and (task.overwrite or not (folder / SCORES).exists()):
        parts = []
        for place in range(len(gpus)):
            part, label = (place, len(gpus)), f"{task.policy['label']}, part {place + 1} of {len(gpus)}"
            where = str(worker.part_of(folder, part))
            policy = task.policy | {"label": label}
            parts.append(dataclasses.replace(task, part=part, folder=where, policy=policy, image_check=False))
        run_workers(module, parts, gpus, say)
    run_worker(module, task, say)


def _report(evaluated: Sequence[Evaluated]) -> dict[str, Any]:
    comparison = {"comparison": compare(*evaluated)} if len(evaluated) > 1 else {}
    policies = [{"label": e.label, **summarise(e)} for e in evaluated]
    return {"version": __version__, **method(), "policies": policies, **comparison}
