"""ReXrank's submission: its own JSON by study, with the report of the policy under `model_prediction`.

ReXrank scores `model_prediction` against "Findings: ... Impression: ...", so the one section that the policy writes is
named in front of it; reports of both sections name them themselves. Keys of ReXrank's files that the data do not have
are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from online_rl.commands.eval.rows import Row
from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.errors import ConfigError, DataError
from online_rl.whole_file import whole_file

KEPT = ("key_image_path", "context", "section_findings", "section_impression", "report", "frontal_lateral")


def write_submission(path: Path, rows: Sequence[Row], cfg: Config | None, split: str) -> Path:
    """Write every study's report, readable by its owner alone.

    rows  with `candidate`; a study without a report is refused, since ReXrank scores all

    Raises ConfigError or DataError.
    """
    if cfg is None:
        raise ConfigError("--rexrank: found no configuration, which says where the studies are. Add --config FILE.")
    missing = [row["study_id"] for row in rows if row.get("candidate") is None]
    if missing:
        raise DataError(
            f"--rexrank: {len(missing)} of {len(rows)} studies have no report text, {missing[0]} among them. Evaluate "
            "again with --rexrank and --overwrite, and repair images that cannot be decoded."
        )
    studies = _studies(cfg, split)
    unknown = [row["study_id"] for row in rows if row["study_id"] not in studies]
    if unknown:
        raise DataError(
            f"--rexrank: {cfg.data.path or 'the demo'} has no study {unknown[0]} in its {split} split. Name the "
            "configuration that the reports were written with."
        )
    content = {row["study_id"]: entry(studies[row["study_id"]], row["candidate"], cfg, split) for row in rows}
    try:
        with whole_file(path, private=True) as partial:
            partial.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{path}: cannot be written ({problem.strerror}). Name another --rexrank FILE.") from None
    return path


def entry(study: Study, candidate: str, cfg: Config, split: str) -> dict[str, Any]:
    """One study of the submission; missing texts (NaN in ReXrank's files) are null."""
    both = cfg.data.section == "both"
    own = {} if both else {f"section_{cfg.data.section}": study.reference}
    found = {key: _plain(study.columns[key]) for key in KEPT if key in study.columns}
    images = [image for image in study.images if isinstance(image, str)]
    paths = _plain(study.columns.get("image_path")) or images
    context = {} if "context" in found or not study.indication else {"context": f"Indication:{study.indication}"}
    return {
        "image_path": paths,
        **context,
        **own,
        **found,
        "split": split,
        "model_prediction": candidate if both else f"{cfg.data.section.capitalize()}: {candidate}",
    }


def _studies(cfg: Config, split: str) -> dict[str, Study]:
    """Every study of the split by its id, as the rows spell it."""
    from judges.text import without_surrogates
    from online_rl.config import config_from_dict
    from online_rl.data.readers import read_studies
    from online_rl.demo.prepare import prepare

    data = cfg.model_dump(mode="json")
    data["eval"]["studies"] = data["data"]["max_train_studies"] = None
    whole = config_from_dict(data)
    found = read_studies(whole, prepare(whole).world)
    return {without_surrogates(study.study_id): study for study in getattr(found, split)}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
