"""What was read of the data, kept: the same studies, read once, and anew whenever something has changed."""

from __future__ import annotations

import dataclasses
import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data import readers
from online_rl.data.readers import read_studies
from online_rl.errors import ConfigError

LINES = [
    {
        "study_id": f"s{i}",
        "patient_id": f"p{i // 2}",
        "split": ["train", "train", "train", "eval", "test"][i // 2 % 5],
        "images": ["a.png"],
        "views": ["PA"],
        "study_date": f"2020-01-{1 + i:02}",
        "indication": "cough",
        "findings": f"Nodule of {i} mm. Größe unverändert." if i else "",
        "scanner": {"name": "x", "kv": [80, 1.5, None, True]},
    }
    for i in range(20)
]


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (32, 32), 90).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "a.png").write_bytes(png())
    path = tmp_path / "studies.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


@pytest.fixture
def read(data, tmp_path):
    def read(cache: bool = True, **settings):
        kept = {"study_cache": str(tmp_path / "cache")} if cache else {}
        return read_studies(config_from_dict({"data": {"reader": "jsonl", "path": str(data), **kept, **settings}}))

    return read


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """One entry per time that the rows were gone through."""
    found: list[str] = []
    plain = readers.check_studies

    def counted(rows, cfg, image_root, origin):
        found.append(origin)
        return plain(rows, cfg, image_root, origin)

    monkeypatch.setattr(readers, "check_studies", counted)
    return found


@pytest.mark.parametrize("prior", ["none", "image"])
def test_a_second_start_gets_the_same_studies_without_reading(read, reads, prior):
    plain, first, second = read(cache=False, prior=prior), read(prior=prior), read(prior=prior)
    assert len(reads) == 2, "the third came from the cache"
    for found in (first, second):
        for field in dataclasses.fields(plain):
            if field.name not in ("quarantine", "columns"):
                assert getattr(found, field.name) == getattr(plain, field.name), field.name
        assert found.columns.lines() == plain.columns.lines()
        assert found.quarantine.problems == plain.quarantine.problems
    assert second.train[0].images == plain.train[0].images and isinstance(second.train[0].images, tuple)
    assert any(study.prior is not None for study in second.train) == (prior == "image")


def test_a_changed_file_another_setting_and_another_image_root_are_read_anew(read, reads, data, tmp_path):
    read()
    with data.open("a") as file:
        file.write("\n" + json.dumps(LINES[0] | {"study_id": "new", "patient_id": "p99", "findings": "Edema."}))
    found = read()
    assert "new" in {study.study_id for study in (*found.train, *found.eval, *found.test)}
    read(max_images=1)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "a.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert read(image_root=str(other)).train[0].images == (str(other / "a.png"),)
    assert len(reads) == 4
    assert len(list((tmp_path / "cache").glob("*.msgpack"))) == 3, "of each setting the newest alone"


def test_two_configurations_that_take_turns_each_keep_what_they_read(read, reads):
    for _ in range(2):
        read()
        read(max_images=1)
    assert len(reads) == 2


def test_only_the_user_may_read_it(read, tmp_path):
    read()
    folder = tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_folder_that_is_there_keeps_its_rights(read, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o755)
    read()
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o755


def test_a_damaged_cache_is_read_anew_and_replaced(read, reads, tmp_path, caplog):
    expected = read().train
    [kept] = (tmp_path / "cache").glob("*.msgpack")
    kept.write_bytes(kept.read_bytes()[:200])
    assert read().train == expected and "cannot be used" in caplog.text
    assert read().train == expected and len(reads) == 2


def test_a_column_that_would_come_back_as_something_else_is_not_kept(tmp_path, reads, caplog):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "a.png").write_bytes(png())
    rows = [line | {"taken": pandas.Timestamp("2020-01-01"), "scanner": "x"} for line in LINES]
    pandas.DataFrame(rows).to_parquet(tmp_path / "studies.parquet")
    data = {"reader": "hf", "path": str(tmp_path / "studies.parquet"), "study_cache": str(tmp_path / "cache")}
    first, second = (read_studies(config_from_dict({"data": data})) for _ in range(2))
    assert len(reads) == 2 and "read at every start" in caplog.text
    assert first.train == second.train


