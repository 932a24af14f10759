"""Which file, dialect and columns: found by themselves, told by data.columns, and said when they are wrong."""

from __future__ import annotations

import gzip
import json
import lzma

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data.readers import read_studies
from online_rl.data.summary import describe
from online_rl.errors import ConfigError, DataError

TEXT = 'study_id,patient_id,image,findings\ns1,p1,x.png,"Clear, and\nunchanged."\ns2,p2,x.png,Ödem.\n'
EXPECTED = [("s1", "p1", "Clear, and\nunchanged."), ("s2", "p2", "Ödem.")]


@pytest.fixture
def read(tmp_path):
    Image.new("L", (16, 16), 9).save(tmp_path / "x.png")

    def read(content, name="studies.csv", **data):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)
        reader = "jsonl" if ".json" in name else "csv"
        data = {"reader": reader, "path": str(tmp_path / name), "eval_fraction": 0.0, **data}
        return read_studies(config_from_dict({"data": data}))

    return read


def with_delimiter(mark: str) -> str:
    return (
        TEXT.replace("study_id,patient_id,image,", f"study_id{mark}patient_id{mark}image{mark}")
        .replace("s1,p1,x.png,", f"s1{mark}p1{mark}x.png{mark}")
        .replace("s2,p2,x.png,", f"s2{mark}p2{mark}x.png{mark}")
    )


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        with_delimiter(";").encode(),
        with_delimiter("\t").encode(),
        with_delimiter("|").encode(),
        ("sep=;\n" + with_delimiter(";")).encode(),
        TEXT.replace("\n", "\r\n").replace("and\r\n", "and\n").encode(),
        TEXT.replace("\n", "\r").replace("and\r", "and\n").encode(),
        ("\ufeff" + TEXT).encode(),
        TEXT.encode("utf-16"),
        gzip.compress(TEXT.encode()),
        lzma.compress(with_delimiter(";").encode()),
    ],
    ids=["plain", ";", "tab", "|", "sep=", "crlf", "cr", "bom", "utf-16", "gz", "xz ;"],
)
def test_delimiter_encoding_and_compression_are_found(read, content):
    assert [(s.study_id, s.patient_id, s.reference) for s in read(content).train] == EXPECTED


def test_lines_are_counted_behind_sep(read):
    assert [s.source for s in read("sep=;\n" + with_delimiter(";")).train] == ["studies.csv:3", "studies.csv:5"]


def test_cp1252_is_refused_with_its_line_and_read_when_told(read):
    content = TEXT.encode("cp1252")
    with pytest.raises(DataError, match=r"studies\.csv:4: not UTF-8 \(byte 0xd6.*data\.args={encoding: cp1252}"):
        read(content)
    assert [s.reference for s in read(content, args={"encoding": "cp1252"}).train][1] == "Ödem."
    with pytest.raises(DataError, match="encoding: found 'latin-99', expected a name"):
        read(content, args={"encoding": "latin-99"})


@pytest.mark.parametrize("cut", [20, -12])
def test_a_compressed_file_that_was_cut_is_named_with_its_remedy(read, cut):
    with pytest.raises(DataError, match=r"studies\.csv\.gz: the compressed file is cut short.*Copy it again"):
        read(gzip.compress(TEXT.encode() * 500)[:cut], "studies.csv.gz")


def test_a_json_list_is_read_like_lines_and_gz_too(read):
    rows = [{"id": n, "image": "x.png", "findings": "Clear."} for n in (1, 2)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for content in (json.dumps(rows), json.dumps(rows, indent=1), lines, gzip.compress(lines.encode())):
        assert [s.study_id for s in read(content, "studies.json").train] == ["1", "2"]
    with pytest.raises(DataError, match=r"studies\.json\[1\]: found int, expected an object"):
        read(json.dumps([rows[0], 3], indent=1), "studies.json")


RENAMED = (
    "case,pat_no,fold_set,why,xray_file,text_of_findings\n1,a,train,cough,x.png,Clear.\n2,b,val,fever,x.png,Edema.\n"
)
NAMES = {"study_id": "case", "patient": "pat_no", "split": "fold_set", "indication": "why", "image": "xray_file"}


def test_columns_take_the_users_names(read):
    studies = read(RENAMED, columns={**NAMES, "reference": "text_of_findings"})
    [study], [held_out] = studies.train, studies.eval
    assert (study.study_id, study.patient_id, study.indication, study.reference) == ("1", "a", "cough", "Clear.")
    assert held_out.study_id == "2" and study.columns == {} and studies.doubts == ()


def test_lost_columns_are_said_with_what_they_may_be(read):
    """Two of six renamed: split and patient would be lost without a word."""
    studies = read(
        "id,pat_no,fold_set,indication,image,findings\n1,a,train,cough,x.png,Clear.\n2,b,val,f,x.png,Edema.\n"
    )
    said = "\n".join(studies.doubts)
    assert "split by patient is impossible" in said and "data.columns={patient_id: pat_no}" in said
    assert "data.columns={split: fold_set}" in said and "evaluation is of 0 studies" in said
    lines = "\n".join(describe(studies))
    assert "images: image" in lines and "findings: findings" in lines
    assert "kept for rewards and prompts alone: fold_set, pat_no" in lines


def test_a_column_that_is_not_there_and_a_role_that_is_none(read):
    with pytest.raises(DataError, match=r"data\.columns\.image: found 'xray_fil', .* Did you mean 'xray_file'"):
        read(RENAMED, columns={**NAMES, "image": "xray_fil", "reference": "text_of_findings"})
    with pytest.raises(ConfigError, match=r"data\.columns: found the role 'picture', expected one of images"):
        read(RENAMED, columns={"picture": "xray_file"})


def test_headers_that_differ_in_case_alone_are_refused_unless_one_is_named(read):
    content = "id,image,Findings,findings\n1,x.png,Clear.,Edema.\n"
    with pytest.raises(DataError, match="found the columns 'Findings' and 'findings', expected one for findings"):
        read(content)
    [study] = read(content, columns={"findings": "findings"}).train
    assert study.reference == "Edema." and study.columns == {"Findings": "Clear."}


def test_blanks_and_hyphens_in_a_header_do_not_matter(read):
    [study] = read("Study ID,Patient-ID,Image Path,Findings\n1,2,x.png,Clear.\n").train
    assert (study.study_id, study.patient_id, study.reference) == ("1", "2", "Clear.")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("id,image,findings\n", "none of 0 studies can be used: it holds no rows"),
        ("id,image,findings\n1,,Clear.\n2,nan,Edema.\n", "no study to train on; rows: 2, left out: no image: 2"),
        ("id,image,findings\n1,,\n2,,\n", "no study to train on; rows: 2, left out: no image: 2"),
        (
            "id,picture,findings\n1,x.png,Clear.\n",
            "studies.csv:2: no column for images, .* found id, picture, findings",
        ),
        (
            "id,image,lungs\n1,x.png,Clear.\n",
            "studies.csv:2: no column for findings, expected one of .* found id, image, lungs",
        ),
        ("id,image,findings\n1,x.png,nan\n", "none of 1 studies has a findings section with words in it"),
    ],
)
def test_the_cause_is_told(read, content, cause):
    with pytest.raises(DataError, match=cause):
        read(content)


