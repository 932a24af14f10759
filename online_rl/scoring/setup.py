"""From the configuration to judges that have been tried: loading, blending, and one dry call before a model loads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from judges.base import Judge, Score, Status
from judges.composite import Blend, Term, parse_gate
from judges.identity import identify
from judges.length import LengthControlled
from judges.registry import load_judge
from online_rl.config import Config
from online_rl.config.model import JudgeSpec
from online_rl.data.prompt import study_prompt
from online_rl.data.study import Study
from online_rl.errors import ConfigError
from online_rl.scoring.adapt import judge_states
from online_rl.scoring.calls import answer_of, out_of_reach
from online_rl.scoring.cases import make_case
from online_rl.scoring.scorer import Scorer

# What the judges are tried with, beside the reference report itself. Nobody's report.
DRY_CANDIDATE = "the heart is normal in size. the lungs are clear. no pleural effusion or pneumothorax."


def load_judges(cfg: Config, given: Mapping[str, Judge] | None = None) -> tuple[list[tuple[Judge, float]], list[Judge]]:
    """The rewarded judges with their weights, and the guards. Raises JudgeError.

    given  judges that were handed over as objects, by the `use` that stands for them in the configuration
    """
    given = given or {}
    judges = [(given.get(entry.use) or load_entry(entry), entry.weight) for entry in cfg.judges]
    return judges, [given.get(entry.use) or load_entry(entry) for entry in cfg.guards]


def load_entry(entry: JudgeSpec) -> Judge:
    """One judge or guard of the configuration. Raises JudgeError."""
    return load_judge(
        entry.use,
        entry.args,
        entry.length_control,
        entry.label,
        length_unit=entry.length_unit,
        length_args=entry.length_args,
        conversational=entry.conversational,
        transform=entry.transform,
    )


def refuse_late_adapting(judges: Sequence[Judge], cfg: Config) -> None:
    """Raise ConfigError for a judge of the user's that adapts to each step, if scores may arrive a step later.

    Some of a step's scores would be given before it adapts, and some after.
    """
    for judge in judges if cfg.scoring.behind else ():
        if hasattr(judge.judge if isinstance(judge, LengthControlled) else judge, "adapt"):
            raise ConfigError(
                f"judge {judge.name!r}: found a method adapt() beside scoring.behind=1, expected none: some scores "
                "of a step would be given before it adapts, and some after. Remove the method, or set scoring.behind "
                "to 0."
            )


def make_blend(cfg: Config) -> Blend:
    """How the judges' scores become a reward."""
    terms = [Term(j.label, j.weight, parse_gate(j.only_if) if j.only_if else ()) for j in cfg.judges]
    return Blend(terms, cfg.scoring.multi_objective_aggregation)


def describe_judges(cfg: Config, judges: Sequence[tuple[Judge, float]], guards: Sequence[Judge]) -> list[str]:
    """One line per judge: what it is, its file, and the hash of it."""
    entries = [*cfg.judges, *cfg.guards]
    loaded = [*(judge for judge, _ in judges), *guards]
    return [identify(judge, entry.use, entry.args).line() for judge, entry in zip(loaded, entries, strict=True)]


def dry_call(scorer: Scorer, study: Study, cfg: Config) -> None:
    """Call every judge once as a step will, so that a wrong length, type or column is found before a model loads.

    The judges have been started. They see one study of the training data, with a made-up candidate and with its
    reference report as candidate; the scores are thrown away. Raises JudgeError, which names judge, row and study, and
    JudgeFailed.
    """
    prompt = study_prompt(cfg.data.prompt, study)
    cases = [
        make_case(study, text, prompt, tuple(range(1, 1 + len(text.split()))))
        for text in (DRY_CANDIDATE, study.reference)
    ]
    rows: list[dict[str, Score]] = [{} for _ in cases]
    for judge, _ in scorer.judges:
        tried = judge.judge if isinstance(judge, LengthControlled) and judge.unit == "tokens" else judge
        scores = answer_of(scorer.calls.submit(tried, cases), judge, cfg.scoring.deadline_s).scores
        if any(score.status is Status.FAILED for score in scores):
            raise out_of_reach(judge, scores, cfg.scoring)
        for row, score in zip(rows, scores, strict=True):
            row[judge.name] = score
    for row in rows:
        scorer.blend.reward(row)  # a gate may read a part that is not there
    judge_states(scorer.judges)  # every checkpoint will hold them


def count_tokens_with(tokenizer: Any, judges: Sequence[Judge]) -> None:
    """Give length control in tokens the policy's tokenizer. Judges run in threads, so it is a copy behind a lock."""
    counted = [judge for judge in judges if isinstance(judge, LengthControlled) and judge.unit == "tokens"]
    if not counted:
        return
    own, lock = copy.deepcopy(tokenizer), threading.Lock()

    def count(text: str) -> int:
        with lock:
            return len(own(text, add_special_tokens=False)["input_ids"])

    for judge in counted:
        judge.count_tokens = count
