"""Studies handed over in Python give what a file with the same rows gives, and their errors name the row."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from online_rl.config import load_config
from online_rl.data.images import load_image
from online_rl.data.in_memory import studies_in_memory
from online_rl.data.readers import read_studies
from online_rl.data.study import Study
from online_rl.errors import DataError


def config(**data):
    return load_config({"data": {"reader": "python", "eval_fraction": 0.0, **data}})


def picture(value: int = 40) -> Image.Image:
    return Image.fromarray(np.full((16, 24), value, np.uint8))


def png(value: int = 40) -> bytes:
    buffer = io.BytesIO()
    picture(value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "x.png").write_bytes(png())
    return tmp_path / "x.png"


def row(number: int, **fields):
    return {"study_id": f"s{number}", "patient_id": f"p{number}", "image": "x.png", "findings": "clear lungs", **fields}


def pixel(image) -> int:
    return load_image(image, 64).getpixel((0, 0))[0]


def test_dicts_give_the_studies_of_a_file_with_the_same_rows(path):
    rows = [row(n, split=split, age=60 + n) for n, split in enumerate(["train", "val", "test", "train"])]
    file = path.parent / "studies.jsonl"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    of_file = read_studies(load_config({"data": {"reader": "jsonl", "path": file}}))
    given = studies_in_memory(rows, config(image_root=path.parent))
    for split in ("train", "eval", "test"):
        for study, other in zip(getattr(given, split), getattr(of_file, split), strict=True):
            assert (study.study_id, study.images, study.columns) == (other.study_id, other.images, other.columns)
    assert [study.source for study in given.train] == ["studies[0]", "studies[3]"]


def test_images_may_be_paths_bytes_or_pil_images(path):
    images = [
        str(path),
        path,
        png(41),
        picture(42),
        {"bytes": png(43), "path": None},
        {"bytes": None, "path": str(path)},
    ]
    studies = studies_in_memory([row(n, image=image) for n, image in enumerate(images)], config()).train
    assert [pixel(study.images[0]) for study in studies] == [40, 40, 41, 42, 43, 40]
    [study] = studies_in_memory([row(0, image=[path, png(41)])], config(max_images=2)).train
    assert [pixel(image) for image in study.images] == [40, 41]


def test_a_column_that_data_columns_names_may_hold_images(path):
    given = {key: value for key, value in row(0, xray=picture(44)).items() if key != "image"}
    for name in ("xray", "X Ray"):
        rows = [{key if key != "xray" else name: value for key, value in given.items()}]
        [study] = studies_in_memory(rows, config(columns={"images": name})).train
        assert pixel(study.images[0]) == 44


def test_a_dataset_with_image_columns_keeps_its_images_encoded(path):
    datasets = pytest.importorskip("datasets")
    rows = [{"id": n, "image": str(path), "findings": "clear lungs", "age": 60 + n} for n in range(4)]
    of_paths = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    studies = studies_in_memory(of_paths, config()).train
    assert [study.images for study in studies] == [(str(path),)] * 4
    assert [(study.study_id, study.columns) for study in studies] == [(str(n), {"age": 60 + n}) for n in range(4)]
    several = datasets.Dataset.from_list([{"id": 1, "images": [picture(41), picture(42)], "findings": "clear lungs"}])
    [study] = studies_in_memory(several, config(max_images=2)).train
    assert all(isinstance(image, bytes) for image in study.images) and [pixel(i) for i in study.images] == [41, 42]


def test_studies_are_taken_as_they_are_and_an_empty_split_is_chosen(path):
    made = [Study(f"s{n}", f"p{n}", (str(path),), "", "clear lungs", split="") for n in range(200)]
    given = studies_in_memory(made, config(eval_fraction=0.2))
    assert 15 <= len(given.eval) <= 65 and len(given.train) + len(given.eval) == 200
    again = studies_in_memory(given, config(eval_fraction=0.0))
    assert [s.study_id for s in again.eval] == [s.study_id for s in given.eval], (
        "what read_studies returns keeps its splits"
    )
    assert given.train[0].source.startswith("studies[")


def test_the_budget_for_bad_images_holds(path):
    rows = [row(0, image=str(path)), row(1, image="nowhere.png"), row(2, image=b"")]
    given = studies_in_memory(rows, config(bad_images_budget=2))
    assert [study.study_id for study in given.train] == ["s0"]
    assert list(given.quarantine.problems) == ["studies[1]", "studies[2]"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: [row(0, image=png()), row(1, image="nowhere.png")],
            r"studies\[1\]: image nowhere.png: no such file. Set",
        ),
        (lambda: [row(0, image=png()), row(0, image=png())], r"studies\[0\] and studies\[1\]: the same study id twice"),
        (lambda: [{"findings": "clear lungs"}], r"studies\[0\]: no column for images, expected one of images"),
        (lambda: [row(0, image=png()), "s1"], r"studies\[1\]: found str, expected a Study or a dict"),
        (
            lambda: [row(0, image=3)],
            r"studies\[0\]: image: found int, expected a path, the bytes of a PNG",
        ),
        (lambda: [row(0, image=[png(), None])], r"studies\[0\]: image\[1\]: found NoneType, expected a path"),
        (lambda: [row(0, image=png(), split="holdout")], r"studies\[0\]: split: found 'holdout'"),
        (lambda: [row(0, image=Image.new("F", (16, 16)))], r"studies\[0\]: image: a PIL image of mode 'F'.*Convert it"),
        (
            lambda: [Study("s", "p", "x.png", "", "clear")],
            r"studies\[0\]: images: found str, expected a tuple of paths",
        ),
        (lambda: [Study("s", "p", (), "", None)], r"studies\[0\]: reference: found NoneType, expected text"),
        (
            lambda: [Study("s", "p", (), "", "clear", split="dev")],
            r"studies\[0\]: split: found 'dev', expected train, eval",
        ),
        (lambda: [row(0, image=png(), findings="___")], "studies: none of 1 studies has a findings section with words"),
        (lambda: "studies.jsonl", "studies: found str, expected a list of Study, a list of dicts, a datasets.Dataset"),
        (lambda: iter([]), "studies: found list_iterator, expected a list of Study"),
        (lambda: [], "studies: none of 0 studies"),
    ],
)
def test_errors_name_the_row_and_the_remedy(make, message):
    with pytest.raises(DataError, match=message):
        studies_in_memory(make(), config())


def test_a_dataset_of_several_splits_is_refused_with_what_to_write():
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_list([{"image": "x.png", "findings": "clear"}])
    with pytest.raises(DataError, match=r"found a DatasetDict, .* studies\['train'\]"):
        studies_in_memory(datasets.DatasetDict({"train": part}), config())
