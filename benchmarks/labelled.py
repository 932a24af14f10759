"""Kept reports of the demo against the labels that its world drew, read by its second reader, which is no judge's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from online_rl import demo_config, read_studies
from online_rl.data.study import Study
from online_rl.demo.reader import read_report
from online_rl.truth import bootstrap
from online_rl.truth.counts import Claims
from online_rl.truth.labels import label_names


@cache
def labelled() -> dict[str, Study]:
    """The evaluation studies of the demo's world, by id."""
    return {study.study_id: study for study in read_studies(demo_config(["eval.studies=null"])).eval}


def counts(path: Path) -> dict[str, tuple[int, int, int]]:
    """TP, FP and FN of each kept report against the labels, by study."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        labels = label_names(labelled()[row["study_id"]].columns)
        assert labels is not None
        found[row["study_id"]] = Claims(read_report(row["candidate"]).present, labels).counts
    return found


def recall_by_finding(path: Path) -> dict[str, tuple[float, int]]:
    """For each labelled finding, the share of the reports that name it, and how many reports should."""
    named: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        labels = label_names(labelled()[row["study_id"]].columns) or ()
        there.update(labels)
        named.update(set(labels) & set(read_report(row["candidate"]).present))
    return {finding: (named[finding] / there[finding], there[finding]) for finding in sorted(there)}


def difference(theirs: Path, ours: Path) -> bootstrap.Estimate:
    """F1 of our reports - F1 of theirs, on the same studies."""
    return pooled_difference([(theirs, ours)])


def pooled_difference(pairs: Sequence[tuple[Path, Path]]) -> bootstrap.Estimate:
    """The same over several pairs of runs at once, such as one per seed; a patient's studies stay together in all."""
    ours: list[tuple[int, int, int]] = []
    theirs: list[tuple[int, int, int]] = []
    patients: list[str] = []
    for of_theirs, of_ours in pairs:
        one, other = counts(of_theirs), counts(of_ours)
        theirs += one.values()
        ours += [other[study_id] for study_id in one]
        patients += [labelled()[study_id].patient_id for study_id in one]
    found = bootstrap.difference(bootstrap.f1, ours, theirs, patients)
    assert found is not None
    return found
