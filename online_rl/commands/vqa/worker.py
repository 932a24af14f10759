"""One policy answers closed questions, greedily, through the engine that writes reports.

`command.py` beside this file runs it as `python -m online_rl.commands.vqa.worker` with a `Task` as JSON on stdin: a
process of its own, so that the memory of one policy is given back before the next is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from judges.text import without_surrogates
from online_rl import __version__
from online_rl.commands.eval.keeping import is_finished, keeping, write_about
from online_rl.commands.eval.source import ABOUT, Policy
from online_rl.commands.eval.writing import make_writer, quiet
from online_rl.commands.score.journal import Row
from online_rl.config import Config, config_from_dict
from online_rl.data.quarantine import Quarantine
from online_rl.errors import DataError
from online_rl.exits import run_with_exit_codes
from online_rl.vqa.answers import is_right, read_answer
from online_rl.vqa.formats import read_questions
from online_rl.vqa.questions import PROMPT, Question, as_study

ANSWERS = "answers.jsonl"
NAMED = 3  # rows that cannot be asked, named; the others are counted
OTHERS = (
    "holds answers to other questions or by another policy (other {}). Add --overwrite to replace them, or name "
    "another --output."
)


@dataclass(frozen=True)
class Task:
    """config     of the run
    policy     `Policy.as_dict()`
    folder     where the answers go
    questions  [format, file] of every set
    texts      keep what the policy said
    """

    config: dict[str, Any]
    policy: dict[str, Any]
    folder: str
    questions: list[list[str]]
    image_root: str | None
    split: str
    max_tokens: int
    texts: bool
    overwrite: bool


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is answered is kept
    task = Task(**json.load(sys.stdin))
    if task.texts:
        os.umask(0o077)
    answer(task)
    return 0


def answer(task: Task) -> None:
    """Write `answers.jsonl` and `about.json`; what an interrupted call has answered is kept."""
    from online_rl.environment import prepare_environment

    prepare_environment()
    from online_rl.demo.prepare import prepare

    policy = Policy(**task.policy)
    data = task.config
    data["model"] |= {"path": policy.path, "revision": policy.revision}
    data["run"]["dir"] = task.folder  # nothing is written to the run, whose model this may be
    path = str(prepare(config_from_dict(data)).policy or policy.path)
    data["data"] |= {"prompt": PROMPT, "prior": "none"}
    data["model"]["path"] = path
    data["rollout"]["max_completion_tokens"] = task.max_tokens
    cfg = config_from_dict(data)
    questions, left_out = _questions(task, cfg.data.max_images)
    of = _what(cfg, policy.fingerprint(path), questions, task)
    folder = Path(task.folder)
    if is_finished(folder / ANSWERS, of, task.overwrite, "answers", OTHERS):
        _say(f"{policy.label}: {len(questions)} questions are answered in {folder} already")
        return
    (folder / ABOUT).unlink(missing_ok=True)
    with keeping(folder / ANSWERS, of, task.overwrite, f"{len(questions)} questions are answered") as journal:
        todo = [place for place in range(len(questions)) if place not in journal.rows]
        _say(f"{policy.label}: {len(todo)} of {len(questions)} questions")
        if todo:
            quarantine = Quarantine(cfg.data.bad_images_budget)
            with quiet():
                write = make_writer(cfg, policy, path, [], quarantine)
                size = cfg.rollout.max_num_seqs
                for start in range(0, len(todo), size):
                    places = todo[start : start + size]
                    journal.add(places, rows_of([questions[place] for place in places], write, task.texts))
    write_about(folder, {"policy": policy.said, "label": policy.label, "of": of, "left_out": left_out})


def rows_of(questions: Sequence[Question], write: Any, texts: bool) -> list[Row]:
    """One row per question: what was read, and whether it is right. `write`: studies -> `Rollouts`."""
    said = {c.prompt.study.study_id: c.text.strip() for c in write([as_study(question) for question in questions])}
    return [_row(question, said.get(question.question_id), texts) for question in questions]


def _row(question: Question, text: str | None, texts: bool) -> Row:
    """None for `text` if the image cannot be decoded. A word that was said is kept only with `texts`."""
    read = None if text is None else read_answer(question, text)
    status = "bad_image" if text is None else "unreadable" if read is None else "read"
    return {
        "question_id": without_surrogates(question.question_id),
        "source": question.source,
        "task": question.task,
        "group": hashlib.sha256(question.group.encode("utf-8", "replace")).hexdigest()[:12],
        "status": status,
        "right": is_right(question, read),
        **({"option": read} if isinstance(read, int) else {}),
        **({"said": without_surrogates(text or "")} if texts else {}),
    }


def _questions(task: Task, max_images: int) -> tuple[list[Question], list[str]]:
    root = Path(task.image_root) if task.image_root else None
    questions, left_out = [], []
    for name, file in task.questions:
        found = read_questions(name, Path(file), root, task.split, max_images=max_images)
        questions += found.questions
        left_out += found.left_out
        if found.left_out:
            named = "; ".join(found.left_out[:NAMED])
            said = f"{len(found.left_out)} questions cannot be asked and are left out: {named}."
            _say(f"{file}: {said}{found.remedy()}")
    twice = len(questions) - len({question.question_id for question in questions})
    if twice:
        raise DataError(f"--questions: {twice} questions stand in two of the files. Name each set once.")
    return questions, left_out


def _what(cfg: Config, weights: str, questions: Sequence[Question], task: Task) -> dict[str, Any]:
    """What the answers are of. Answers of anything else are not taken for these."""
    dump = cfg.model_dump(mode="json")
    asked = [{**asdict(question), "images": len(question.images), "row": ""} for question in questions]
    keys = (
        *(("model", "dtype"), ("data", "system_prompt"), ("data", "max_images"), ("data", "image_max_side")),
        *(("rollout", key) for key in ("max_model_len", "reasoning_tags", "engine_args")),
    )
    return {
        "policy": weights,
        "questions": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),
        "max_tokens": task.max_tokens,
        "texts": task.texts,
        "version": __version__,
        **{f"{section}.{key}": dump[section][key] for section, key in keys},
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = run_with_exit_codes(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
