"""The demo world on disk: the same bytes for the same seed, patients in one split, real reports where asked."""

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from online_rl.demo import indiana
from online_rl.demo.world import plan_indiana, plan_patients, write_world
from online_rl.errors import ConfigError, DataError

SHARED = Path(os.environ.get("ONLINE_RL_SHARED", Path(__file__).parents[4] / "shared"))
IU = SHARED / "data" / "iu-xray"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes_whatever_the_number_of_workers(tmp_path):
    write_world(tmp_path / "one", 40, seed=3, workers=1)
    write_world(tmp_path / "two", 40, seed=3, workers=2)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    write_world(tmp_path / "other", 40, seed=4, workers=1)
    assert _files(tmp_path / "one") != _files(tmp_path / "other")


def test_a_larger_world_begins_with_the_smaller_one():
    small, large = plan_patients(50, seed=1), plan_patients(120, seed=1)
    assert [plan.row for plan in small] == [plan.row for plan in large[:50]]


def test_rows_are_the_own_jsonl_format_and_images_are_grey_256(tmp_path):
    seen = []
    rows_file = write_world(tmp_path / "world", 10, progress=lambda done, total: seen.append((done, total)))
    assert rows_file == tmp_path / "world" / "studies.jsonl"
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert len(rows) == 10
    assert seen[-1] == (10, 10)
    for row in rows:
        assert set(row) == {
            *("study_id", "patient_id", "image_paths", "view", "indication", "findings", "split", "labels")
        }
        with Image.open(rows_file.parent / row["image_paths"][0]) as image:
            assert (image.mode, image.size) == ("L", (256, 256))


def test_a_world_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path):
    write_world(tmp_path / "world", 6, seed=0)
    write_world(tmp_path / "world", 3, seed=0)
    assert len(list((tmp_path / "world" / "images").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_a_world_that_fails_midway_leaves_the_old_one(tmp_path):
    before = _files(write_world(tmp_path / "world", 3).parent)

    def full_disk(done: int, total: int) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_world(tmp_path / "world", 5, progress=full_disk)
    assert _files(tmp_path / "world") == before
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_patients_stay_in_one_split_and_a_fifth_is_for_eval():
    splits = defaultdict(set)
    for plan in plan_patients(2400, seed=0):
        splits[plan.row["patient_id"]].add(plan.row["split"])
    assert all(len(names) == 1 for names in splits.values())
    share = Counter(next(iter(names)) for names in splits.values())
    assert share["eval"] / len(splits) == pytest.approx(0.20, abs=0.03)
    assert share["test"] > 50


def test_prevalence():
    plans = plan_patients(2400, seed=0)
    normal = np.mean([not plan.findings for plan in plans])
    assert 0.25 < normal < 0.36
    assert max(len(plan.findings) for plan in plans) <= 4
    visits = Counter(Counter(plan.row["patient_id"] for plan in plans).values())
    assert set(visits) == {1, 2, 3, 4}


def test_no_studies_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"demo\.studies is 0"):
        write_world(tmp_path / "world", 0)


def _iu_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '7,Pleural Effusion/left/large;Cardiomegaly/mild,x,x,Dyspnea,,"Large left effusion.\nBig heart.",x\n'
        "8,normal,normal,x,,,,Normal.\n"
        "9,Opacity/lung/base/right;Aorta/tortuous,x,x,Cough,,Opacity at the right base.,x\n"
    )
    return folder


def test_iu_reports_are_kept_word_for_word_and_drawn_from_their_labels(tmp_path):
    rows_file = write_world(tmp_path / "world", 100, reports=str(_iu_folder(tmp_path / "iu")))
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    assert [row["study_id"] for row in rows] == ["iu7", "iu9"]
    assert rows[0]["findings"] == "Large left effusion.\nBig heart."
    assert rows[0]["labels"] == [
        {"name": "effusion", "side": "left", "severity": "large"},
        {"name": "cardiomegaly", "severity": "mild"},
    ]
    (opacity,) = rows[1]["labels"]
    assert (opacity["name"], opacity["side"], opacity["zone"]) == ("consolidation", "right", "lower")
    assert json.loads((rows_file.parent / "world.json").read_text())["left_out"] == {"empty findings": 1}


def test_iu_folder_without_its_files_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"demo\.reports.*indiana_reports\.csv"):
        write_world(tmp_path / "world", 5, reports=str(tmp_path))


@pytest.mark.skipif(not IU.is_dir(), reason=f"IU X-ray reports not found at {IU}; set ONLINE_RL_SHARED")
def test_real_iu_reports():
    reports, left_out = indiana.read_reports(IU)
    assert len(reports) > 2500
    assert left_out["empty findings"] > 300
    plans = {plan.row["study_id"]: plan for plan in plan_indiana(reports, seed=0)}
    names = Counter(finding.name for plan in plans.values() for finding in plan.findings)
    assert all(names[name] > 10 for name in ("effusion", "cardiomegaly", "consolidation", "pneumothorax", "edema"))
    normal = [report for report in reports if report.labels == ("normal",)]
    assert all(not plans[f"iu{report.uid}"].findings for report in normal)
    for report in reports:
        pleural = [label for label in report.labels if label.startswith(("Pleural Effusion", "Costophrenic"))]
        if pleural == ["Pleural Effusion/left/small"]:
            (effusion,) = (f for f in plans[f"iu{report.uid}"].findings if f.name == "effusion")
            assert (effusion.side, effusion.severity) == ("left", "small")
