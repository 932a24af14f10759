"""One policy writes its most likely report for every study of a split, and judges score them.

`command.py` beside this file runs it as `python -m online_rl.commands.eval.worker` with a `Task` as JSON on stdin: a
process of its own, so that the memory of one policy is given back before the next is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from judges.base import Status
from judges.identity import identify
from judges.text import clean_report, count_words, without_surrogates
from online_rl import __version__
from online_rl.commands.eval.source import ABOUT, SCORES, Policy
from online_rl.commands.score.journal import Journal, Row
from online_rl.config import Config, config_from_dict
from online_rl.data.draw import draw_by_patient
from online_rl.data.quarantine import Quarantine
from online_rl.data.readers import Studies, read_studies
from online_rl.data.study import Study
from online_rl.errors import ConfigError, DataError, JudgeFailed, PolicyMismatch, UserError
from online_rl.exits import run_with_exit_codes
from online_rl.whole_file import whole_file

if TYPE_CHECKING:
    from online_rl.scoring.scorer import Candidate

# What a greedy report or its scores depend on, beside policy, studies and judges.
DEPENDS_ON = (
    ("model", ("dtype",)),
    ("data", ("prompt", "section", "max_images", "image_max_side")),
    ("rollout", ("max_completion_tokens", "max_model_len", "engine_args")),
    ("scoring", ("truncated", "multi_objective_aggregation")),
)
SHOWN_LINES = 20  # of what the engine said before a fault


@dataclass(frozen=True)
class Task:
    """config   of the run, with the judges that are asked
    policy   `Policy.as_dict()`
    folder   where the results go
    split    train, eval or test
    studies  how many, drawn by patient; None = all that the config keeps
    reports  keep the texts as well
    """

    config: dict[str, Any]
    policy: dict[str, Any]
    folder: str
    split: str
    studies: int | None
    reports: bool
    overwrite: bool


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
    from online_rl.scoring import Scorer
    from online_rl.scoring.setup import dry_call, load_judges, make_blend

    policy = Policy(**task.policy)
    data = task.config
    data["model"] |= {"path": policy.path, "revision": policy.revision}
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
    folder = Path(task.folder)
    note = f" ({left_out})" if left_out else ""
    if _is_finished(folder, of, task.overwrite):
        _say(f"{policy.label}: {len(studies)} studies of the {task.split} split are in {folder} already{note}")
        return
    (folder / ABOUT).unlink(missing_ok=True)
    journal = Journal(folder / SCORES, of, overwrite=True, afresh=task.overwrite)
    try:
        todo = [place for place in range(len(studies)) if place not in journal.rows]
        _say(f"{policy.label}: {len(todo)} of {len(studies)} studies of the {task.split} split{note}")
        if todo:
            scorer = Scorer(judges, cfg, guards, make_blend(cfg))
            with closing(scorer), _quiet() as terminal:
                scorer.start()
                dry_call(scorer, studies[0], cfg)
                write = _writer(cfg, policy, path, [judge for judge, _ in scorer.judges], found.quarantine)
                _fill(journal, studies, todo, scorer, write, task, terminal)
        journal.finish()
    except BaseException as problem:
        if journal.rows:
            kept = f"{len(journal.rows)} of {len(studies)} studies are scored and kept"
            _say(f"{kept} in {journal.partial}; the same command continues from there.")
        else:
            journal.partial.unlink(missing_ok=True)
        if isinstance(problem, JudgeFailed):  # the scorer speaks of training
            message = str(problem).replace("start again with resume=auto", "give the same command again")
            raise JudgeFailed(message) from None
        raise
    finally:
        journal.close()
    _write_about(folder, policy, cfg, task, of, left_out)


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
    contents = [[s.study_id, s.reference, s.indication, len(s.images)] for s in studies]
    return {
        "policy": weights,
        "split": task.split,
        "studies": hashlib.sha256(json.dumps(contents).encode()).hexdigest(),
        "judges": entries,
        "reports": task.reports,
        "version": __version__,
        **{f"{section}.{key}": dump[section][key] for section, keys in DEPENDS_ON for key in keys},
    }


def _is_finished(folder: Path, of: dict[str, Any], overwrite: bool) -> bool:
    """Whether the folder holds these results. Raises DataError when it holds others."""
    if overwrite or not (folder / SCORES).exists():
        return False
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["of"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: holds scores without {ABOUT}. Add --overwrite, or name another --output.") from None
    now = json.loads(json.dumps(of))
    changed = sorted(key for key in {*now, *found} if now.get(key) != found.get(key))
    if changed:
        raise DataError(
            f"{folder}: holds finished results of another evaluation (other {', '.join(changed)}). Add --overwrite to "
            "replace them, or name another --output."
        )
    return True


@contextmanager
def _quiet() -> Iterator[TextIO]:
    """Engine and libraries talk into a file that is thrown away; a fault of the program shows its end.

    Yields what was stderr before.
    """
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    before = (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        sys.stdout = sys.stderr = said
        for stream in (1, 2):  # C++ as well
            os.dup2(said.fileno(), stream)
        try:
            yield terminal
        except Exception as problem:
            if not isinstance(problem, UserError | JudgeFailed | PolicyMismatch):
                said.flush()
                said.seek(0)
                terminal.writelines(said.readlines()[-SHOWN_LINES:])
            raise
        finally:
            for stream in (1, 2):
                os.dup2(terminal.fileno(), stream)
            sys.stdout, sys.stderr = before


def _writer(cfg: Config, policy: Policy, path: str, judges: list[Any], quarantine: Quarantine) -> Any:
    """Studies in, `Rollouts` out: vLLM with the policy's weights, one rank, no launcher.

    Studies whose images cannot be decoded are missing from the rollouts, within `data.bad_images_budget`.
    """
    from transformers import AutoConfig, AutoProcessor

    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.model import banned_token_ids
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder
    from online_rl.scoring.setup import count_tokens_with

    hub = {
        "revision": None if Path(path).is_dir() else policy.revision,
        "trust_remote_code": cfg.model.trust_remote_code,
    }
    try:
        processor = AutoProcessor.from_pretrained(path, **hub)
        model_config = AutoConfig.from_pretrained(path, **hub)
    except (OSError, ValueError) as problem:
        reason = str(problem).partition("\n")[0]
        raise ConfigError(
            f"{path}: its processor or configuration cannot be loaded ({reason}). Expected a Hugging Face folder with "
            "config.json, processor and tokenizer, or a name that can be reached."
        ) from problem
    banned = banned_token_ids(model_config, processor.tokenizer)
    count_tokens_with(processor.tokenizer, judges)
    init_ranks(cfg)
    engine = RolloutEngine(path, cfg, processor, banned)
    if policy.shards:
        engine.load_weights(_weights(Path(policy.shards), path, cfg), version=0)
    builder = PromptBuilder(processor, cfg, quarantine)
    return lambda studies: engine.greedy(builder.build_all(studies))


def _weights(shards: Path, path: str, cfg: Config) -> list[tuple[str, Any]]:
    """Every weight of a checkpoint under the name that vLLM knows."""
    from online_rl.commands.export.weights import checkpoint_weights, load_policy
    from online_rl.policy.names import disk_names

    model = load_policy(path, checkpoint_weights(shards, path, cfg), cfg)
    names = disk_names(model)
    return [(names[name], parameter.detach()) for name, parameter in model.named_parameters()]


def _fill(
    journal: Journal, studies: list[Study], todo: list[int], scorer: Any, write: Any, task: Task, terminal: TextIO
) -> None:
    """As many studies at a time as the engine decodes at once; their rows are kept before the next."""
    patients: dict[str, int] = {}
    for study in studies:
        patients.setdefault(study.patient_id or study.study_id, len(patients))
    size = task.config["rollout"]["max_num_seqs"]
    label = task.policy["label"]
    with _progress(terminal, label, len(studies), len(studies) - len(todo)) as advance:
        for start in range(0, len(todo), size):
            places = todo[start : start + size]
            rollouts = write([studies[place] for place in places])
            rollouts.stream = _watched(rollouts.stream, advance)
            written = {g[0].completion.prompt.study.study_id: g[0] for g in scorer.score(rollouts).groups}
            rows = [
                _row(studies[place], written.get(studies[place].study_id), patients, task.reports) for place in places
            ]
            journal.add(places, rows)


def _watched(stream: Any, advance: Callable[[], Any]) -> Iterator[Any]:
    for completion in stream:
        advance()
        yield completion


def _row(study: Study, candidate: Candidate | None, patients: dict[str, int], reports: bool) -> Row:
    """One study; None for `candidate` where its images cannot be decoded. `patient` is a number within this file, so
    that the file names no patient."""
    who = {
        "study_id": without_surrogates(study.study_id),
        "patient": patients[study.patient_id or study.study_id],
    }
    if candidate is None:
        nothing = dict.fromkeys(("reward", "words", "reference_words", "verbosity", "tokens", "truncated"))
        return {**who, "status": "bad_image", **nothing, "scores": {}, "guards": {}}
    completion = candidate.completion
    answers = {**candidate.scores, **candidate.guards}
    if candidate.masked:
        status = "masked"
    elif any(score.status is Status.FAILED for score in answers.values()):
        status = "failed"
    else:
        status = "unscorable" if candidate.reward is None else "scored"
    texts = {"reference": study.reference, "candidate": completion.text.strip()} if reports else {}
    return {
        **who,
        "status": status,
        "reward": candidate.reward,
        "words": candidate.words,
        "reference_words": count_words(clean_report(study.reference)),
        "verbosity": candidate.verbosity,
        "tokens": len(completion.ids),
        "truncated": completion.truncated,
        **{
            kind: {name: {"value": s.value, "status": s.status.value, "parts": s.parts} for name, s in found.items()}
            for kind, found in (("scores", candidate.scores), ("guards", candidate.guards))
        },
        **{name: without_surrogates(text) for name, text in texts.items()},
    }


def _write_about(folder: Path, policy: Policy, cfg: Config, task: Task, of: dict[str, Any], left_out: str) -> None:
    about = {
        "policy": policy.said,
        "split": task.split,
        "left_out": left_out,
        "of": of,
    }
    try:
        with whole_file(folder / ABOUT) as partial:
            partial.write_text(json.dumps(about, indent=1), encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{folder}: cannot be written ({problem.strerror}). Name another --output.") from None


@contextmanager
def _progress(terminal: TextIO, label: str, total: int, done: int) -> Iterator[Callable[[], Any]]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=terminal)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda: bar.advance(task)


if __name__ == "__main__":
    code = run_with_exit_codes(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
