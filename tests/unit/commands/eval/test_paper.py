"""`--table paper`, `--rexrank` and `--image-check`: numbers by hand, what is missing named, and nothing invented."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest
from PIL import Image

from online_rl.cli import main
from online_rl.commands.eval.paper import as_csv, as_latex, as_markdown, paper_lines, significance
from online_rl.commands.eval.rexrank import entry
from online_rl.config import config_from_dict
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.truth.image_check import Likelihood
from tests.unit.commands.eval.writing import FAR, Writes, rows

LABELS = """
from judges.base import Labels, Score
NAMES = {"Small left": "Pleural Effusion", "Left pneumothorax": "Pneumothorax", "Cardiomegaly": "Cardiomegaly"}
def read(text):
    return frozenset(name for words, name in NAMES.items() if words.lower() in text.lower())
class Judge:
    name = "f1chexbert"
    def score(self, cases):
        return [Score(1.0, labels=Labels(read(c.candidate), read(c.reference))) for c in cases]
judge = Judge()
"""


def table(name: str) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a CSV table by label and policy."""
    with Path(name).open() as file:
        return {(row["label"], row["policy"]): row for row in csv.DictReader(file)}


def test_the_table_has_the_numbers_by_hand_and_says_what_is_missing(evaluate):
    Path("labels.py").write_text(LABELS)
    guards = [{"use": "labels.py:judge", "name": "f1chexbert"}]
    evaluate(Writes(), into="out/ours", guards=guards)
    evaluate(Writes(s1=FAR, s4=FAR), into="out/theirs", guards=guards)
    assert main(["eval", "out/ours", "--against", "out/theirs", "--table", "paper", "-o", "drawn"]) == 0
    found = table("drawn/paper.csv")
    # Every reference has an effusion alone. FAR calls effusion, pneumothorax and cardiomegaly present: of 6 studies
    # TP 6, FP 4, FN 0, so precision .6, recall 1, F1 12 / 16.
    theirs = {label: row["value"] for (label, policy), row in found.items() if policy == "theirs"}
    assert float(theirs["Findings: precision"]) == pytest.approx(0.6, abs=1e-9)
    assert float(theirs["Findings: F1, pooled"]) == pytest.approx(0.75, abs=1e-9)
    assert float(found["Findings: F1, pooled", "difference"]["value"]) == pytest.approx(0.25, abs=1e-9)
    assert float(theirs["Distinct reports, share"]) == pytest.approx(2 / 6, abs=1e-9)
    # By the labels: TP 4, FN 2, FP 2 pneumothorax and 2 cardiomegaly -> micro 8 / 14; macro of 14: effusion 8 / 10
    assert float(theirs["CheXbert F1, micro, 14"]) == pytest.approx(8 / 14, abs=1e-9)
    assert float(theirs["CheXbert F1, macro, 14"]) == pytest.approx(0.8 / 14, abs=1e-9)
    assert float(theirs["CheXbert F1, micro, 5"]) == pytest.approx(8 / 12, abs=1e-9)
    mean = (8 / 14 + 0.8 / 14 + 8 / 12 + 0.8 / 5) / 4
    assert float(theirs["CheXbert F1, mean of the four"]) == pytest.approx(mean, abs=1e-9)
    for label in ("GREEN", "RadGraph F1", "1 / RadCliQ-v1", "BERTScore"):
        row = found[label, "ours"]
        assert row["value"] == "" and row["note"].startswith("not computed: no judge or guard for it")
    markdown = Path("drawn/paper.md").read_text()
    assert "| Findings: F1, pooled | 1.000 [1.000, 1.000] | 0.750 [" in markdown
    assert "| GREEN | not computed: no judge or guard for it" in markdown
    assert "6 studies of 3 patients" in markdown
    latex = Path("drawn/paper.tex").read_text()
    assert r"\begin{tabular}{lrrr}" in latex and latex.count(r"\\") == markdown.count("\n| ")
    cells = [line.count(" & ") for line in latex.splitlines() if line.endswith(r"\\")]
    assert set(cells) == {3}


def test_wording_is_in_the_table_or_the_missing_library_is_named(evaluate, monkeypatch):
    evaluate(Writes(s1=FAR), into="out/ours")
    assert main(["eval", "out/ours", "--table", "paper", "-o", "drawn"]) == 0
    row = table("drawn/paper.csv")["BLEU-4", "ours"]
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        assert row["value"] == "" and "sacrebleu is not installed" in row["note"]
    else:
        assert 0 < float(row["value"]) < 1 and float(row["low"]) <= float(row["value"]) <= float(row["high"])


def test_without_the_libraries_nothing_is_zero(evaluate, monkeypatch):
    from online_rl.commands.eval import wording

    for name in ("_bleu", "_rouge"):
        monkeypatch.setattr(wording, name, lambda: None)
    evaluate(Writes(), into="out/ours")
    assert main(["eval", "out/ours", "--table", "paper", "-o", "drawn"]) == 0
    found = table("drawn/paper.csv")
    for label, library in (("BLEU-1", "sacrebleu"), ("BLEU-4", "sacrebleu"), ("ROUGE-L", "rouge-score")):
        assert found[label, "ours"]["value"] == ""
        assert f"not computed: {library} is not installed (pip install" in found[label, "ours"]["note"]


