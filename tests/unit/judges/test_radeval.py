"""RadEval's metrics as judges, with a stand-in for RadEval: cases that crash it, NaN, missing weights."""

from __future__ import annotations

import sys
import types

import pytest

from judges.base import Case, Labels, Status
from judges.errors import ConfigError, JudgeError
from judges.radeval import weights
from judges.radeval.isolate import Crash, isolate
from judges.radeval.judge import RadEvalJudge
from judges.radeval.metrics import METRICS
from judges.radeval.references import read_references
from judges.radeval.scorers import Numbers, make_scorer
from judges.registry import JUDGES, load_judge
from judges.remote import HttpJudge
from online_rl.commands.eval.figures import CHEXBERT_14

SECRET = "secretive effusion"


class Adapter:
    """RadEval's form: `compute(refs, hyps, per_sample=True)` gives lists under the metric's keys."""

    def __init__(self):
        self.calls: list[int] = []

    def compute(self, refs, hyps, per_sample):
        assert per_sample
        self.calls.append(len(hyps))
        if "crash" in hyps:
            raise IndexError(SECRET)
        if "short" in hyps:
            return {"bleu": [0.5] * (len(hyps) - 1)}
        odd = {"nan": float("nan"), "inf": float("inf"), "none": None, "text": "0.5", "huge": 1e30}
        return {
            "bleu": [odd.get(h, len(h) / 10) for h in hyps],
            "bleu_1": [float("nan") if h == "part" else 1.0 for h in hyps],
        }


@pytest.fixture
def adapter(monkeypatch) -> Adapter:
    """What RadEval's registry hands out for every metric."""
    made = Adapter()
    registry = types.ModuleType("radeval.metrics._registry")
    registry.get_metric_class = lambda name: lambda: made  # type: ignore[attr-defined]
    for name, module in {
        "radeval": types.ModuleType("radeval"),
        "radeval.metrics": types.ModuleType("radeval.metrics"),
        "radeval.metrics._registry": registry,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def cases(*candidates: str) -> list[Case]:
    return [Case(f"s{i}", text, "small effusion") for i, text in enumerate(candidates)]


def test_batches_are_scored_in_order_with_the_other_numbers_as_parts(adapter):
    judge = RadEvalJudge("bleu", batch=2)
    judge.start()
    scores = judge.score(cases("a", "ab", "abc"))
    assert [s.value for s in scores] == [0.1, 0.2, 0.3]
    assert scores[0].parts == {"bleu_1": 1.0} and judge.name == "bleu"
    assert adapter.calls == [1, 2, 1]  # the trial pair, then two batches
    assert [s.value for s in RadEvalJudge("bleu", key="bleu_1").score(cases("a"))] == [1.0]


def test_one_case_of_5000_that_crashes_is_unscorable_and_costs_no_other(adapter):
    candidates = ["fine"] * 5000
    candidates[3210] = "crash"
    scores = RadEvalJudge("bleu").score(cases(*candidates))
    [bad] = [i for i, s in enumerate(scores) if s.status is not Status.SCORED]
    assert bad == 3210 and scores[bad].status is Status.UNSCORABLE and scores[bad].value is None
    assert "bleu: IndexError" in scores[bad].detail and SECRET not in scores[bad].detail
    assert {s.value for i, s in enumerate(scores) if i != bad} == {0.4}
    assert len(adapter.calls) < 1 + 20 + 2 * 9  # trial pair, batches of 256, halves of one of them


@pytest.mark.parametrize("candidate", ["nan", "inf", "none", "huge"])
def test_what_is_no_finite_number_is_unscorable(adapter, candidate):
    one, other = RadEvalJudge("bleu").score(cases(candidate, "fine"))
    assert one.status is Status.UNSCORABLE and one.detail == "bleu: bleu is no finite number"
    assert other.value == 0.4


def test_a_part_that_is_no_finite_number_is_left_out(adapter):
    [score] = RadEvalJudge("bleu").score(cases("part"))
    assert score.value == 0.4 and score.parts == {}


def test_a_list_of_another_length_belongs_to_nobody(adapter):
    one, other = RadEvalJudge("bleu").score(cases("short", "fine"))
    assert one.status is Status.UNSCORABLE and other.value == 0.4


def test_an_empty_reference_report_is_nothing_to_score_against(adapter):
    [one, other] = RadEvalJudge("bleu").score([Case("s", "clear", "  "), Case("t", "", "clear")])
    assert one.status is Status.UNSCORABLE and "reference report is empty" in one.detail
    assert other.value == 0.0, "an empty candidate is scored like any other"
    assert RadEvalJudge("bleu").score([]) == []


def test_cases_that_all_crash_are_the_cases_fault_while_the_trial_pair_works(adapter):
    judge = RadEvalJudge("bleu")
    assert {s.status for s in judge.score(cases("crash", "crash"))} == {Status.UNSCORABLE}
    adapter.compute = lambda **_: (_ for _ in ()).throw(RuntimeError(SECRET))
    with pytest.raises(JudgeError, match="can't score any more.*RuntimeError") as caught:
        judge.score(cases("fine", "fine"))
    assert SECRET not in str(caught.value)


def test_a_report_whose_length_would_end_the_process_is_not_shown_to_radgraph():
    seen: list[str] = []
    judge = RadEvalJudge("radgraph", most_words=4)
    judge._scorer = lambda refs, hyps: (seen.extend(hyps), Numbers({judge.key: [1.0] * len(hyps)}))[1]
    short, long = judge.score(cases("no effusion, no", "no,effusion,no"))
    assert short.value == 1.0 and seen == ["no effusion, no"]
    assert long.status is Status.UNSCORABLE and long.detail == "5 words and marks, most_words is 4"


def test_text_is_raw_unless_cleaned_is_asked_for(adapter):
    case = Case("s", "clear", "clear", raw_candidate="CLEAR. **x**", raw_reference="Clear")
    assert RadEvalJudge("bleu").score([case])[0].value == 1.2
    assert RadEvalJudge("bleu", text="cleaned").score([case])[0].value == 0.5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"metric": "radgrap"}, "'radgrap' is not known.*Did you mean 'radgraph'"),
        ({"metric": "bleu", "text": "rare"}, "text is 'rare', expected 'raw' or 'cleaned'"),
        ({"metric": "bleu", "batch": 0}, "batch is 0"),
        ({"metric": "bleu", "references": "absent.jsonl"}, "no file absent.jsonl"),
    ],
)
def test_arguments_that_cannot_work_are_refused(args, message):
    with pytest.raises(JudgeError, match=message):
        RadEvalJudge(**args)