def test_both_sections_are_one_text_in_the_format_given(read):
    content = "id,image,findings,impression\n1,x.png,Clear.,Normal.\n2,x.png,Edema.,___\n"
    studies = read(content, section="both")
    assert [s.reference for s in studies.train] == ["FINDINGS: Clear.\nIMPRESSION: Normal."]
    assert studies.report["left out: no reference"] == 1 and studies.train[0].columns == {}
    [study] = read(content, section="both", report_format="{impression} Because: {findings}").train
    assert study.reference == "Normal. Because: Clear."
    with pytest.raises(ConfigError, match=r"data\.report_format: found no {findings}"):
        read(content, section="both", report_format="{impression}")


def test_one_column_with_the_whole_report_is_not_said_twice(read):
    [study] = read("id,image,report\n1,x.png,Clear. Normal.\n", section="both").train
    assert study.reference == "Clear. Normal."


def test_an_image_of_another_case_or_extension_is_named(read):
    for name in ("X.PNG", "x.jpg"):
        with pytest.raises(DataError, match="no such file. There is 'x.png': correct case or extension"):
            read(f"id,image,findings\n1,{name},Clear.\n")


def test_patients_who_differ_by_zeros_alone_are_doubtful(read):
    studies = read("id,subject_id,image,findings\n1,0012,x.png,Clear.\n2,12,x.png,Edema.\n")
    assert any("2 patient ids differ from another by leading zeros" in doubt for doubt in studies.doubts)


def test_a_relative_path_gives_images_that_open_from_anywhere(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [study] = read("id,image,findings\n1,x.png,Clear.\n", path="studies.csv").train
    assert study.images == (str(tmp_path / "x.png"),)


REPORT = "The heart is enlarged. There is a small left effusion."


def test_a_column_called_text_is_no_indication_and_one_that_holds_the_report_is_a_doubt(read):
    studies = read(f"id,image,findings,text\n1,x.png,{REPORT},FINDINGS: {REPORT}\n")
    assert studies.train[0].indication == "" and studies.train[0].columns == {"text": f"FINDINGS: {REPORT}"}
    assert not any("whole reference report" in doubt for doubt in studies.doubts)
    rows = (
        f"1,x.png,{REPORT},Cough.  FINDINGS: {REPORT.upper()}\n2,x.png,{REPORT},cough\n3,x.png,Normal.,normal. cough\n"
    )
    [doubt] = [d for d in read(f"id,image,findings,history\n{rows}").doubts if "whole reference report" in d]
    assert doubt.startswith("1 studies have an indication that holds") and "first: studies.csv:2" in doubt
    assert "'history'" in doubt and "data.columns={indication: NAME}" in doubt and "enlarged" not in doubt


def test_chexaligns_text_is_the_indication_beside_its_target_text(read):
    [study] = read("id,image,target_text,text\n1,x.png,Clear.,cough\n").train
    assert (study.indication, study.reference) == ("cough", "Clear.")


def test_views_divided_as_images_are_stay_beside_them(read):
    rows = [
        '1,"x.png,x.png","PA,LATERAL"',
        "2,x.png;x.png,AP ; LL",
        "3,x.png|x.png,PA",
        "4,x.png|x.png,",
        '5,x.png,"AP, sitting"',
    ]
    studies = read("id,image,view,findings\n" + "".join(f"{row},Clear.\n" for row in rows))
    views = [study.views for study in studies.train]
    assert views == [("PA", "LATERAL"), ("AP", "LL"), (), (), ("AP, sitting",)]
    assert "views not used: another number than of images: 1 (first: studies.csv:4)" in describe(studies)
