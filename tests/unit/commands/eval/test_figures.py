"""Corpus figures by hand, and equal to the libraries whose formulas they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from online_rl.commands.eval.figures import CHEXBERT_5, CHEXBERT_14, figures, label_figures, paired
from online_rl.commands.eval.rows import make_row
from online_rl.commands.eval.wording import bleu_counts, corpus_bleu, rouge_l
from online_rl.scoring.scorer import Candidate
from online_rl.truth import bootstrap
from online_rl.truth.counts import Claims
from online_rl.truth.paired_test import EXCHANGES, holm, p_value
from online_rl.truth.results import result_of, truth_metrics

SICK, NORMAL = "There is a small left pleural effusion.", "No pleural effusion. No pneumothorax."


def value(figure) -> float:
    return float(figure.statistic(figure.table().sum(axis=0)))


def claims(said: str, true: str) -> Claims:
    """Letters stand for labels."""
    return Claims(frozenset(said), frozenset(true))


def row(said: str | None, true: str = "", **answer) -> dict:
    """A row of scores.jsonl with findings by their letters; None for `said` is a study without a report."""
    truth = said is not None and {"report": said, "findings": {"said": [*said], "true": [*true]}, "labels": None}
    return {"truth": truth or None, "scores": {"j": answer} if answer else {}, "guards": {}, "wording": None}


def test_pooled_figures_by_hand():
    # TP 1 + 0 + 1, FP 1 + 0 + 0, FN 0 + 1 + 0: precision 2/3, recall 2/3, F1 4/6
    found = figures([row("ab", "a"), row("", "b"), row("a", "a"), row("", ""), row(None)])
    assert value(found["findings/f1"]) == pytest.approx(2 / 3, abs=1e-12)
    assert value(found["findings/precision"]) == value(found["findings/recall"]) == pytest.approx(2 / 3, abs=1e-12)
    assert value(found["findings/none_share"]) == 2 / 4, "the study without a report takes no part"
    assert value(found["findings/silent_on_abnormal"]) == pytest.approx(1 / 3, abs=1e-12)
    assert value(found["diversity/distinct"]) == 3 / 4 and value(found["diversity/largest_cluster"]) == 2 / 4
    assert found["findings/f1"].studies == 4
    assert "findings/f1_macro" not in found, "no finding is there three times"
    assert "labels/f1" not in found and "wording/bleu_4" not in found


def test_macro_f1_is_over_findings_with_three_positives():
    # a: TP 3, FP 1, FN 0 -> 6/7; b: TP 1, FN 2 -> 2/4; c has one positive only
    found = figures([row("ab", "ab"), row("a", "ab"), row("a", "ab"), row("a", "c")])
    assert value(found["findings/f1_macro"]) == pytest.approx((6 / 7 + 1 / 2) / 2, abs=1e-12)


def test_a_row_made_of_a_report_gives_what_training_reports(make_study, make_completion):
    texts = [SICK, NORMAL, NORMAL, SICK, SICK]
    studies = [make_study(f"s{i}", reference=(SICK, SICK, NORMAL, NORMAL, SICK)[i]) for i in range(5)]
    numbers = {study.patient: i for i, study in enumerate(studies)}
    rows = []
    for study, text in zip(studies, texts, strict=True):
        candidate = Candidate(make_completion(text=text, study=study), 1.0, {}, 6, 1.0)
        rows.append(make_row(study, candidate, numbers, reports=False))
    found = {name: value(figure) for name, figure in figures(rows).items()}
    expected = truth_metrics([result_of(s, t, 1.0) for s, t in zip(studies, texts, strict=True)])
    shared = expected.keys() & found.keys()
    assert {"findings/f1", "findings/f1_macro", "findings/silent_on_abnormal", "diversity/distinct"} <= shared
    assert {name: found[name] for name in shared} == pytest.approx({name: expected[name] for name in shared}, abs=1e-9)


def test_bleu_is_sacrebleus_over_the_whole_corpus():
    sacrebleu = pytest.importorskip("sacrebleu", reason="requirements/cpu.txt has it")
    said = [SICK, "Heart size is normal.", "Clear lungs, no effusion."]
    true = [NORMAL, "The heart is normal in size.", "The lungs are clear. No pleural effusion."]
    sums = np.sum([bleu_counts(a, b) for a, b in zip(said, true, strict=True)], axis=0)
    for order in (1, 4):
        expected = sacrebleu.BLEU(lowercase=True, max_ngram_order=order).corpus_score(said, [true]).score / 100
        assert float(corpus_bleu(sums, order)) == pytest.approx(expected, abs=1e-12)
    # "a b c d" against "a b c e": 3/4 unigrams, 2/3, 1/2 and 0/1, which smoothing makes 1/2; same length
    by_hand = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25
    assert float(corpus_bleu(bleu_counts("a b c d", "a b c e"))) == pytest.approx(by_hand, abs=1e-9)
    assert math.isnan(float(corpus_bleu(bleu_counts("", "a b"))))


def test_rouge_l_by_hand():
    pytest.importorskip("rouge_score", reason="requirements/cpu.txt has it")
    # longest common subsequence "no effusion": precision 2/2, recall 2/3
    assert rouge_l("no effusion", "no pleural effusion") == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3), abs=1e-9)


def test_chexbert_figures_are_scikit_learns():
    rng = np.random.default_rng(3)
    said, true = rng.integers(0, 2, (20, 14)), rng.integers(0, 2, (20, 14))
    said[:, 7], true[:, 7] = 0, 0  # a label that nobody names counts 0, as in published scripts
    pairs = [
        Claims(
            frozenset(n for n, x in zip(CHEXBERT_14, a, strict=True) if x),
            frozenset(n for n, x in zip(CHEXBERT_14, b, strict=True) if x),
        )
        for a, b in zip(said, true, strict=True)
    ]
    found = {name: value(figure) for name, figure in label_figures(pairs).items()}
    few = [CHEXBERT_14.index(name) for name in CHEXBERT_5]
    expected = {
        f"f1_{kind}_{n}": f1_score(true[:, which], said[:, which], average=kind, zero_division=0)
        for kind in ("micro", "macro")
        for n, which in ((14, list(range(14))), (5, few))
    }
    expected["chexalign_average"] = sum(expected.values()) / 4
    assert found == pytest.approx(expected, abs=1e-9)


def test_labels_of_another_judge_have_micro_and_macro_and_none_are_invented():
    found = {name: value(f) for name, f in label_figures([claims("ab", "a"), claims("", "b"), None]).items()}
    assert found == {"f1_micro": pytest.approx(2 / 4), "f1_macro": pytest.approx((1 + 0) / 2)}
    silent = label_figures([claims("", ""), claims("", "")])
    assert all(math.isnan(value(figure)) for figure in silent.values()), "never 0 for what nobody named"


def test_radcliq_is_one_over_the_mean_distance():
    rows = [row("", "", value=-d, status="scored", parts={"raw": d}) for d in (0.5, 1.5, 2.0)]
    for r in rows:
        r["scores"] = {"radcliq": r["scores"]["j"]}
    rows.append({**row("", ""), "scores": {"radcliq": {"value": None, "status": "unscorable", "parts": {}}}})
    found = figures(rows)["corpus/radcliq/inverse_mean"]
    assert value(found) == pytest.approx(3 / (0.5 + 1.5 + 2.0), abs=1e-12) and found.studies == 3


def test_a_study_that_one_policy_lacks_is_in_neither():
    ours = figures([row("a", "a"), row("b", "a")])["findings/f1"]
    theirs = figures([row(None), row("a", "a")])["findings/f1"]
    a, b = paired(ours, theirs)
    assert (value(a), value(b)) == (0.0, 1.0)


def test_p_by_counting_every_exchange():
    """Three patients that each differ by 1: |difference| is as large in 2 of the 8 exchanges."""
    ours, theirs, mean = [[1.0, 1.0]] * 3, [[0.0, 1.0]] * 3, lambda s: bootstrap.ratio(s[..., 0], s[..., 1])
    assert p_value(mean, ours, theirs, [0, 1, 2]) == pytest.approx(0.25, abs=0.02)
    assert p_value(mean, ours, theirs, [0, 0, 0]) is None, "one patient tells nothing"
    assert p_value(mean, ours, ours, [0, 1, 2]) == 1.0
    strong = p_value(mean, [[1.0, 1.0]] * 40, [[0.0, 1.0]] * 40, list(range(40)))
    assert strong == 1 / (1 + EXCHANGES)


def test_studies_of_one_patient_are_exchanged_together():
    ours, theirs = [[1.0, 1.0]] * 40, [[0.0, 1.0]] * 40
    mean = lambda s: bootstrap.ratio(s[..., 0], s[..., 1])  # noqa: E731
    p = p_value(mean, ours, theirs, [i // 20 for i in range(40)])
    assert p == pytest.approx(0.5, abs=0.02), "two patients, whatever the number of their studies"


def test_holm_by_hand():
    assert holm({"a": 0.02, "b": 0.01, "c": 0.9}) == pytest.approx({"b": 0.03, "a": 0.04, "c": 0.9})


@pytest.mark.parametrize(
    "answers",
    [
        [{"value": -2.0, "parts": {"untransformed": 2.0}}],
        [{"value": 1 / 3, "parts": {"untransformed": 2.0}}],
        [{"value": 0.1, "parts": {"untransformed": 2.0, "raw": 1 / 3, "verbosity": 3.0}}],
    ],
    ids=["negate", "reciprocal", "reciprocal and length control"],
)
def test_radcliq_is_read_before_its_transform(answers):
    rows = [{**row("", ""), "scores": {"radcliq": {**a, "status": "scored"}}} for a in answers]
    assert value(figures(rows)["corpus/radcliq/inverse_mean"]) == pytest.approx(0.5, abs=1e-12)
