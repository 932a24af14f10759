"""Files become studies; every bad row is refused or left out and counted, with the row named and no text shown."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data.draw import draw_by_patient
from online_rl.data.quarantine import FILE_NAME
from online_rl.data.readers import read_studies
from online_rl.errors import DataError

SECRET = "secret report words"


def row(n: int = 0, **changes) -> dict:
    base = {"study_id": f"s{n}", "patient_id": f"p{n}", "images": ["x.png"], "findings": SECRET, "split": "train"}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


@pytest.fixture
def folder(tmp_path):
    Image.new("L", (16, 16), 9).save(tmp_path / "x.png")
    return tmp_path


@pytest.fixture
def read(folder):
    def read(rows: list[dict] | bytes, *, reader="jsonl", eval_studies: int | None = 128, **data):
        path = folder / f"studies.{reader}"
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        elif reader == "jsonl":
            path.write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
        else:
            buffer = io.StringIO(newline="")
            writer = csv.DictWriter(buffer, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
        data = {"reader": reader, "path": str(path), **data}
        return read_studies(config_from_dict({"data": data, "eval": {"studies": eval_studies}}))

    return read


@pytest.fixture
def refused(read):
    def refused(rows, **data) -> str:
        with pytest.raises(DataError) as caught:
            read(rows, **data)
        assert "secret" not in str(caught.value), "no report text in a message"
        return str(caught.value)

    return refused


def test_a_row_becomes_a_study_with_its_further_columns(read, folder):
    [study] = read([row(1, indication="cough", view="PA", age=61, note={"a": 1})]).train
    assert (study.study_id, study.patient_id, study.indication, study.reference) == ("s1", "p1", "cough", SECRET)
    assert (study.images, study.views, study.source) == ((str(folder / "x.png"),), ("PA",), "studies.jsonl:1")
    assert study.columns == {"age": 61, "note": {"a": 1}}


@pytest.mark.parametrize("image", ["images", "image", "image_paths", "image_path", "path_to_image", "filename"])
@pytest.mark.parametrize(
    "findings", ["findings", "section_findings", "findings_section", "reference", "ground_truth", "target_text"]
)
def test_every_name_of_images_and_findings_is_known(read, image, findings):
    [study] = read([{"id": 7, image: "x.png", findings: "clear"}], eval_fraction=0.0).train
    assert (study.study_id, study.reference, study.columns) == ("7", "clear", {})


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("study_id", "patient_id", "indication"), ("1", "2", "cough")),
        (("study", "subject_id", "section_indication"), ("1", "2", "cough")),
        (("uid", "PatientID", "clinical_history"), ("1", "2", "cough")),
    ],
)
def test_every_name_of_ids_and_indication_is_known(read, names, values):
    item = dict(zip(names, values, strict=True))
    [study] = read([{**item, "image": "x.png", "findings": "clear"}], eval_fraction=0.0).train
    assert (study.study_id, study.patient_id, study.indication) == values


def test_the_section_is_chosen_and_the_other_kept_as_a_column(read):
    item = row(findings="the lungs", impression="no change")
    assert read([item]).train[0].reference == "the lungs"
    study = read([item], section="impression").train[0]
    assert (study.reference, study.columns) == ("no change", {"findings": "the lungs"})


@pytest.mark.parametrize("images", [["x.png", "y.png", "x.png"], "x.png|y.png|x.png", "['x.png', 'y.png', 'x.png']"])
def test_images_come_as_a_list_or_joined_and_the_first_ones_count(read, folder, images):
    Image.new("L", (16, 16), 9).save(folder / "y.png")
    [study] = read([row(images=images, views="PA|lateral|AP")], max_images=2).train
    assert study.images == (str(folder / "x.png"), str(folder / "y.png"))
    assert study.views == ("PA", "lateral")


def test_relative_images_start_at_the_image_root_and_absolute_ones_anywhere(read, folder):
    root = folder / "elsewhere"
    root.mkdir()
    Image.new("L", (16, 16), 9).save(root / "z.png")
    rows = [row(1, images="z.png"), row(2, images=str(folder / "x.png"))]
    images = [study.images[0] for study in read(rows, image_root=str(root)).train]
    assert images == [str(root / "z.png"), str(folder / "x.png")]


def test_csv_gives_the_same_studies_as_jsonl(read):
    rows = [row(n, images="x.png", findings='lungs, "clear"\nheart normal', indication="") for n in range(3)]
    from_csv, from_jsonl = read(rows, reader="csv").train, read(rows).train
    assert [(s.study_id, s.reference, s.images) for s in from_csv] == [
        (s.study_id, s.reference, s.images) for s in from_jsonl
    ]
    assert [s.source for s in from_csv] == ["studies.csv:2", "studies.csv:4", "studies.csv:6"], "lines, not records"


def test_bom_crlf_blank_lines_and_lone_surrogates_do_no_harm(read):
    lines = [json.dumps(row(1)), "", json.dumps(row(2, findings="half \ud83d emoji"))]
    studies = read(b"\xef\xbb\xbf" + "\r\n".join(lines).encode()).train
    assert [study.source for study in studies] == ["studies.jsonl:1", "studies.jsonl:3"]
    assert studies[1].reference.encode("utf-8").decode() == "half \ufffd emoji"


@pytest.mark.parametrize("nothing", [..., None, "", "  ", "___", "XXXX. XXXX", "...", "[removed]", float("nan")])
def test_studies_without_a_reference_are_left_out_and_counted(read, nothing):
    studies = read([row(1), row(2, findings=nothing), row(3)])
    assert [study.study_id for study in studies.train] == ["s1", "s3"]
    assert studies.report["left out: no reference"] == 1
    assert studies.report["rows"] == 3


def test_no_reference_at_all_is_refused_with_the_section(refused):
    message = refused([row(1, findings="___"), row(2, findings="")])
    assert "none of 2 studies has a findings section" in message
    assert "data.section" in message


def test_studies_without_an_image_are_left_out_and_counted(read, refused):
    studies = read([row(1), row(2, images=[])])
    assert (len(studies.train), studies.report["left out: no image"]) == (1, 1)
    assert "studies.jsonl:1: no column for images" in refused([row(1, images=...)])


def test_a_study_id_that_stands_twice_is_refused_with_both_rows(refused):
    message = refused([row(1), row(2), row(1, patient_id="p9")])
    assert "studies.jsonl:1 and studies.jsonl:3: the same study id twice" in message


def test_a_patient_in_two_splits_is_refused_by_row_and_never_by_name(refused):
    rows = [row(n, patient_id=f"MRN{n % 5}", split="train" if n < 5 else "validate") for n in range(10)]
    message = refused(rows)
    assert "5 patients stand in more than one split" in message
    assert "studies.jsonl:1 (train) and studies.jsonl:6 (eval)" in message
    assert message.count("(train)") == 3
    assert "MRN" not in message


@pytest.mark.parametrize(
    ("word", "split"), [("train", "train"), ("Validate", "eval"), ("val", "eval"), ("dev", "eval"), ("TEST", "test")]
)
def test_split_words_are_read(read, word, split):
    assert [study.split for study in getattr(read([row(1), row(2, split=word)]), split)][-1] == split


def test_an_unknown_split_is_refused_with_its_row(refused):
    assert "studies.jsonl:2: split: found 'trian'" in refused([row(1), row(2, split="trian")])


def test_rows_without_a_split_are_divided_by_patient_and_stay_where_they_are(read):
    rows = [row(n, patient_id=f"p{n % 200}", split=...) for n in range(600)]
    small, large = read(rows, eval_fraction=0.1), read(rows, eval_fraction=0.3, eval_studies=None)
    held_out = {study.patient_id for study in small.eval}
    assert held_out.isdisjoint(study.patient_id for study in small.train)
    assert 0.04 < len(held_out) / 200 < 0.18
    assert held_out < {study.patient_id for study in large.eval}, "a larger fraction keeps those held out before"
    again = read(rows[::-1], eval_fraction=0.1)
    assert {study.patient_id for study in again.eval} == held_out, "the order of rows does not matter"
    assert read(rows, eval_fraction=0.0).eval == []


def test_a_row_without_split_follows_its_patients_other_rows(read):
    rows = [row(n, patient_id=f"p{n}", split="train") for n in range(50)]
    rows += [row(100 + n, patient_id=f"p{n}", split=None) for n in range(50)]
    assert len(read(rows, eval_fraction=0.5).train) == 100


def test_where_there_is_a_limit_the_first_train_studies_count_and_eval_studies_are_drawn(read):
    rows = [row(n) for n in range(6)] + [row(10 + n, split="val") for n in range(4)]
    studies = read(rows, max_train_studies=2, eval_studies=1)
    assert [study.study_id for study in studies.train] == ["s0", "s1"]
    assert studies.eval == draw_by_patient(read(rows, eval_studies=None).eval, 1)
    assert studies.report["train studies over the limit"] == 4
    assert studies.report["eval studies over the limit"] == 3


def test_eval_studies_under_a_limit_are_of_many_patients(read):
    """Three of the first four rows are one patient's."""
    patients = ["a", "a", "a", "b", "c", "d", "d"]
    rows = [row(99), *(row(n, split="val", patient_id=patient) for n, patient in enumerate(patients))]
    found = read(rows, eval_studies=4).eval
    assert {study.patient_id for study in found} == {"a", "b", "c", "d"}
    assert [study.study_id for study in found] == sorted(study.study_id for study in found), "as in the file"


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"", "the file is empty")])
def test_a_missing_or_empty_image_stops_with_path_and_row(refused, folder, content, words):
    if content is not None:
        (folder / "bad.png").write_bytes(content)
    message = refused([row(1), row(2, images="bad.png")])
    assert f"studies.jsonl:2: image {folder / 'bad.png'}: {words}" in message
    assert "data.bad_images_budget is 0" in message


