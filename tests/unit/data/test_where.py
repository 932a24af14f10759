"""`data.where`: what meets it stays, what does not is counted by its key, and what cannot be met is refused."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from online_rl.config import config_from_dict, load_config
from online_rl.data.in_memory import studies_in_memory
from online_rl.data.summary import describe
from online_rl.errors import ConfigError, DataError

SECRET = "secretsyndrome"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), 9).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


def row(name: str, views: list[str], words: int, split: str = "train", **columns) -> dict:
    text = " ".join(["clear"] * words)
    images = {"images": [PNG] * len(views), "views": views} if any(views) else {"images": [PNG]}
    return {"study_id": name, "patient_id": f"p{name}", "findings": text, "split": split, **images, **columns}


ROWS = [
    row("a", ["PA"], 3, sex="F"),
    row("b", ["AP", "LATERAL"], 6, sex="m"),
    row("c", ["LATERAL", "PA", "PA"], 9, sex=""),
    row("d", [""], 12, age=40.0),
    row("e", ["AP"], 3, split="eval", sex="M"),
    row("f", ["PA", "LATERAL"], 6, split="eval", sex="F"),
]


def read(where, rows=ROWS, **data):
    cfg = load_config({"data": {"reader": "python", "eval_fraction": 0.0, "where": where, **data}})
    return studies_in_memory(rows, cfg)


def ids(studies) -> str:
    return "".join(study.study_id for study in studies)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({}, "abcd"),
        ({"view": "PA"}, "ac"),
        ({"view": ["pa", "AP"]}, "abc"),
        ({"images": 1}, "ad"),
        ({"images": [2, 3]}, "bc"),
        ({"images": [2, None]}, "bc"),
        ({"words": [6, 9]}, "bc"),
        ({"words": [None, 6]}, "ab"),
        ({"sex": "F"}, "a"),
        ({"Sex": ["F", "M"]}, "ab"),
        ({"age": 40}, "d"),
        ({"view": ["PA", "AP"], "words": [4, None], "images": [1, 2]}, "b"),
    ],
)
def test_studies_that_meet_every_condition_are_trained_on_and_held_out_ones_stay(where, kept):
    found = read(where)
    assert (ids(found.train), ids(found.eval)) == (kept, "ef")
    assert found.report["train"] == len(kept)


def test_a_view_is_that_of_an_image_that_is_shown():
    assert ids(read({"view": "PA"}, max_images=2).train) == "ac"
    assert ids(read({"view": "PA"}, max_images=1).train) == "a", "the first image of c is lateral"


def test_split_names_the_studies_that_must_meet_the_others():
    found = read({"split": ["train", "validate"], "view": "PA"})
    assert (ids(found.train), ids(found.eval)) == ("ac", "f")
    found = read({"split": "eval", "view": "PA"})
    assert (ids(found.train), ids(found.eval)) == ("abcd", "f")


def test_the_limit_counts_studies_that_meet_the_conditions():
    assert ids(read({"words": [6, None]}, max_train_studies=2).train) == "bc"


def test_an_image_of_a_study_that_is_not_used_need_not_exist():
    rows = [*ROWS, row("g", ["LL"], 3) | {"images": ["missing.png"]}]
    assert ids(read({"view": ["PA", "AP"]}, rows).train) == "abc"


def test_the_doctor_says_why_studies_are_left_out_with_the_first_row():
    lines = describe(read({"view": ["PA", "AP"], "words": [4, None]}))
    assert "left out: data.where.view: 1 (first: studies[3])" in lines
    assert "left out: data.where.words: 1 (first: studies[0])" in lines


def test_a_value_that_no_study_has_is_a_doubt():
    doubts = read({"view": ["PA", "APP"]}).doubts
    assert "data.where.view: no study has APP. Is it spelt as in the data?" in doubts
    assert not any("data.where" in doubt for doubt in read({"view": ["PA", "AP"]}).doubts)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            {"view": "postero"},
            "data.where.view: found PA (3), LATERAL (2), AP (1) in the 4 studies of the train split, expected postero "
            "in at least one. Set what the data have, or remove the condition.",
        ),
        (
            {"words": [100, None]},
            "data.where.words: found 3 to 12 in the 4 studies of the train split, expected at least 100 words in the "
            "reference in at least one. Set what the data have, or remove the condition.",
        ),
        (
            {"images": [4, 5]},
            "data.where.images: found 1 to 3 in the 4 studies of the train split, expected 4 to 5 images in at least "
            "one. Set what the data have, or remove the condition.",
        ),
        (
            {"split": ["train", "eval"], "images": 3},
            "data.where.images: found 1 to 2 in the 2 studies of the eval split, expected 3 images in at least one. "
            "Set what the data have, or remove the condition.",
        ),
        (
            {"view": "AP", "words": [9, None]},
            "data.where: found no study of the train split that meets everything, expected at least one of 4; met by "
            "view 1, words 2. Loosen a condition, or remove one.",
        ),
        (
            {"sexx": "F"},
            "data.where.sexx: found no study with a column 'sexx', expected view, split, images, words, or a column "
            "that is kept with the studies: sex, age. Did you mean 'sex'?",
        ),
    ],
)
def test_conditions_that_leave_nothing_are_refused_with_what_there_is(where, message):
    with pytest.raises(DataError) as caught:
        read(where, max_images=3)
    assert str(caught.value) == message


def test_values_of_a_column_stay_out_of_messages():
    rows = [item | {"history": SECRET} for item in ROWS]
    with pytest.raises(DataError) as caught:
        read({"comment": "x"}, [item | {"comment": SECRET} for item in ROWS])
    assert SECRET not in str(caught.value) and "found 1 other value in the 4 studies" in str(caught.value)
    with pytest.raises(DataError) as caught:
        read({"history_": "x"}, rows)
    assert SECRET not in str(caught.value)


def test_views_that_nobody_has_point_to_their_column():
    rows = [row(name, [""], 3) for name in "ab"]
    with pytest.raises(DataError) as caught:
        read({"view": "PA"}, rows)
    assert str(caught.value) == (
        "data.where.view: found no other values in the 2 studies of the train split, expected PA in at least one. Name "
        "their column by data.columns={views: NAME}, or remove the condition."
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"images": [2, 1]}, "data.where.images: found [2, 1], expected a whole number, or the least and the most"),
        ({"words": "many"}, "data.where.words: found 'many', expected a whole number, or the least and the most"),
        ({"words": [1, 2, 3]}, "data.where.words: found [1, 2, 3], expected a whole number"),
        ({"words": [None, None]}, "data.where.words: found [None, None], expected a whole number"),
        ({"images": True}, "data.where.images: found True, expected a whole number"),
        ({"images": -1}, "data.where.images: found -1, expected a whole number"),
        ({"view": []}, "data.where.view: found [], expected a value or a list of values"),
        ({"view": None}, "data.where.view: found None, expected a value or a list of values"),
        ({"sex": {"is": "F"}}, "data.where.sex: found {'is': 'F'}, expected a value or a list of values"),
        ({"split": "trian", "images": 1}, "data.where.split: found 'trian', expected train, eval or test."),
        ({"split": "train"}, "data.where: found split alone, expected a condition beside it"),
    ],
)
def test_conditions_that_cannot_be_read_are_refused_before_the_data(where, message):
    with pytest.raises(ConfigError) as caught:
        config_from_dict({"data": {"where": where}})
    assert message in str(caught.value)
