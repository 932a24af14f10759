"""Present findings, pooled: against the formulas of a script of its own, and what is absent if nothing is defined."""

import json
from collections import Counter

import pytest

from judges.findings.parse import parse
from online_rl.truth import counts, findings, names
from online_rl.truth.counts import Claims
from online_rl.truth.diversity import diversity_metrics, uniqueness
from online_rl.truth.results import result_of, truth_metrics

NORMAL = "No pleural effusion. No pneumothorax. The heart is normal in size."
ROWS = [
    ("Small left pleural effusion. No pneumothorax.", "Small left pleural effusion. No pneumothorax."),
    (NORMAL, "Moderate right pleural effusion. Mild pulmonary edema."),
    ("Mild pulmonary edema. Small left pleural effusion.", "Mild pulmonary edema. No pleural effusion."),
    (NORMAL, NORMAL),
    ("There is a right pneumothorax.", NORMAL),
    (NORMAL, "Small right pleural effusion. Cardiomegaly."),
    ("Mild pulmonary edema.", "Moderate pulmonary edema. Cardiomegaly."),
]


def claims(*pairs):
    return [Claims(frozenset(said.split()), frozenset(true.split())) for said, true in pairs]


def test_the_numbers_are_those_of_a_script_over_a_samples_file(tmp_path):
    """The formulas of the script that measured collapse first, over a file as `samples/*.jsonl` are."""
    path = tmp_path / "after.jsonl"
    path.write_text("\n".join(json.dumps({"candidate": c, "reference": r}) for c, r in ROWS) + "\n")
    rows = [json.loads(line) for line in path.read_text().splitlines()]

    def present(text):
        return {entity for entity, finding in parse(text).findings.items() if finding.present}

    right, false, missing, normal = Counter(), Counter(), Counter(), 0
    for row in rows:
        said, true = present(row["candidate"]), present(row["reference"])
        normal += not said
        right.update(said & true), false.update(said - true), missing.update(true - said)
    r, f, m = (sum(c.values()) for c in (right, false, missing))
    each = {e: 2 * right[e] / (2 * right[e] + false[e] + missing[e]) for e in right if right[e] + missing[e] >= 3}

    metrics = findings.findings_metrics([findings.claims_of(c, r) for c, r in ROWS])
    assert metrics["findings/f1"] == pytest.approx(2 * r / (2 * r + f + m), abs=5e-4)
    assert metrics["findings/precision"] == pytest.approx(r / (r + f), abs=5e-4)
    assert metrics["findings/recall"] == pytest.approx(r / (r + m), abs=5e-4)
    assert metrics["findings/f1_macro"] == pytest.approx(sum(each.values()) / len(each), abs=5e-4)
    assert metrics["findings/none_share"] == pytest.approx(normal / len(rows), abs=5e-4)
    different = len({row["candidate"] for row in rows})
    assert diversity_metrics([c for c, _ in ROWS])["diversity/distinct"] == different / len(rows)


def test_pooled_figures_by_hand():
    figures = counts.pooled(claims(("a b", "a"), ("", "b c"), ("", ""), ("c", "c"), ("d", "")))
    # TP 2 (a, c), FP 2 (b, d), FN 2 (b, c)
    assert figures["precision"] == figures["recall"] == 2 / 4
    assert figures["f1"] == 2 * 2 / (2 * 2 + 2 + 2)
    assert figures["none_share"] == figures["none_share_reference"] == 2 / 5
    assert figures["silent_on_abnormal"] == 1 / 3


def test_pooled_f1_does_not_reward_a_policy_that_calls_nothing_present():
    silent = counts.pooled(claims(*[("", "")] * 9, ("", "a")))
    assert silent["f1"] == 0.0  # a mean per study would be .9
    assert "precision" not in silent  # nothing was called present, so nothing was right or wrong


def test_a_finding_is_shown_from_25_positives_on_and_enters_the_macro_mean_from_3():
    figures = counts.pooled(claims(*[("a", "a")] * 24, ("", "a"), *[("b", "b")] * 3, ("c", "c c"), ("", "c")))
    assert figures["f1/a"] == 2 * 24 / (2 * 24 + 1)
    assert not {"f1/b", "f1/c"} & figures.keys()
    assert figures["f1_macro"] == pytest.approx((48 / 49 + 1.0) / 2)


def test_in_another_language_the_numbers_are_absent_and_not_zero():
    assert findings.findings_metrics([findings.claims_of("Kein Pleuraerguss.", "Pleuraerguss links.")]) == {}
    assert "absent" in findings.NO_FINDINGS


def test_references_that_are_not_understood_are_left_out_and_counted():
    references = ["Mild edema.", "Bild siehe oben."]
    metrics = findings.findings_metrics([findings.claims_of("Edema.", reference) for reference in references])
    assert metrics["findings/precision"] == 1.0
    assert metrics["findings/unread_references"] == 0.5


class Reading:
    """A second reader that knows the word effusion alone."""

    def __init__(self, text):
        self.present = frozenset({"effusion"} if "effusion" in text else ())
        self.unknown = ["?"] * text.count("?")
        self.sentences = 2


def test_labels_are_compared_with_what_another_reader_reads(make_study):
    columns = [{"labels": [{"name": "effusion", "side": "left"}]}, {"labels": []}, {}]
    studies = [make_study(f"s{i}", columns=column) for i, column in enumerate(columns)]
    results = [result_of(study, "An effusion?", 1.0, Reading) for study in studies]
    metrics = truth_metrics(results)
    assert metrics["labels/precision"] == 1 / 2  # the study without labels is not counted
    assert metrics["labels/unknown_sentences"] == 2 / 4
    assert not [name for name in truth_metrics(results[2:]) if name.startswith("labels/")]


def test_every_number_has_its_name_on_the_list(make_study):
    study = make_study(reference="Small left effusion.", columns={"labels": [{"name": "effusion"}]})
    results = [result_of(study, report, 1.0, Reading) for report in ["A small effusion."] * 30 + ["No effusion?"]]
    results.append(result_of(make_study("s2", reference="Bild."), "Edema.", None, Reading))
    known = {name.replace("<finding>", "effusion") for name in (*names.FINDINGS, *names.LABELS, *names.DIVERSITY)}
    assert truth_metrics(results).keys() == known


def test_an_evaluation_without_studies_has_no_numbers():
    assert truth_metrics([]) == {}


def test_diversity_counts_words_and_not_whitespace():
    reports = ["a b.", "a  b.\n", "c.", "d."]
    metrics = diversity_metrics(reports, abnormal=[True, True, False, None])
    assert metrics["diversity/distinct"] == 3 / 4
    assert metrics["diversity/largest_cluster"] == 2 / 4
    assert metrics["diversity/distinct_abnormal"] == 1 / 2
    assert metrics["diversity/largest_cluster_abnormal"] == 1.0
    assert sum(uniqueness(reports)) == 3
    assert diversity_metrics([]) == {}