def test_bad_images_within_the_budget_are_set_aside_once_and_beyond_it_stop(read, refused, folder):
    run = folder / "run"
    rows = [row(1), row(2, images="a.png"), row(3, images=["x.png", "b.png"])]
    for _ in range(2):  # the second time as a resumed run
        studies = read(rows, bad_images_budget=2)
        studies.quarantine.write_to(run)
        assert [study.study_id for study in studies.train] == ["s1"]
        assert studies.report["left out: bad image"] == 2
    lines = [json.loads(line) for line in (run / FILE_NAME).read_text().splitlines()]
    assert [line["row"] for line in lines] == ["studies.jsonl:2", "studies.jsonl:3"]
    assert "secret" not in (run / FILE_NAME).read_text()
    assert "studies.jsonl:3" in refused(rows, bad_images_budget=1)


def test_what_every_rank_set_aside_is_listed_by_one_and_what_one_meets_later_by_itself(read, folder):
    quarantine = read([row(1), row(2, images="a.png")], bad_images_budget=2).quarantine
    quarantine.write_to(folder, so_far=False)
    assert not (folder / FILE_NAME).exists()
    for _ in range(2):
        quarantine.add("studies.jsonl:2", "image a.png: file not found")
        quarantine.add("studies.jsonl:1", "image x.png: cannot be decoded")
    (line,) = (folder / FILE_NAME).read_text().splitlines()
    assert json.loads(line) == {"row": "studies.jsonl:1", "problem": "image x.png: cannot be decoded"}