def test_references_of_another_language_have_no_findings_and_no_zero(evaluate, folder):
    text = Path("studies.jsonl").read_text()
    Path("studies.jsonl").write_text(text.replace("Small left pleural effusion. No pneumothorax.", "Herz und Lunge."))
    evaluate(Writes(), into="out/ours")
    assert main(["eval", "out/ours", "--table", "paper", "-o", "drawn"]) == 0
    row = table("drawn/paper.csv")["Findings: F1, pooled", "ours"]
    assert row["value"] == "" and "not computed: the rules read no finding in any reference report" in row["note"]


def policy(label: str, **metrics: float) -> dict:
    metrics = {name: {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 9} for name, mean in metrics.items()}
    return {"label": label, "split": "test", "studies": 9, "patients": 9, "scored": 9, "metrics": metrics}


def test_marks_are_corrected_for_the_number_of_tests():
    names = ("reward", "verbosity/mean", "findings/f1")
    policies = [policy("a_b", **dict.fromkeys(names, 0.5)), policy("b", **dict.fromkeys(names, 0.4))]
    ps = dict(zip(names, (0.001, 0.03, 0.2), strict=True))
    differences = {name: {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 9, "p": ps[name]} for name in names}
    report = {"policies": policies, "comparison": {"of": "a_b", "against": "b", "differences": differences}}
    lines = list(paper_lines(policies, []))
    marks = significance(report, lines)
    assert marks == {"reward": "**", "verbosity/mean": "*", "findings/f1": ""}  # .001 x 3 = .003, .03 x 2 = .06
    assert "| Reward | 0.500 [0.400, 0.600] | 0.400 [0.300, 0.500] | +0.100** [+0.000, +0.200] |" in as_markdown(
        report, lines, marks
    )
    assert r"+0.100\textsuperscript{**}" in as_latex(report, lines, marks) and r"a\_b" in as_latex(report, lines, marks)
    assert "difference,0.1,0.0,0.2,9,0.03,*," in as_csv(report, lines, marks)


def test_green_is_shown_before_length_control_and_a_silent_judge_is_named():
    judges = [{"use": "green", "name": "lc"}, {"use": "http", "name": "RadGraph"}]
    lines = {
        line.label: line
        for line in paper_lines([policy("a", **{"raw_reward/lc": 0.4, "rewards/lc/mean": 0.3})], judges)
    }
    assert lines["GREEN"].metric == "raw_reward/lc"
    assert lines["RadGraph F1"].metric == "" and lines["RadGraph F1"].reason == "judge RadGraph scored no study"


def test_a_published_metric_is_shown_before_its_transform():
    metrics = {"judge/green/untransformed": 0.8, "raw_reward/green": 0.4, "rewards/green/mean": 0.3}
    guard = {"guards/radgraph/untransformed": 0.7, "guards/radgraph/raw": 0.6, "guards/radgraph/mean": 0.5}
    judges = [{"use": "green", "name": "green"}, {"use": "radeval:radgraph", "name": "radgraph"}]
    lines = {line.label: line.metric for line in paper_lines([policy("a", **metrics, **guard)], judges)}
    assert lines["GREEN"] == "judge/green/untransformed"
    assert lines["RadGraph F1"] == "guards/radgraph/untransformed"


@pytest.mark.parametrize(
    ("judge", "label", "found"),
    [
        ({"use": "radeval:radeval_bertscore"}, "BERTScore", False),
        ({"use": "radeval:bertscore"}, "BERTScore", True),
        ({"use": "/home/green/my_reward.py:reward"}, "GREEN", False),
        ({"use": "mine.py:f", "name": "greenish"}, "GREEN", False),
        ({"use": "mine.py:f", "name": "lc_GREEN"}, "GREEN", True),
        ({"use": "lc_green", "name": "second"}, "GREEN", True),
    ],
)
def test_a_metric_is_named_by_the_whole_word(judge, label, found):
    [line] = [line for line in paper_lines([policy("a")], [judge]) if line.label == label]
    assert line.reason.endswith("scored no study" if found else "in the configuration (docs/eval.md)")


def test_another_table_is_refused(evaluate, capsys):
    evaluate(Writes(), into="out/ours")
    assert main(["eval", "out/ours", "--table", "poster"]) == 2
    assert "--table: found 'poster', expected paper" in capsys.readouterr().err


