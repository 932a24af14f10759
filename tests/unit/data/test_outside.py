"""Readers from outside: the documented one reads its layout, and every way in which a user's function can be wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data.readers import read_studies
from online_rl.errors import ConfigError, DataError


def config(use, path, **data):
    return config_from_dict({"data": {"reader": str(use), "path": str(path), "eval_fraction": 0.0, **data}})


@pytest.fixture
def documented(root, tmp_path) -> Path:
    """The file of docs/data.md."""
    [text] = re.findall(
        r"^```python\n(# my_reader\.py\n.*?)^```$", (root / "docs" / "data.md").read_text(), re.M | re.S
    )
    (tmp_path / "my_reader.py").write_text(text)
    return tmp_path / "my_reader.py"


@pytest.fixture
def exams(tmp_path) -> Path:
    """Two patients; one has two exams, of which one has two images."""
    folder = tmp_path / "exams"
    for patient, exam, images in (("p1", "e1", ["frontal", "lateral"]), ("p1", "e10", ["pa"]), ("p2", "e1", ["ap"])):
        (folder / patient).mkdir(parents=True, exist_ok=True)
        (folder / patient / f"{exam}.txt").write_text(f"Small effusion of {patient}.")
        for name in images:
            Image.new("L", (16, 16)).save(folder / patient / f"{exam}-{name}.png")
    return folder


def test_the_documented_reader(documented, exams):
    studies = read_studies(config(f"{documented}:read", exams)).train
    assert [s.study_id for s in studies] == ["p1/e1", "p1/e10", "p2/e1"]
    assert [s.patient_id for s in studies] == ["p1", "p1", "p2"]
    assert [len(s.images) for s in studies] == [2, 1, 1]
    assert studies[0].images[0] == str(exams / "p1" / "e1-frontal.png") and studies[0].source == "read row 1"
    assert studies[2].reference == "Small effusion of p2."


def test_its_arguments_come_from_the_config(documented, exams):
    with pytest.raises(DataError, match="no image: 3"):
        read_studies(config(f"{documented}:read", exams, args={"suffix": ".jpg"}))


def test_a_module_and_an_entry_point(documented, exams, tmp_path, monkeypatch):
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[online_rl.readers]\nexams = my_reader:read\nother = not_there:read\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for use in ("my_reader:read", "exams"):
        assert len(read_studies(config(use, exams)).train) == 3
    assert "not_there" not in sys.modules
    with pytest.raises(ConfigError, match=r"data\.reader: found 'exam', expected one of .*csv, demo, .*mean 'exams'"):
        config("exam", exams)
    sys.modules.pop("my_reader")


GOOD = "dict(findings='Clear.', images='a.png')"
WRONG = [
    ("read = 3", "is of type int; expected a function"),
    ("def read(): return []", r"cannot be called with a path and data\.args=\[\]"),
    ("def raed(path): return []", r".*mine\.py has no 'read'; it holds: raed. Did you mean 'raed'"),
    ("def read(path): return None", "returned NoneType; expected rows"),
    (f"def read(path): return [{GOOD}, ('a.png', 'Clear.')]", "row 2: found tuple, expected a dict"),
    ("def read(path): return {'findings': 'Clear.'}", "row 1: found str, expected a dict"),
    (
        "from online_rl.data.rows import Row\ndef read(path): yield Row('x:1', ['a.png'])",
        r"row 1: found Row\(str, list\), expected Row\(text, dict\)",
    ),
    (f"def read(path):\n    yield {GOOD}\n    yield {GOOD}['x']", r"raised KeyError after row 1 \(.*mine\.py:3\)"),
    ("import csv\ndef read(path):\n    return open(path)", r"raised IsADirectoryError before its first row \(.*:3\)"),
    ("import no_such_module", "importing .*mine.py raised ModuleNotFoundError: No module named 'no_such_module'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_a_reader_can_be_wrong_about(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises((ConfigError, DataError), match=rf"data\.reader '.*mine\.py:read': {message}"):
        read_studies(config(f"{path}:read", tmp_path))


def test_no_text_of_a_report_is_told(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def read(path):\n    raise ValueError('large effusion of Mrs Example')\n    yield")
    with pytest.raises(DataError) as caught:
        read_studies(config(f"{path}:read", tmp_path))
    assert "effusion" not in str(caught.value)


def test_its_own_errors_and_those_of_the_checks_behind_it_name_the_row(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from online_rl.errors import DataError\n"
        "def read(path): raise DataError('the archive is locked')\n"
        "def twice(path):\n    for _ in range(2):\n        yield dict(study_id=1, findings='Clear.', image='a.png')\n"
        "def bare(path): yield dict(findings='Clear.')\n"
    )
    for name, message in (
        ("read", "^the archive is locked$"),
        ("twice", "^twice row 1 and twice row 2: the same study id"),
        ("bare", "^bare row 1: no column for images"),
    ):
        with pytest.raises(DataError, match=message):
            read_studies(config(f"{path}:{name}", tmp_path))


def test_images_lie_beside_a_file_and_inside_a_folder(tmp_path):
    path, table = tmp_path / "mine.py", tmp_path / "table.txt"
    path.write_text(f"def read(path): yield {GOOD}")
    table.write_text("")
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    for place in (tmp_path, table):
        [study] = read_studies(config(f"{path}:read", place)).train
        assert study.images == (str(tmp_path / "a.png"),)
    with pytest.raises(DataError, match="data.path: .*gone is not there, expected a file or folder"):
        read_studies(config(f"{path}:read", tmp_path / "gone"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"reader": "x.py:read"},
            r"data\.path: found nothing, expected the file or folder that data\.reader=x\.py:read",
        ),
        ({"args": {"a": 1}}, r"data\.args: found \['a'\] beside data\.reader=demo, expected nothing"),
    ],
)
def test_rules(data, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict({"data": data})