def test_a_whole_number_beyond_64_bits_costs_the_cache_and_not_the_start(tmp_path, read, reads, caplog):
    path = tmp_path / "studies.jsonl"
    path.write_text("\n".join(json.dumps(line | {"hash": 2**70}) for line in LINES))
    assert read().train == read().train and len(reads) == 2
    assert "cannot be kept" in caplog.text


def test_images_that_are_missing_are_looked_for_at_every_start(tmp_path, read, reads):
    def ids():
        found = read(bad_images_budget=5)
        return {study.study_id for study in (*found.train, *found.eval, *found.test)}

    absent = LINES[0] | {"study_id": "x", "findings": "Edema.", "images": ["b.png"]}
    (tmp_path / "studies.jsonl").write_text("\n".join(map(json.dumps, [*LINES, absent])))
    assert "x" not in ids()
    (tmp_path / "b.png").write_bytes(png())
    assert "x" in ids()


def test_images_inside_the_data_set_are_not_kept_as_places(tmp_path, reads, caplog):
    datasets = pytest.importorskip("datasets")
    rows = [{"findings": f"Edema {n}.", "image": Image.new("L", (32, 32), n)} for n in range(6)]
    (tmp_path / "set" / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "set" / "data" / "train-0.parquet")
    data = {"reader": "hf", "path": str(tmp_path / "set"), "study_cache": str(tmp_path / "cache")}
    for _ in range(2):
        read_studies(config_from_dict({"data": data}))
    assert len(reads) == 2 and "read at every start" in caplog.text


def test_a_link_to_nothing_is_no_reason_to_stop(tmp_path, reads):
    (tmp_path / "set").mkdir()
    datasets = pytest.importorskip("datasets")
    (tmp_path / "a.png").write_bytes(png())
    datasets.Dataset.from_list(LINES).to_parquet(tmp_path / "set" / "train.parquet")
    (tmp_path / "set" / "gone.txt").symlink_to(tmp_path / "nowhere")
    data = {"reader": "hf", "path": str(tmp_path / "set"), "image_root": str(tmp_path)}
    found = [
        read_studies(config_from_dict({"data": data | {"study_cache": str(tmp_path / "cache")}})) for _ in range(2)
    ]
    assert found[0].train == found[1].train and len(reads) == 1


def test_a_folder_that_cannot_be_written_costs_the_cache_and_not_the_start(read, reads, full_disk, caplog):
    with full_disk(1_000):
        assert read().train
    assert "cannot be written" in caplog.text
    assert read().train and len(reads) == 2


def test_a_place_that_is_no_folder_is_named(read, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data\.study_cache: .*file.* cannot be used"):
        read(study_cache=str(tmp_path / "file" / "cache"))


SCRIPT = """
import json, sys
from online_rl.config import config_from_dict
from online_rl.data import readers
plain = readers.check_studies
def told(*given):
    print("read", flush=True)
    return plain(*given)
readers.check_studies = told
data = {"reader": "jsonl", "path": sys.argv[1], "study_cache": sys.argv[2]}
print(len(readers.read_studies(config_from_dict({"data": data})).train))
"""


def test_of_several_processes_at_once_one_reads(data, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(data), str(tmp_path / "cache")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert sorted(said, key=len) == [["11"], ["11"], ["read", "11"]]


def test_mimics_tree_is_read_anew_when_a_patient_or_a_table_changes(tmp_path):
    from online_rl.data.study_cache import _state

    for patient in ("p10/p10000032", "p11/p11000001"):
        (tmp_path / "files" / patient / "s1").mkdir(parents=True)
    (tmp_path / "split.csv.gz").write_bytes(b"1")
    before = list(_state(tmp_path))
    assert list(_state(tmp_path)) == before
    (tmp_path / "files" / "p11" / "p11000002").mkdir()
    with_patient = list(_state(tmp_path))
    assert with_patient != before
    (tmp_path / "split.csv.gz").write_bytes(b"12")
    assert list(_state(tmp_path)) != with_patient