def test_a_submission_for_rexrank(evaluate, folder):
    lines = [json.loads(line) for line in Path("studies.jsonl").read_text().splitlines()]
    extra = {"context": "Age:60-70.Indication: cough.", "section_impression": float("nan")}
    Path("studies.jsonl").write_text("".join(json.dumps(line | extra) + "\n" for line in lines))
    evaluate(Writes(s1=FAR), into="out/ours", reports=True)
    assert main(["eval", "out/ours", "--config", "mine.yaml", "--rexrank", "sub.json"]) == 0
    found = json.loads(Path("sub.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert list(found) == [f"s{i}" for i in range(6)]
    assert found["s1"]["model_prediction"] == f"Findings: {FAR}"
    assert found["s1"]["context"] == "Age:60-70.Indication: cough." and found["s1"]["section_impression"] is None
    assert found["s1"]["section_findings"].startswith("Small left") and found["s1"]["image_path"][0].endswith("x.png")
    assert stat.S_IMODE(Path("sub.json").stat().st_mode) == 0o600


def test_a_submission_of_both_sections_names_them_as_the_report_does(make_study):
    study = make_study("s0", reference="FINDINGS: Clear.\nIMPRESSION: Normal.")
    cfg = config_from_dict({"data": {"section": "both"}})
    found = entry(study, "FINDINGS: Edema.\nIMPRESSION: Edema.", cfg, "test")
    assert found["model_prediction"] == "FINDINGS: Edema.\nIMPRESSION: Edema." and "section_both" not in found


def test_a_submission_without_texts_is_refused(evaluate, capsys):
    evaluate(Writes(), into="out/ours")
    assert main(["eval", "out/ours", "--config", "mine.yaml", "--rexrank", "sub.json"]) == 2
    assert "6 of 6 studies have no report text, s0 among them" in capsys.readouterr().err
    arguments = ["eval", "policy", "--config", "mine.yaml", "--rexrank", "sub.json", "data.confidential=true"]
    assert main(arguments) == 2
    assert "--rexrank: found it beside data.confidential=true" in capsys.readouterr().err
    assert not Path("sub.json").exists()


class Looks:
    """Names an effusion if the image file is called sick; with `looks` False, by the study's own id."""

    def __init__(self, looks: bool = True) -> None:
        self.looks = looks
        self.calls = 0

    def __call__(self, studies):
        self.calls += 1
        sees = [("sick" in (study.images[0] if self.looks else study.study_id.split()[0])) for study in studies]
        texts = ["There is a pleural effusion." if sick else "No pleural effusion." for sick in sees]
        pairs = enumerate(zip(studies, texts, strict=True))
        stream = [Completion(i, 0, Prompt(s, "", (), (1,), {}), (1,), (0.0,), text, False) for i, (s, text) in pairs]
        return Rollouts(stream, len(studies), 1, 0)

    @property
    def forcing(self):
        """References with an effusion, of 5 tokens: a nat less likely each where the image does not show it."""
        return lambda studies: {
            s.study_id: Likelihood(5, -5.0 if not self.looks or "sick" in s.images[0] else -10.0)
            for s in studies
            if s.reference.startswith("There")
        }


@pytest.fixture
def seventy(folder):
    """70 held-out studies of as many patients, every other one with an effusion."""
    for name in ("sick", "well"):
        Image.new("L", (8, 8)).save(f"{name}.png")
    with Path("studies.jsonl").open("w") as file:
        for i in range(71):
            name = ("sick", "well")[i % 2]
            text = "There is a pleural effusion." if name == "sick" else "No pleural effusion."
            row = {"study_id": f"{name}{i}", "patient_id": f"p{i}", "split": "eval" if i else "train"}
            row |= {"image_paths": [f"{name}.png"], "findings": text, "indication": "cough"}
            file.write(json.dumps(row) + "\n")


@pytest.mark.parametrize(("looks", "words"), [(True, "the reports follow the image"), (False, "no sign that")])
def test_the_image_check_says_whether_reports_follow_the_image(seventy, evaluate, capsys, looks, words):
    engine = Looks(looks)
    evaluate(engine, into="out/ours", image_check=True)
    found = json.loads(Path("out/ours/image_check.json").read_text())
    assert found["studies"] == 70 and found["f1_right"]["value"] == 1.0
    assert (found["gain_f1"]["value"] > 0.3) is looks
    assert (0.3 < found["gain_logp"]["value"] < 0.7) is looks, "half of the exchanged images show another thing"
    assert main(["eval", "out/ours", "--image-check", "--json", "all.json"]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert json.loads(Path("all.json").read_text())["policies"][0]["image_check"]["gain_f1"] == found["gain_f1"]
    before = engine.calls
    evaluate(engine, into="out/ours", image_check=True)
    assert engine.calls == before, "both are there already"


def test_an_image_check_can_be_added_to_finished_results(seventy, evaluate, capsys):
    evaluate(Looks(), into="out/ours")
    assert main(["eval", "out/ours", "--image-check"]) == 2
    assert "--image-check: found kept results without one" in capsys.readouterr().err
    kept, engine = rows("out/ours"), Looks()
    evaluate(engine, into="out/ours", image_check=True)
    assert rows("out/ours") == kept and Path("out/ours/image_check.json").is_file()
