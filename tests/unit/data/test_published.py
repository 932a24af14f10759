"""Published data sets in their own layouts: the same studies everywhere, official splits, and every fault named."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from online_rl.config import config_from_dict
from online_rl.data.images import load_image
from online_rl.data.readers import read_studies
from online_rl.data.study import Study
from online_rl.data.summary import describe
from online_rl.errors import ConfigError, DataError
from online_rl.rollout.prompts import PromptBuilder

SPLIT_OF = {"train": "train", "valid": "eval", "test": "test"}


def read(reader, path, **data):
    eval_studies = data.pop("eval_studies", None)
    data = {"reader": reader, "path": str(path), "eval_fraction": 0.25, **data}
    return read_studies(config_from_dict({"data": data, "eval": {"studies": eval_studies}}))


def refused(reader, path, **data) -> str:
    with pytest.raises(DataError) as caught:
        read(reader, path, **data)
    assert "effusion" not in str(caught.value) and "Cough" not in str(caught.value), "no report text"
    return str(caught.value)


def everyone(studies):
    return [*studies.train, *studies.eval, *studies.test]


WRITTEN = {  # reader -> (function of conftest, its arguments, file or folder that data.path names, what the form lacks)
    "mimic_cxr": ("write_mimic", {}, "", ()),
    "mimic_cxr zip gz": ("write_mimic", {"reports": "zip", "packed": True}, "", ()),
    "mimic_cxr sectioned": ("write_mimic", {"reports": "sectioned"}, "", ("indication",)),
    "mimic_cxr png": ("write_mimic", {"suffix": ".png"}, "files", ()),
    "chexpert_plus": ("write_chexpert", {}, "", ("test",)),
    "chexpert_plus jpg": ("write_chexpert", {"folder": "", "suffix": ".jpg"}, "df_chexpert_plus_240401.csv", ("test",)),
    "rexgradient": ("write_rexgradient", {}, "", ()),
    "padchest_gr": ("write_padchest", {}, "", ("indication", "impression")),
    "openi_xml": ("write_openi", {}, "", ("split",)),
    "iu_xray": ("write_indiana", {}, "", ("split",)),
    "iu_xray r2gen": ("write_r2gen", {}, "", ("indication", "impression")),
    "rexrank": ("write_rexrank", {}, "data.json", ("impression",)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_studies_in_every_form(forms, tmp_path, name):
    function, arguments, place, lacks = WRITTEN[name]
    root = tmp_path / "data" / "set"
    getattr(forms, function)(root, **arguments)
    studies = read(name.split()[0], root / place, max_images=2)
    found = {study.reference: study for study in everyone(studies)}
    assert len(found) == len(forms.EXAMS) == 24
    patients: dict[int, set[str]] = {}
    for exam in forms.EXAMS:
        study = found[exam.findings]
        assert [load_image(image, 64).getpixel((3, 3))[0] for image in study.images] == [g for _, g in exam.images]
        assert study.indication == ("" if "indication" in lacks else exam.indication)
        if "split" not in lacks:
            official = "valid" if exam.split == "test" and "test" in lacks else exam.split
            assert study.split == SPLIT_OF[official]
        patients.setdefault(exam.patient, set()).add(study.patient_id)
    if name.split()[0] not in ("openi_xml", "iu_xray"):  # one study per patient there
        assert all(len(ids) == 1 for ids in patients.values())
        assert len(set().union(*patients.values())) == 12
    if "impression" not in lacks:
        by_impression = read(name.split()[0], root / place, section="impression")
        assert {s.reference for s in everyone(by_impression)} == {exam.impression for exam in forms.EXAMS}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_prompts_token_for_token_from_every_form(forms, tmp_path, name, demo_processor):
    """And the same pixels: what a policy is shown of a study does not depend on the form that it came in."""
    function, arguments, place, lacks = WRITTEN[name]
    root = tmp_path / "data" / "set"
    getattr(forms, function)(root, **arguments)
    builder = PromptBuilder(demo_processor, config_from_dict({"data": {"max_images": 2}}))
    found = {study.reference: study for study in everyone(read(name.split()[0], root / place, max_images=2))}
    for exam in forms.EXAMS[:4]:
        images = tuple(forms.picture(grey) for _, grey in exam.images)
        indication = "" if "indication" in lacks else exam.indication
        plain = Study("s", "p", images, indication, exam.findings)
        got, expected = builder.build_all([found[exam.findings], plain])
        assert got.ids == expected.ids and len(set(got.ids)) > 10
        assert got.inputs["pixel_values"].equal(expected.inputs["pixel_values"])


def test_views_are_in_order_whatever_the_order_of_the_metadata(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    studies = read("mimic_cxr", tmp_path / "jpg").train
    assert Counter(study.views for study in studies) == {("PA", "LATERAL"): 6, ("AP",): 10}
    assert studies[0].study_id == "s50000000" and studies[0].patient_id == "p10000000"
    assert studies[0].source == "p10/p10000000/s50000000"


def test_studies_are_chosen_by_the_views_of_the_metadata(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    found = read("mimic_cxr", tmp_path / "jpg", where={"view": "PA", "images": [2, None]})
    assert [study.views for study in found.train] == [("PA", "LATERAL")] * 6
    assert len(found.eval) == 4 and len(found.test) == 4, "as without the condition"
    assert "left out: data.where.view: 10 (first: p10/p10000000/s50000001)" in describe(found)
    assert "found AP (10), PA (6), LATERAL (6) in the 16" in refused(
        "mimic_cxr", tmp_path / "jpg", where={"view": "SWIMMERS"}
    )


def test_indication_else_history(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg", forms.EXAMS[:2])
    reports = sorted((tmp_path / "mimic-cxr-reports").rglob("*.txt"))
    for path, asked in zip(reports, ("HISTORY:  Fall.", "REASON FOR EXAM:  Pain."), strict=True):
        path.write_text(f" FINAL REPORT\n {asked}\n \n FINDINGS:  Clear {asked[0]}.\n")
    assert [study.indication for study in read("mimic_cxr", tmp_path / "jpg").train] == ["Fall.", "Pain."]


def test_ids_with_letters_zeros_and_floats_meet(forms, tmp_path):
    root = tmp_path / "jpg"
    forms.write_mimic(root)
    path = root / "mimic-cxr-2.0.0-split.csv"
    lines = path.read_text().splitlines()
    changed = []
    for at, line in enumerate(lines[1:]):
        dicom, study, patient, split = line.split(",")
        forms_of = (study, f"s{study}", f"{study}.0", f"00{study}")
        changed.append(",".join([dicom, forms_of[at % 4], patient, split]))
    path.write_text("\n".join([lines[0], *changed]))
    assert len(everyone(read("mimic_cxr", root))) == 24


def test_a_patient_without_any_report_hides_no_others(forms, tmp_path):
    """Whichever patient the file system lists first."""
    forms.write_mimic(tmp_path / "jpg")
    whole = read("mimic_cxr", tmp_path / "jpg")
    first = next((tmp_path / "mimic-cxr-reports" / "files").glob("p1[0-9]/p*"))
    for report in first.glob("*.txt"):
        report.unlink()
    left = read("mimic_cxr", tmp_path / "jpg")
    patients = {study.patient_id for part in (left.train, left.eval, left.test) for study in part}
    everyone = {study.patient_id for part in (whole.train, whole.eval, whole.test) for study in part}
    assert patients == everyone - {first.name}


def test_every_reason_for_leaving_a_mimic_study_out_is_counted_with_its_first(forms, tmp_path):
    root, reports = tmp_path / "jpg", tmp_path / "mimic-cxr-reports" / "files"
    forms.write_mimic(root)
    split = root / "mimic-cxr-2.0.0-split.csv"
    split.write_text("".join(line for line in split.read_text().splitlines(True) if "50000002" not in line))
    (reports / "p11/p11000001/s50000003.txt").unlink()
    (reports / "p12/p12000002/s50000004.txt").write_text(" FINAL REPORT\n IMPRESSION:  Normal.\n")
    (reports / "p12/p12000002/s50000005.txt").write_text("")
    shutil.rmtree(root / "files/p10/p10000003")
    studies = read("mimic_cxr", root)
    reasons = {name: n for name, n in studies.report.items() if name.startswith("left out")}
    assert reasons == {
        "left out: not in mimic-cxr-2.0.0-split.csv": 1,
        f"left out: no report in {reports}": 1,
        "left out: no reference": 2,
        "left out: the patient's folder is not on disk": 2,
    }
    lines = "\n".join(describe(studies))
    assert "left out: no reference: 2 (first: p12/p12000002/s50000004)" in lines
    assert "24 rows: 10 studies to train on, 4 held out, 4 for tests" in lines
    assert "images used per study 1: 6, 2: 4" in lines and "words per reference" in lines
    assert "images: images" in lines and "kept for rewards and prompts alone: examination, impression" in lines


def test_an_absent_first_study_does_not_hide_the_format_of_the_others(forms, tmp_path):
    root = tmp_path / "png"
    forms.write_mimic(root, suffix=".png")
    first = sorted((root / "files").glob("p1*/p1*/s*"))[0]
    shutil.rmtree(first)
    assert len(everyone(read("mimic_cxr", root, bad_images_budget=2))) == 23


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda r: (r / "mimic-cxr-2.0.0-split.csv").unlink(), "no mimic-cxr-2.x.0-split.csv(.gz), expected it in the"),
        (lambda r: (r / "mimic-cxr-2.0.0-metadata.csv").write_text("a,b\n1,2\n"), "lacks the columns dicom_id"),
        (lambda r: (r.parent / "mimic-cxr-reports").rename(r.parent / "elsewhere"), "data.args={reports: PLACE}"),
        (lambda r: (r / "files").rename(r / "pictures"), "found no folder files/p10/p10000032"),
        (lambda r: (r / "mimic-cxr-2.0.0-split.csv").write_bytes(b"\x1f\x8b\x08cut"), "cut short or damaged"),
    ],
)
def test_what_mimic_lacks_is_named_with_its_place_and_remedy(forms, tmp_path, harm, words):
    forms.write_mimic(tmp_path / "data" / "jpg")
    harm(tmp_path / "data" / "jpg")
    assert words in refused("mimic_cxr", tmp_path / "data" / "jpg")


def test_places_can_be_told(forms, tmp_path):
    forms.write_mimic(tmp_path / "data" / "jpg")
    (tmp_path / "data" / "mimic-cxr-reports").rename(tmp_path / "texts")
    (tmp_path / "data" / "jpg" / "mimic-cxr-2.0.0-split.csv").rename(tmp_path / "split-of-mine.csv")
    args = {"reports": str(tmp_path / "texts"), "split": str(tmp_path / "split-of-mine.csv")}
    assert len(everyone(read("mimic_cxr", tmp_path / "data" / "jpg", args=args))) == 24
    with pytest.raises(
        ConfigError, match=r"data\.args: found \['report'\] .* expected none but reports, split, metadata"
    ):
        read("mimic_cxr", tmp_path, args={"report": "x"})


def test_a_mimic_study_that_the_data_set_itself_puts_in_two_splits_is_refused(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    path = tmp_path / "jpg" / "mimic-cxr-2.0.0-split.csv"
    path.write_text(path.read_text() + "x,50000000,10000000,test\n")
    assert "study s50000000 is in 'train' and in 'test'" in refused("mimic_cxr", tmp_path / "jpg")


def test_a_patient_whose_studies_are_in_two_splits_is_refused(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    path = tmp_path / "jpg" / "mimic-cxr-2.0.0-split.csv"
    path.write_text(
        "".join(t.replace("train", "test") if "50000001" in t else t for t in path.read_text().splitlines(True))
    )
    message = refused("mimic_cxr", tmp_path / "jpg")
    assert "1 patient stands in more than one split: p10/p10000000/s50000000 (train)" in message


def test_missing_images_are_bad_images_within_the_budget(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    next((tmp_path / "jpg/files/p11/p11000001/s50000002").iterdir()).unlink()
    assert "p11/p11000001/s50000002: image " in refused("mimic_cxr", tmp_path / "jpg")
    studies = read("mimic_cxr", tmp_path / "jpg", bad_images_budget=1)
    assert studies.report["left out: bad image"] == 1 and len(everyone(studies)) == 23


def test_images_that_are_nowhere_are_said_with_where_they_were_looked_for(forms, tmp_path):
    forms.write_chexpert(tmp_path / "set", folder="elsewhere")
    message = refused("chexpert_plus", tmp_path / "set")
    assert "none of 32 images is on disk" in message and str(tmp_path / "set" / "PNG") in message
    assert "data.image_root" in message
    root = str(tmp_path / "set" / "elsewhere")
    assert len(everyone(read("chexpert_plus", tmp_path / "set", image_root=root))) == 24


def test_padchest_in_spanish_and_a_study_without_a_row(forms, tmp_path):
    forms.write_padchest(tmp_path)
    assert {study.reference for study in read("padchest_gr", tmp_path, args={"language": "es"}).train} == {"uno."}
    path = tmp_path / "master_table.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("3,")))
    assert read("padchest_gr", tmp_path).report["left out: not in master_table.csv"] == 1
    assert "data.args.language: found 'de'" in refused("padchest_gr", tmp_path, args={"language": "de"})


def test_malformed_files_of_published_sets_are_named(forms, tmp_path):
    forms.write_openi(tmp_path / "openi")
    (tmp_path / "openi/ecgen-radiology/7.xml").write_text("<eCitation>\n<Abstract>effusion")
    assert "7.xml:2: malformed XML" in refused("openi_xml", tmp_path / "openi")
    forms.write_rexrank(tmp_path / "rank")
    path = tmp_path / "rank/data.json"
    path.write_text(path.read_text()[:-20])
    assert "data.json: malformed JSON at line 1" in refused("rexrank", path)
    forms.write_r2gen(tmp_path / "r2gen")
    path = tmp_path / "r2gen/annotation.json"
    path.write_text(json.dumps({"train": [{"id": 1}]}))
    assert "annotation.json: train[0]: expected id, image_path and report" in refused("iu_xray", tmp_path / "r2gen")
    assert "no metadata/train_metadata_view_position.json" in refused("rexgradient", tmp_path)


def test_rexranks_context_and_patients(forms, tmp_path):
    forms.write_rexrank(tmp_path)
    study = read("rexrank", tmp_path / "data.json").train[0]
    assert study.columns == {"age": "60-70.", "gender": "F.", "comparison": "None."}
    assert study.patient_id == "p10000000"