def test_only_images_that_are_used_must_be_there(read):
    assert len(read([row(1, images=["x.png", "none.png"])], max_images=1).train) == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [("s1.dcm", "no such file"), ("https://host/x.png", "found a URL"), (7, "expected a path")],
)
def test_images_of_another_kind_are_refused_at_load(refused, image, words):
    message = refused([row(1), row(2, images=image)])
    assert "studies.jsonl:2" in message
    assert words in message


@pytest.mark.parametrize(
    ("second_line", "words"),
    [
        (b'{"study_id": "s2", "findings": "secret', "malformed JSON at column"),
        (b"[1, 2]", "found list, expected one JSON object"),
        (b'{"findings": "secret \xe9"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply|malformed"),
    ],
)
def test_a_malformed_line_is_named(read, second_line, words):
    with pytest.raises(DataError, match=rf"studies.jsonl:2: .*({words})") as caught:
        read(json.dumps(row(1)).encode() + b"\n" + second_line + b"\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "studies.csv:1: found no header"),
        (b"id,id,image,findings\n", "studies.csv:1: found column 'id' twice"),
        (b'id,image,findings\n1,x.png,"a\nb"\n2,x.png,secret,words\n', "studies.csv:4: found 4 fields, expected 3"),
        (b'id,image,findings\n1,x.png,ok\n2,x.png,"secret\n', "studies.csv:3: malformed CSV"),
        (b"id,image,findings\n1,x.png,secret \xe9\n", "not UTF-8"),
    ],
)
def test_a_malformed_csv_is_named_with_its_line(read, text, words):
    with pytest.raises(DataError) as caught:
        read(text, reader="csv")
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("reader", "name", "text", "other"),
    [
        ("jsonl", "mine.CSV", "image,report\nx.png,clear\n", "data.reader=csv"),
        ("csv", "mine.jsonl", '{"image":"x.png","report":"clear"}\n', "data.reader=jsonl"),
    ],
)
def test_a_file_of_the_other_kind_is_told_its_reader(folder, reader, name, text, other):
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}:1: malformed .*{other}"):
        read_studies(config_from_dict({"data": {"reader": reader, "path": str(folder / name)}}))