def test_a_metric_that_does_not_load_says_why(adapter, monkeypatch):
    with pytest.raises(JudgeError, match="key is 'rouge', expected one of bleu, bleu_1"):
        RadEvalJudge("bleu", key="rouge").start()
    adapter.compute = lambda **_: {"bleu": [float("nan")]}
    with pytest.raises(JudgeError, match="no finite number for a trial pair"):
        RadEvalJudge("bleu").start()
    monkeypatch.setitem(sys.modules, "radeval", None)
    monkeypatch.setitem(sys.modules, "radeval.metrics._registry", None)
    with pytest.raises(JudgeError, match=r"is not installed here.*metrics_server\.sh bleu"):
        RadEvalJudge("bleu").start()


@pytest.fixture
def caches(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "folder", lambda cache: str(tmp_path / cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(weights, "_nltk_path", lambda name: None)
    return tmp_path


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"bleu", "rouge"}))
def test_missing_weights_are_named_with_the_place_and_the_remedy(metric, caches):
    with pytest.raises(JudgeError, match=f"judge {metric}: weights are missing") as caught:
        RadEvalJudge(metric, **({} if metric != "radcliq" else {"references": None})).start()
    message = str(caught.value)
    assert f"looked in {caches}" in message and "HF_HOME" in message
    assert f"launch/metrics_server.sh --download {metric}" in message


def test_weights_are_found_in_the_hub_s_cache_with_their_commit(caches):
    folder = caches / "hub" / "models--distilbert-base-uncased"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c0ffee")
    (folder / "snapshots" / "c0ffee").mkdir(parents=True)
    for name in ("config.json", "vocab.txt"):
        (folder / "snapshots" / "c0ffee" / name).write_text("")
    [missing] = weights.look_up("bertscore").missing
    assert missing.startswith("distilbert-base-uncased: a model (looked in ")
    (folder / "snapshots" / "c0ffee" / "pytorch_model.bin").write_text("")
    found = weights.look_up("bertscore")
    assert found.missing == () and found.revisions == ("distilbert-base-uncased@c0ffee",)
    assert "c0ffee" in RadEvalJudge("bertscore").fingerprint


