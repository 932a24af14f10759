"""The four sets of questions from small files in their own layouts, with what is odd in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from online_rl.errors import ConfigError, DataError
from online_rl.vqa.formats import read_questions
from online_rl.vqa.questions import as_study, prompt

NAN = float("nan")


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def image(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_chexbench(tmp_path):
    row = {"question": "Which view?", "option_0": "AP", "option_1": "lateral", "option_2": NAN, "option_3": NAN}
    tasks = {
        "View Classification": [
            row | {"image_path": "a.jpg", "answer": 1, "data_source": "x"},
            row | {"image_path": "a.jpg|b.jpg", "answer": 0.0},
            row | {"image_path": ["b.jpg", "c.jpg"], "answer": "1"},
            row | {"image_path": "a.jpg", "answer": 2},
            row | {"image_path": NAN, "answer": 1},
            row | {"image_path": "a.jpg", "answer": 0, "option_0": NAN},
        ],
        "Findings Generation": [{"section_findings": "Clear.", "section_indication": "cough", "image_path": "a.jpg"}],
    }
    place = image(tmp_path / "images" / "a.jpg")
    found = read_questions("chexbench", write(tmp_path / "data.json", tasks))
    assert [q.answer for q in found.questions] == [1, 0, 1]
    first, second, third = found.questions
    assert first.options == ("AP", "lateral") and first.task == "View Classification" and first.images == (place,)
    assert [len(q.images) for q in (second, third)] == [2, 2]
    assert (
        len(found.left_out) == 3 and "View Classification[3]: answer: found '2', expected 0 to 1" in found.left_out[0]
    )
    asked = "Which view? Options: (A) AP (B) lateral Answer with the letter of the right option alone."
    assert prompt(first) == asked and as_study(first).indication == asked


def test_a_question_about_more_images_than_are_shown_is_left_out_with_the_remedy(tmp_path):
    """Whoever sees only some of them answers another question."""
    row = {"question": "Which is later?", "option_0": "first", "option_1": "second", "answer": 1}
    rows = [row | {"image_path": path} for path in ("a.jpg", "a.jpg|b.jpg", "a.jpg|b.jpg|c.jpg")]
    path = write(tmp_path / "data.json", {"Order": rows + [row | {"image_path": "a.jpg", "answer": 9}]})
    found = read_questions("chexbench", path, max_images=1)
    assert [len(q.images) for q in found.questions] == [1] and len(found.left_out) == 3
    assert found.left_out[0] == "data.json: Order[1]: found 2 images, expected at most data.max_images=1"
    assert found.remedy() == " 2 of them have more images than are shown; data.max_images=3 asks them too."
    assert read_questions("chexbench", path, max_images=3).remedy() == "", "the answer 9 remains wrong"
    write(tmp_path / "data.json", {"Order": rows[1:]})
    with pytest.raises(DataError, match=r"2 cannot be asked, .*found 2 images.* data\.max_images=3 asks them too"):
        read_questions("chexbench", path, max_images=1)


def test_rexvqa(tmp_path):
    row = {"question": "What is seen?", "task_name": "Presence", "PatientID": "p1", "ImagePath": ["../deid_png/a.png"]}
    place = image(tmp_path / "deid_png" / "a.png")
    content = [
        row | {"options": ["A. Edema", "B. None"], "correct_answer": "B"},
        row | {"options": ["Edema", "None", "Mass"], "correct_answer": "C"},
        row | {"options": ["Edema", "None"], "correct_answer": "D"},
        row | {"options": ["Edema", NAN], "correct_answer": "A"},
    ]
    for form in (content, {f"q{i}": item for i, item in enumerate(content)}):
        found = read_questions("rexvqa", write(tmp_path / "metadata" / "test_vqa_data.json", form))
        assert [(q.options, q.answer) for q in found.questions] == [
            (("Edema", "None"), 1),
            (("Edema", "None", "Mass"), 2),
        ]
        assert found.questions[0].group == "p1" and Path(found.questions[0].images[0]).samefile(place)
        assert len(found.left_out) == 2 and "correct_answer: found 'D', expected one of AB" in found.left_out[0]


def test_vqa_rad(tmp_path):
    row = {
        "image_name": "a.jpg",
        "question": "Is it enlarged?",
        "question_type": "SIZE",
        "phrase_type": "test_freeform",
    }
    content = [
        row | {"answer": "Yes", "answer_type": "CLOSED "},
        row | {"answer": "no", "answer_type": "closed"},
        row | {"answer": 2, "answer_type": "CLOSED", "question": "How many, 1 or 2?"},
        row | {"answer": "the heart", "answer_type": "OPEN"},
        row | {"answer": NAN, "answer_type": "CLOSED"},
        row | {"answer": "Yes", "answer_type": "CLOSED", "phrase_type": "para"},
    ]
    path = write(tmp_path / "VQA_RAD Dataset Public.json", content)
    place = image(tmp_path / "VQA_RAD Image Folder" / "a.jpg")
    found = read_questions("vqa_rad", path)
    assert [(q.options, q.answer) for q in found.questions] == [(("yes", "no"), 0), (("yes", "no"), 1), ((), "2")]
    assert found.questions[0].images == (place,) and found.questions[0].task == "SIZE"
    assert len(found.left_out) == 1
    assert [q.answer for q in read_questions("vqa_rad", path, split="train").questions] == [0]


def test_slake(tmp_path):
    row = {"img_name": "xmlab1/source.jpg", "question": "Is it normal?", "answer_type": "CLOSED", "answer": "No"}
    content = [
        row | {"q_lang": "en", "content_type": "Abnormality"},
        row | {"q_lang": "zh"},
        row | {"q_lang": "en", "answer": "Left lung", "question": "Left or right lung?"},
    ]
    place = image(tmp_path / "imgs" / "xmlab1" / "source.jpg")
    found = read_questions("slake", write(tmp_path / "test.json", content))
    assert [(q.task, q.answer) for q in found.questions] == [("Abnormality", 1), ("closed", "Left lung")]
    assert found.questions[0].images == (place,)
    assert (
        read_questions("slake", tmp_path / "test.json", tmp_path / "else")
        .questions[0]
        .images[0]
        .startswith(str(tmp_path / "else"))
    )


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("mimic", "[]", ConfigError, "found format 'mimic', expected one of chexbench, rexvqa, vqa_rad, slake"),
        ("slake", "{", DataError, "not JSON"),
        ("slake", "[]", DataError, "holds no closed question of slake"),
        ("slake", "[3]", DataError, "not laid out as slake"),
        ("chexbench", "[1]", DataError, "not laid out as chexbench"),
        ("rexvqa", '[{"question": "x"}]', DataError, r"1 cannot be asked, such as q.json: \[0\]: options"),
        ("rexvqa", None, DataError, "cannot be read"),
    ],
)
def test_what_is_no_set_of_questions_is_refused(tmp_path, name, content, error, words):
    path = tmp_path / "q.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words):
        read_questions(name, path)


def world(folder: Path) -> Path:
    studies = [
        ("p1_s1", "p1", "train", "AP", [{"name": "effusion", "side": "left"}]),
        ("p2_s1", "p2", "eval", "AP", [{"name": "effusion", "side": "left"}, {"name": "cardiomegaly"}]),
        ("p3_s1", "p3", "test", "PA", []),
        ("p4_s1", "p4", "test", "lateral", [{"name": "effusion", "side": "bilateral"}]),
    ]
    keys = ("study_id", "patient_id", "split", "view", "labels")
    lines = []
    for values in studies:
        image(folder / "images" / f"{values[0]}.png")
        lines.append(json.dumps(dict(zip(keys, values, strict=True)) | {"image_paths": [f"images/{values[0]}.png"]}))
    (folder / "studies.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "studies.jsonl"


def test_the_demos_xrays_are_asked_about_by_their_labels(tmp_path):
    questions = read_questions("demo", world(tmp_path)).questions
    assert not any("p1" in q.group for q in questions), "what it trains on is not asked"
    told = {(q.group, q.task): (q.text, q.options[q.answer]) for q in questions}
    assert told["p2", "view"] == ("Which view is this?", "AP") and told["p3", "view"][1] == "PA"
    assert ("p4", "view") not in told and ("p4", "side") not in told, "neither view nor side can be chosen"
    assert told["p2", "side"] == ("On which side is the effusion?", "left")
    assert told["p3", "presence"][1] == "no", "nothing is there"
    here = [(q.text, q.options[q.answer]) for q in questions if q.group == "p2" and q.task == "presence"]
    assert [answer for _, answer in here] == ["yes"], "both findings of this world are there, so none is absent"
    assert all(Path(q.images[0]).is_file() for q in questions)
    assert len({q.question_id for q in questions}) == len(questions)