def test_what_is_not_there_is_named_with_the_key_to_set(folder):
    for data in (
        {"reader": "jsonl", "path": str(folder / "none.jsonl")},
        {"reader": "jsonl", "path": str(folder)},
        {"reader": "iu_xray", "path": str(folder / "none")},
    ):
        with pytest.raises(DataError, match=r"data.path: .* Set data.path"):
            read_studies(config_from_dict({"data": data}))
    (folder / "mine.jsonl").write_text("")
    with pytest.raises(DataError, match="which is a folder, expected a file. Set data.path to .* such as mine.jsonl"):
        read_studies(config_from_dict({"data": {"reader": "jsonl", "path": str(folder)}}))
    (folder / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match="save_to_disk wrote.*studies=datasets.load_from_disk"):
        read_studies(config_from_dict({"data": {"reader": "csv", "path": str(folder)}}))
    with pytest.raises(DataError, match="indiana_reports.csv: no such file"):
        read_studies(config_from_dict({"data": {"reader": "iu_xray", "path": str(folder)}}))
    with pytest.raises(DataError, match="online-rl demo prepare"):
        read_studies(config_from_dict({}))


def test_no_study_to_train_on_is_refused_with_the_counts(refused):
    assert "no study to train on; rows: 1" in refused([row(1, split="test")])


def test_the_demo_reader_reads_what_the_demo_wrote(folder):
    (folder / "studies.jsonl").write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2, split="eval")) + "\n")
    studies = read_studies(config_from_dict({}), demo_folder=folder)
    assert (len(studies.train), len(studies.eval)) == (1, 1)


def test_real_notes_load(shared):
    path = shared / "data" / "cxr-notes" / "studies.jsonl"
    studies = read_studies(config_from_dict({"data": {"reader": "jsonl", "path": str(path)}}))
    assert studies.report["rows"] == 207 == len(studies.train) + len(studies.eval)
    assert {s.patient_id for s in studies.train}.isdisjoint(s.patient_id for s in studies.eval)
    assert len(studies.eval) > 5
    assert studies.train[0].columns.keys() == {"license", "source"}


def test_real_indiana_reports_load_frontal_first(shared, tmp_path):
    folder = shared / "data" / "iu-xray"
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    with (folder / "indiana_projections.csv").open(newline="") as file:
        for item in csv.DictReader(file):
            os.link(tmp_path / "one.png", tmp_path / item["filename"])  # the collection's images are not at hand
    data = {"reader": "iu_xray", "path": str(folder), "image_root": str(tmp_path)}
    studies = read_studies(config_from_dict({"data": data}))
    everyone = studies.train + studies.eval
    assert studies.report["rows"] == 3080
    assert studies.report["train"] > 2000
    assert len(everyone) + sum(n for key, n in studies.report.items() if "left out" in key or "over" in key) == 3080
    assert all(study.views[0] == "Frontal" for study in everyone if "Frontal" in study.views)
    assert studies.train[0].columns["MeSH"]
    both = read_studies(config_from_dict({"data": {**data, "section": "impression"}}))
    assert both.train[0].reference != studies.train[0].reference