def test_radgraph_s_encoder_is_the_one_that_its_configuration_names(caches):
    model = caches / "radgraph" / "0.1.18" / "radgraph-xl"
    model.mkdir(parents=True)
    (model / "config.json").write_text(
        '{"dataset_reader": {"token_indexers": {"bert": {"model_name": "some/encoder"}}}}'
    )
    assert [m.partition(":")[0] for m in weights.look_up("radgraph").missing] == ["some/encoder"]
    (model / "config.json").write_text("{")
    assert "a readable" in weights.look_up("radgraph").missing[0]


def test_radcliq_asks_for_the_reports_by_which_it_weighs_words(tmp_path):
    with pytest.raises(JudgeError, match="references is missing, expected a JSONL or CSV file"):
        make_scorer("radcliq")
    file = tmp_path / "reports.jsonl"
    file.write_text('{"reference": "clear"}\n\n{"reference": "small effusion"}\n')
    assert read_references(str(file)) == ["clear", "small effusion"]
    table = tmp_path / "reports.csv"
    table.write_text("id,reference\n1,clear\n2,edema\n")
    assert read_references(str(table)) == ["clear", "edema"]
    excel = tmp_path / "REPORTS.CSV"
    excel.write_text("reference\nclear\nedema\n", encoding="utf-8-sig")
    assert read_references(str(excel)) == ["clear", "edema"]
    file.write_text('{"reference": "clear"}\r\n{"reference": "no\u2028edema"}\n', encoding="utf-8-sig", newline="")
    assert read_references(str(file)) == ["clear", "no\u2028edema"]
    for content, message in [
        ('{"reference": "clear"}', "1 different report"),
        ("{", "line 1 is not JSON"),
        ('{"report": 1}', "row 1 has no text"),
    ]:
        file.write_text(content)
        with pytest.raises(JudgeError, match=message):
            read_references(str(file))


def test_labels_go_with_the_score_under_the_names_that_the_corpus_figures_know(monkeypatch):
    class CheXbert:
        TARGET_NAMES = sorted(CHEXBERT_14)
        top5_idx = (0, 1, 2, 3, 4)

        def get_labels(self, reports):
            return [[int(name.lower() in report) for name in self.TARGET_NAMES] for report in reports]

    monkeypatch.setattr("judges.radeval.scorers._chexbert", CheXbert)
    numbers = make_scorer("f1chexbert")(["edema and fracture"], ["edema"])
    assert numbers.labels == [Labels(said=frozenset({"Edema"}), true=frozenset({"Edema", "Fracture"}))]
    assert numbers.values["f1chexbert_sample_acc_all"] == [13 / 14]

    judge = RadEvalJudge("f1chexbert")
    judge._scorer = lambda refs, hyps: Numbers({judge.key: [1.0]}, numbers.labels)
    assert judge.score(cases("edema"))[0].labels == numbers.labels[0]


def test_isolate_keeps_order_and_finds_every_bad_item():
    found = isolate(lambda numbers: [6 // n for n in numbers], [1, 0, 3, 0, 0, 6])
    assert [r if not isinstance(r, Crash) else "crash" for r in found] == [6, "crash", 2, "crash", "crash", 1]
    assert isolate(lambda items: items, []) == []


# The trainer's side.


@pytest.mark.parametrize("metric", METRICS)
def test_a_configuration_names_the_metric_and_the_server(metric):
    judge = load_judge(f"radeval:{metric}", {"url": "http://127.0.0.1:9"})
    assert isinstance(judge, HttpJudge) and judge.name == metric and judge.expected["name"] == metric
    assert JUDGES.missing(f"radeval:{metric}") is None


def test_a_metric_without_a_server_or_of_another_name_is_refused(monkeypatch):
    with pytest.raises(JudgeError, match=r"radeval:radgraph: args.url is missing.*metrics_server\.sh radgraph"):
        load_judge("radeval:radgraph")
    with pytest.raises(JudgeError, match="metric 'radgrap' is not known.*Did you mean 'radgraph'"):
        load_judge("radeval:radgrap", {"url": "http://127.0.0.1:9"})
    assert "Did you mean 'radeval:radgraph'" in str(JUDGES.missing("radeval:radgrap"))
    monkeypatch.setattr("judges.remote.START_PATIENCE_S", 0.0)
    judge = load_judge("radeval:radgraph", {"url": "http://127.0.0.1:9"})
    with pytest.raises(ConfigError, match=r"cannot be reached.*bash launch/metrics_server\.sh radgraph"):
        judge.start()
