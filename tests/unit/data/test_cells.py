"""What a cell means is decided once: missing words, ids, texts and lists, whoever wrote the file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data import cells
from online_rl.data.readers import read_studies
from online_rl.errors import DataError


@pytest.mark.parametrize(
    "word", ["", "  ", "nan", "NaN", "None", "NONE", "N/A", "n/a", "null", "NULL", "NA", "<NA>", "NaT"]
)
def test_words_for_nothing_are_missing_in_every_role(word):
    assert cells.is_missing(word) and cells.text(word, "r") == "" and cells.identifier(word, "r") == ""
    assert cells.items(word, "r") == [] and cells.items(f"['a.png', '{word}']", "r") == ["a.png", None]


@pytest.mark.parametrize("word", ["None.", "No", "nano", "0", "normal", "N/A for this exam"])
def test_texts_that_resemble_them_are_not(word):
    assert not cells.is_missing(word) and cells.text(word, "r") == word


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10000032, "10000032"),
        (10000032.0, "10000032"),
        ("10000032.0", "10000032"),
        ("10000032", "10000032"),
        (np.int64(7), "7"),
        (np.float64(7.0), "7"),
        (" s50414267 ", "s50414267"),
        ("007", "007"),
        ("1.5", "1.5"),
        ("1.2.840.10", "1.2.840.10"),
        ("1e234567", "1e234567"),  # the beginning of a hash
        (1234567890123456789, "1234567890123456789"),
        ("1234567890123456789", "1234567890123456789"),
        (9007199254740991.0, "9007199254740991"),
        (float("nan"), ""),
    ],
)
def test_one_id_however_it_was_written(value, expected):
    assert cells.identifier(value, "r") == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1}, "dict"),
        ([1], "list"),
        (True, "bool"),
        ("1.0000032E+07", "lost"),
        ("1,00E+07", "lost"),  # a German Excel
        ("1e+20", "lost"),
        (1234567890123456789.0, "rounded"),  # would be ...768
        ("1234567890123456789.0", "rounded"),
    ],
)
def test_what_is_no_id_is_refused_with_its_place(value, found):
    with pytest.raises(DataError, match=rf"t\.csv:4: patient_id: .*{found}"):
        cells.identifier(value, "t.csv:4: patient_id")


@pytest.mark.parametrize("value", [{"lungs": "Clear."}, 3, True, ["Clear.", {"a": 1}]])
def test_what_is_no_text_is_refused_and_not_shown(value):
    with pytest.raises(DataError, match=r"row: findings: found (dict|int|bool), expected text") as caught:
        cells.text(value, "row: findings")
    assert "Clear" not in str(caught.value) and "lungs" not in str(caught.value)


AB = ["a.png", "b.png"]


@pytest.mark.parametrize(
    "value",
    [
        AB,
        tuple(AB),
        "a.png|b.png",
        "['a.png', 'b.png']",
        "['a.png' 'b.png']",
        "['a.png'\n 'b.png']",
        '["a.png", "b.png"]',
        '[ "a.png" , "b.png" ]',
        "('a.png', 'b.png')",
        "a.png;b.png",
        "a.png, b.png",
        str(np.array(AB)),
        str(np.array(AB, dtype=object)),
        str(AB),
    ],
)
def test_every_spelling_of_a_list(value):
    assert cells.items(value, "r") == AB


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("one, two.png", ["one, two.png"]),  # a comma in a name
        ("[1].png", ["[1].png"]),
        ("['it\\'s.png' \"b's.png\"]", ["it's.png", "b's.png"]),
        ("['PA' nan]", ["PA", None]),
        ("['PA', None, 'AP']", ["PA", None, "AP"]),
        ("[]", []),
        (b"bytes", [b"bytes"]),
    ],
)
def test_lists_of_one_of_none_and_with_holes(value, expected):
    assert cells.items(value, "r") == expected


@pytest.mark.parametrize("value", ["['a.png' ... 'z.png']", "[a.png b.png]", "['a.png", "['a.png'b]"])
def test_a_list_that_is_cut_or_not_quoted_is_no_guess(value):
    if value.endswith("]"):
        with pytest.raises(DataError, match="t.csv:2: images: a list of images or views is malformed"):
            cells.items(value, "t.csv:2: images")
    else:
        assert cells.items(value, "r") == [value]  # a path that no file has


def test_views_stay_beside_their_images(tmp_path):
    for name in AB:
        Image.new("L", (16, 16)).save(tmp_path / name)
    row = {"images": ["a.png", None, "b.png"], "views": ["PA", "AP", None], "findings": "Clear."}
    (tmp_path / "s.jsonl").write_text(json.dumps(row))
    data = {"reader": "jsonl", "path": str(tmp_path / "s.jsonl"), "eval_fraction": 0.0}
    [study] = read_studies(config_from_dict({"data": data})).train
    assert [image[-5:] for image in study.images] == AB and study.views == ("PA", "")


def test_a_table_that_pandas_wrote_gives_what_it_was_made_of(tmp_path):
    """Missing cells become NaN, ids become floats beside them, and lists become the text of arrays."""
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    frame = pd.DataFrame(
        {
            "study_id": [1, 2, 3, 4],
            "subject_id": [10000032, None, 10000033, None],
            "images": [np.array(["a.png"])] * 4,
            "findings": ["Clear.", "Effusion.", None, "Edema."],
            "indication": ["cough", None, "x", None],
        }
    )
    path = tmp_path / "studies.csv"
    frame.astype(object).where(frame.notna(), float("nan")).map(str).to_csv(path, index=False)  # writes "nan"
    data = {"reader": "csv", "path": str(path), "eval_fraction": 0.0}
    studies = read_studies(config_from_dict({"data": data}))
    assert [(s.study_id, s.patient_id, s.indication) for s in studies.train] == [
        ("1", "10000032", "cough"),
        ("2", "", ""),
        ("4", "", ""),
    ]
    assert studies.report["left out: no reference"] == 1
