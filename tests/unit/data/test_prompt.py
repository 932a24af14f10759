"""What the policy is asked: any column, a fallback, a function, the prior study; and what a template may not hold."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.config.data import CHEXALIGN_PROMPT
from online_rl.data.prior import moment, with_priors
from online_rl.data.prompt import study_prompt
from online_rl.data.readers import read_studies
from online_rl.data.study import Study
from online_rl.data.summary import describe
from online_rl.errors import ConfigError, DataError


def study(indication="cough", **columns) -> Study:
    return Study("s1", "p1", (), indication, "Clear.", columns=columns, source="studies.jsonl:1")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Age {age}, {sex}.", "Age 61, F."),
        ("{Age} {SEX}", "61 F"),
        ("{comparison|none known}", "none known"),
        ("{comparison}", ""),
        ("{indication|None}: {findings_of_ct}", "cough: no, clot"),
        ('{"findings": "{age}"}', '{"findings": "61"}'),
        ("{note}", "two lines, {age} and é"),
    ],
)
def test_any_column_stands_in_the_prompt_on_one_line(template, expected):
    columns = {"age": 61.0, "sex": "F", "comparison": "nan", "findings_of_ct": ["no", "clot"]}
    note = "two\n lines,\u200b {age} and e\u0301"
    assert study_prompt(template, study(**columns, note=note)) == expected


def test_chexaligns_prompt_byte_for_byte():
    """A missing indication is the word None, as in its own script."""
    template = CHEXALIGN_PROMPT.replace("{indication}", "{indication|None}")
    with_one = b'Given the indication: "cough, fever", write a structured findings section for the CXR.'
    without = b'Given the indication: "None", write a structured findings section for the CXR.'
    assert study_prompt(template, study(" cough,\n fever ")).encode() == with_one
    assert [study_prompt(template, study(text)).encode() for text in ("", "  ", "N/A", "nan")] == [without] * 4


def test_the_recipes_of_chexalign_use_it(root):
    from online_rl.config import load_config

    for name in ("recipes/chexalign_online_dpo", "recipes/chexalign_online_kto"):
        assert '"{indication|None}"' in load_config(root / "configs" / f"{name}.yaml").data.prompt


def test_a_value_that_is_no_text_is_refused_with_its_row_and_not_shown():
    with pytest.raises(DataError, match=r"studies\.jsonl:1: note: found dict, expected text or a number") as caught:
        study_prompt("{note}", study(note={"a": "secret"}))
    assert "secret" not in str(caught.value)


@pytest.fixture
def read(tmp_path):
    Image.new("L", (16, 16)).save(tmp_path / "x.png")

    def read(rows, **data):
        base = {"image": "x.png", "split": "train"}
        (tmp_path / "s.jsonl").write_text("".join(json.dumps({**base, **row}) + "\n" for row in rows))
        data = {"reader": "jsonl", "path": str(tmp_path / "s.jsonl"), **data}
        return read_studies(config_from_dict({"data": data}))

    return read


def test_a_column_that_no_study_has_is_refused_with_those_there_are(read):
    rows = [{"id": 1, "findings": "Clear.", "age": 61}]
    assert read(rows, prompt="{age}").train
    with pytest.raises(DataError, match=r"data\.prompt: found {aeg}, .* expected one of indication, views, .*age"):
        read(rows, prompt="{aeg}")
    with pytest.raises(DataError, match="found {x}"):
        read(rows, system_prompt="{x|y}")


@pytest.mark.parametrize(
    "text", ["<image> Report.", "Report.<|im_end|>", "<start_of_turn>user", "</s>", "[INST] Report", "<|image_pad|>"]
)
def test_a_template_with_markup_is_refused_by_config_check(text):
    with pytest.raises(ConfigError, match=r"data\.prompt: found .* expected plain text"):
        config_from_dict({"data": {"prompt": text}})
    with pytest.raises(ConfigError, match=r"data\.system_prompt: found"):
        config_from_dict({"data": {"system_prompt": text}})


def test_templates_with_innocent_brackets_are_taken():
    for text in ("Size < 5 mm or > 3?", "{indication} [sic] <findings>", "a|b"):
        config_from_dict({"data": {"prompt": text}})


def test_a_function_asks_what_it_likes_and_its_faults_are_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def ask(study):\n    return f'{study.columns[\"age\"]} years, {len(study.images)} images'\n"
        "def none(study): return None\nthree = 3\n"
    )
    assert study_prompt(f"{path}:ask", study(age=61)) == "61 years, 0 images"
    with pytest.raises(
        DataError, match=r"studies\.jsonl:1: data\.prompt '.*mine\.py:ask' raised KeyError \(.*mine\.py:2\)"
    ):
        study_prompt(f"{path}:ask", study())
    with pytest.raises(DataError, match="returned NoneType, expected text"):
        study_prompt(f"{path}:none", study())
    with pytest.raises(ConfigError, match="is of type int; expected a function from a study to text"):
        study_prompt(f"{path}:three", study())


# Two patients; the third and fourth exam of p1 are of one moment.
DATES = ["21800506T213014.531", "21800507", "21810101T000000", "21810101T000000", "21790101", ""]


def exam(number: int, date: str, patient="p1", split="train") -> Study:
    return Study(f"s{number}", patient, (f"{number}.png",), "", f"Report {number}.", split=split, date=date)


def test_the_prior_is_the_latest_strictly_earlier_one():
    studies = with_priors([exam(number, date) for number, date in enumerate(DATES)])
    found = [study.prior.study_id if study.prior else None for study in studies]
    assert found == ["s4", "s0", "s1", "s1", None, None]


def test_priors_never_cross_patients_or_splits():
    studies = [
        exam(0, "20200101"),
        exam(1, "20210101", "p2"),
        exam(2, "20220101", split="test"),
        exam(3, "20230101", ""),
    ]
    assert [study.prior for study in with_priors([*studies, exam(4, "20190101", "")])] == [None] * 5


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("1", "2"),
        ("9", "10"),
        ("21800506", "21800507"),
        ("21800506", "21800506T000001"),
        ("2010-01-02", "2010-01-03"),
        ("2010-01-02", "2010-01-02T10:00:00"),
        ("2010-01-02 09:59", "2010-01-02 10:00:00.5"),
        ("20091231", "2010-01-01"),
    ],
)
def test_dates_in_every_form_grow(earlier, later):
    assert moment(earlier) < moment(later)


@pytest.mark.parametrize("text", ["", "yesterday", "01/02/2010", "2010"])
def test_what_is_no_date_has_no_place_in_time(text):
    assert moment(text) is None or text == "2010"


def test_a_prior_report_needs_its_place_and_stands_there(read):
    rows = [{"id": n, "subject_id": "p", "findings": f"Report {n}.", "study_date": f"2010010{n}"} for n in (2, 1, 3)]
    with pytest.raises(ConfigError, match=r"data\.prior: found report, but data\.prompt has no {prior_report}"):
        read(rows, prior="report")
    prompt = "Prior: {prior_report|none}"
    with pytest.raises(ConfigError, match=r"found {prior_report} beside data\.prior=none"):
        read(rows, prompt=prompt)
    studies = read(rows, prior="both", prompt=prompt)
    assert [study_prompt(prompt, s) for s in studies.train] == ["Prior: Report 1.", "Prior: none", "Prior: Report 2."]
    assert studies.report["with a prior study"] == 2


def test_mimics_prior_comes_from_its_dates(forms, tmp_path):
    forms.write_mimic(tmp_path / "jpg")
    data = {"reader": "mimic_cxr", "path": str(tmp_path / "jpg"), "prior": "image"}
    studies = read_studies(config_from_dict({"data": data}))
    assert studies.report["with a prior study"] == 12
    pairs = {study.study_id: study.prior.study_id for study in studies.train if study.prior}
    assert pairs == {f"s500000{n + 1:02d}": f"s500000{n:02d}" for n in range(0, 16, 2)}


def test_how_many_have_a_prior_is_said_and_dates_that_cannot_be_read_are_doubts(read):
    dates = ["1 May 2010", "2 May 2010", ""]
    rows = [{"id": n, "subject_id": "p", "findings": "Clear.", "study_date": date} for n, date in enumerate(dates)]
    studies = read(rows, prior="image")
    assert "data.prior: 0 of 3 studies have a prior study" in describe(studies)
    said = "\n".join(studies.doubts)
    assert "data.prior=image: the dates of 2 studies cannot be read (first: s.jsonl:1), expected 21800506" in said
    assert "data.prior=image: no study has a prior" in said and "found 2 dates and 3 patient ids for 3 studies" in said
    assert "1 May" not in said
    renamed = [{**row, "exam_date": f"2010010{n}"} for n, row in enumerate(rows, 1)]
    for row in renamed:
        del row["study_date"]
    assert any("data.columns={study_date: exam_date}" in doubt for doubt in read(renamed, prior="image").doubts)
    assert (
        read(renamed, prior="image", columns={"date": "exam_date"}).train
        == read(renamed, prior="image", columns={"study_date": "exam_date"}).train
    )
    named = read(renamed, prior="image", columns={"study_date": "exam_date"})
    assert "data.prior: 2 of 3 studies have a prior study" in describe(named)
    assert not any("data.prior" in doubt for doubt in named.doubts)
    assert not any("data.prior" in line for line in [*describe(read(rows)), *read(rows).doubts])
