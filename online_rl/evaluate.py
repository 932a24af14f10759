"""Evaluation: greedy reports for held-out studies, scored by the same judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from online_rl.data.study import Study
from online_rl.metrics import gather_groups, summarise
from online_rl.ranks import collectives
from online_rl.rollout.prompts import PromptBuilder
from online_rl.scoring.scorer import Candidate, Scorer
from online_rl.whole_file import whole_file


@dataclass(frozen=True)
class Evaluation:
    """metrics over all ranks; samples, for `samples/*.jsonl`, on rank 0 only."""

    metrics: dict[str, float]
    samples: list[dict[str, Any]]


def evaluate(
    engine: Any,
    builder: PromptBuilder,
    scorer: Scorer,
    studies: Sequence[Study],
    samples: int,
    agree: Callable[[BaseException | None], None] = collectives.agree,
) -> Evaluation:
    """Write the most likely report of every study and score it.

    samples  studies whose texts are kept; 0 keeps none, so that no report leaves the memory of this process
    agree    called on every rank with the error that it met, or None; raises where one did
    """
    mine = list(studies)[collectives.rank() :: collectives.world_size()]
    error: BaseException | None = None
    groups: list[list[Candidate]] = []
    try:
        if mine:
            groups = scorer.score(engine.greedy(builder.build_all(mine))).groups
    except Exception as problem:
        error = problem
    agree(error)
    metrics = summarise(gather_groups(groups))
    chosen = {study.study_id for study in list(studies)[:samples]}
    firsts = [(group[0], group[0].completion.prompt.study) for group in groups]
    rows = [make_sample(first, _image_path(study)) for first, study in firsts if study.study_id in chosen]
    everyone = [row for part in collectives.gather(rows) for row in part]
    return Evaluation(metrics, sorted(everyone, key=lambda row: row["study_id"]))


def write_samples(evaluation: Evaluation, path: Path) -> None:
    """One line per kept study; nothing is written when none was kept."""
    if not evaluation.samples or collectives.rank():
        return
    lines = [json.dumps(row, ensure_ascii=True) for row in evaluation.samples]
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n")


def make_sample(candidate: Candidate, image: Any) -> dict[str, Any]:
    """One candidate beside its study, as a reader wants to see it: the fields of a line of `samples/*.jsonl`."""
    study = candidate.completion.prompt.study
    return {
        "study_id": study.study_id,
        "image": image,
        "indication": study.indication,
        "reference": study.reference,
        "candidate": candidate.completion.text.strip(),
        "reward": candidate.reward,
        "verbosity": candidate.verbosity,
        "scores": {name: {"value": s.value, **s.parts} for name, s in (candidate.scores | candidate.guards).items()},
    }


def _image_path(study: Study) -> str:
    """Of the first image; "" where it is held in memory or there is none."""
    first = study.images[0] if study.images else ""
    return first if isinstance(first, str) else ""
