"""Samples: reports beside their studies, as readers and pictures want them. They hold report text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from online_rl.data.study import Study
from online_rl.scoring.scorer import Candidate
from online_rl.whole_file import private_folder, whole_file

Sample = dict[str, Any]


def make_sample(candidate: Candidate, image: Any) -> Sample:
    """Return one candidate beside its study: the fields of a line of `samples/*.jsonl`."""
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


def image_path(study: Study) -> str:
    """Return the path of the first image; "" if it is held in memory or there is none."""
    first = study.images[0] if study.images else ""
    return first if isinstance(first, str) else ""


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    """Write one line per sample; without samples nothing is written."""
    if not samples:
        return
    lines = [json.dumps(row, ensure_ascii=True) for row in samples]
    private_folder(path.parent)
    with whole_file(path, private=True) as partial:
        partial.write_text("\n".join(lines) + "\n")
