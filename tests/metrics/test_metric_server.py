"""RadEval 2.2 itself, in its environment, through the server and the client that users use.

bleu and rouge need no weights, so their numbers are checked by hand; the others run with stand-in weights, and must
agree with what the package says when it is called directly.
"""

from __future__ import annotations

import math
import subprocess

import pytest

from judges.base import Case, Score, Status
from judges.errors import ConfigError
from judges.radeval.metrics import METRICS
from judges.registry import load_judge
from online_rl.commands.eval.figures import CHEXBERT_14
from tests.metrics.conftest import CASES, REFERENCES, ROOT, MetricServer

SERVED = ["bleu", "rouge", "bertscore", "f1chexbert", "sembscore", "radgraph", "radcliq", "ratescore", "srrbert"]


def ask(server: MetricServer, metric: str, cases: list[Case]) -> list[Score]:
    judge = load_judge(f"radeval:{metric}", {"url": server.url})
    judge.start()
    return judge.score(cases)


def values(scores: list[Score]) -> list[float | None]:
    return [score.value for score in scores]


def test_the_server_says_what_it_computes_and_what_not_and_why(server):
    table = {line.split()[0]: line for line in server.log.splitlines() if line.split()[1:2] in (["yes"], ["no"])}
    assert {name for name, line in table.items() if line.split()[1] == "yes"} == set(SERVED)
    assert "weights are missing: IAMJB/RadEvalModernBERT" in table["radeval_bertscore"]
    assert "less is better" in table["radcliq"]
    assert "--download radeval_bertscore" in server.log
    with pytest.raises(ConfigError, match="expected one of these"):
        ask(server, "radeval_bertscore", CASES)


def test_bleu_and_rouge_by_hand(server):
    pairs = [Case("same", "a b c d e", "a b c d e"), Case("other", "x y", "a b c d"), Case("half", "a b", "a b c d")]
    same, other, half = ask(server, "rouge", pairs)
    assert same.value == 1.0 and other.value == 0.0
    assert half.value == pytest.approx(2 / 3)  # 2 of 2 words right, 2 of 4 found
    assert half.parts == {"rouge1": pytest.approx(2 / 3), "rouge2": pytest.approx(0.5)}  # bigrams: 1 of 1, 1 of 3
    same, other, _ = ask(server, "bleu", pairs)
    assert same.value == pytest.approx(1.0, abs=1e-6) and other.value == pytest.approx(0.0, abs=1e-3)


def test_numbers_are_the_package_s_own(server, directly):
    names = ["bleu", "rouge", "bertscore", "radgraph", "ratescore", "srrbert"]
    found = directly(*names)
    for metric in names:
        scores = ask(server, metric, CASES)
        key = METRICS[metric].key
        for i, score in enumerate(scores):
            ours = {**score.parts, key: score.value}
            ours.pop("no_entity", None)
            assert ours == {k: pytest.approx(found[metric][k][i], abs=1e-5) for k in found[metric]}, metric


def test_radcliq_weighs_words_by_the_file_and_not_by_the_call(server, directly):
    together = values(ask(server, "radcliq", CASES))
    assert together == pytest.approx(
        directly("radcliq")["radcliq"]["radcliq_v1"], abs=1e-4
    )  # the file has these reports
    alone = [values(ask(server, "radcliq", [case]))[0] for case in CASES]
    assert alone == pytest.approx(together, abs=1e-4)


def test_chexbert_gives_labels_of_its_14_and_the_share_that_agrees(server):
    scores = ask(server, "f1chexbert", CASES)
    for score in scores:
        assert score.labels is not None and score.labels.said | score.labels.true <= set(CHEXBERT_14)
        differing = len(score.labels.said ^ score.labels.true)
        assert score.parts["f1chexbert_sample_acc_all"] == pytest.approx(1 - differing / 14)
    assert scores[3].value == 1.0, "the same report twice"
    assert any(score.labels.said for score in scores)


def test_sembscore_of_the_same_report_is_one(server):
    found = values(ask(server, "sembscore", CASES))
    assert found[3] == pytest.approx(1.0, abs=1e-5) and all(-1 <= value <= 1 + 1e-5 for value in found)


@pytest.mark.parametrize("metric", SERVED)
def test_odd_reports_cost_nobody_else_a_score(server, metric):
    odd = [
        Case("empty", "", REFERENCES[0]),
        Case("blank", " \n ", REFERENCES[0]),
        Case("marks", "...!?", REFERENCES[0]),
        Case("long", "small effusion. " * 2000, REFERENCES[0]),
        Case("strange", "\u202e👍 \x00 [MASK]", REFERENCES[0]),
        Case("nothing to score against", "clear", " "),
    ]
    expected = values(ask(server, metric, CASES))
    scores = ask(server, metric, [CASES[0], *odd[:3], CASES[1], *odd[3:], *CASES[2:]])
    assert values([scores[0], scores[4], *scores[-2:]]) == pytest.approx(expected, abs=1e-4)
    for score in scores:
        assert score.status in (Status.SCORED, Status.UNSCORABLE)
        assert score.value is None or math.isfinite(score.value)
    assert scores[7].status is Status.UNSCORABLE and "reference report is empty" in scores[7].detail
    assert server.process.poll() is None and "effusion." not in server.log


def test_ratescore_does_not_hand_a_silent_report_s_score_to_its_neighbour(server):
    scores = ask(server, "ratescore", [Case("empty", "", REFERENCES[0]), CASES[0]])
    assert scores[0].status is Status.UNSCORABLE and scores[1].value == values(ask(server, "ratescore", CASES[:1]))[0]


def test_without_weights_nothing_is_served_and_everything_is_named(environment, tmp_path):
    env = environment | {"HF_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = ["bash", "launch/metrics_server.sh", "--check", "bertscore", "radgraph"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "none of these metrics can be computed here" in done.stderr
    assert "distilbert-base-uncased" in done.stdout and "radgraph-xl.tar.gz" in done.stdout
    done = subprocess.run([*command, "rogue"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "Did you mean 'rouge'" in done.stderr
