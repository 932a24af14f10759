"""`judges.score`: pairs in, one Score each, in order; never a made-up number."""

from __future__ import annotations

import asyncio

import pytest

import judges
from judges.base import Case, Score, Status
from judges.errors import JudgeError, JudgeFailed

REFERENCE = "Small left pleural effusion. No pneumothorax."


def long_words(completions, reference, **columns):
    return [float(sum(len(word) > 4 for word in text.split())) for text in completions]


def test_pairs_come_as_tuples_dicts_or_cases_and_texts_are_cleaned():
    candidate = "LEFT  pleural **effusion**.  [signed]"
    rows = [
        (REFERENCE, candidate),
        {"reference": REFERENCE, "candidate": candidate, "study_id": 7, "age": 61},
        Case("s3", "left pleural effusion.", "small left pleural effusion. no pneumothorax."),
    ]
    first, second, third = judges.score(rows)
    assert first.value == second.value == third.value == pytest.approx(judges.FindingsJudge().score(rows[2:])[0].value)


def test_the_first_of_a_pair_is_the_reference():
    [missed] = judges.score([(REFERENCE, "No pneumothorax.")])
    [claimed] = judges.score([("No pneumothorax.", REFERENCE)])
    assert missed.parts["missing_finding"] == 1 and claimed.parts["false_finding"] == 1


def test_a_function_in_trls_form_sees_the_columns():
    def by_age(completions, age, study_id, **columns):
        return [a / 100 for a in age]

    rows = [{"reference": "a b", "candidate": "c", "study_id": "s1", "age": age} for age in (10, 20)]
    assert [s.value for s in judges.score(rows, by_age)] == [0.1, 0.2]


def test_the_length_rule_holds_as_in_training():
    # Six long words; 8 words for a reference of 4: verbosity 2.
    pair = ("one two three four", "effusion effusion effusion effusion effusion effusion a b")
    [raw], [controlled] = judges.score([pair], long_words), judges.score([pair], long_words, length_control="lc_green")
    assert (raw.value, controlled.value) == (6.0, 3.0)


def test_a_reference_without_words_is_unscorable_and_no_judge_is_asked():
    scores = judges.score([("___", "clear"), ("a b", "effusion")], long_words)
    assert [s.status for s in scores] == [Status.UNSCORABLE, Status.SCORED]
    assert scores[0].value is None and scores[1].value == 1.0


def test_a_judge_of_groups_gets_the_neighbours_of_a_study():
    calls = []

    class Groups:
        name, granularity = "groups", "group"

        def score(self, cases):
            calls.append([case.study_id for case in cases])
            return [Score(1.0) for _ in cases]

    rows = [{"reference": "a b", "candidate": "c", "study_id": s} for s in ("s1", "s1", "s2", "s1")]
    assert len(judges.score(rows, Groups())) == 4
    assert calls == [["s1", "s1"], ["s2"], ["s1"]]


def test_an_async_judge_is_awaited_even_while_a_loop_runs():
    class Slow:
        name = "slow"

        async def score(self, cases):
            await asyncio.sleep(0)
            return [Score(0.5) for _ in cases]

    async def in_a_notebook():
        return judges.score([("a b", "c")], Slow())

    [score] = asyncio.run(in_a_notebook())
    assert score.value == 0.5


def test_a_judge_is_started_and_closed_by_whoever_made_it():
    done = []

    class Served:
        name = "served"

        def start(self):
            done.append("start")

        def score(self, cases):
            return [Score(0.5) for _ in cases]

        def close(self):
            done.append("close")

    judges.score([("a b", "c")], Served)
    assert done == ["start", "close"]
    judges.score([("a b", "c")], Served())
    assert done == ["start", "close", "start"]


def test_a_judge_out_of_reach_has_no_value():
    class Away:
        name = "away"

        def score(self, cases):
            return [Score.failed("no route") for _ in cases]

    [score] = judges.score([("a b", "c")], Away())
    assert score.status is Status.FAILED and score.value is None


def test_errors_of_the_judge_come_through():
    class Down:
        name = "down"

        async def score(self, cases):
            raise JudgeFailed("judge 'down' is out of reach")

    with pytest.raises(JudgeFailed, match="out of reach"):
        judges.score([("a b", "c")], Down())


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "b"), ("a", "b", "c")], r"pairs\[1\]: found 3 values, expected \(reference, candidate\)"),
        (["ab"], r"pairs\[0\]: found str, expected \(reference, candidate\)"),
        ([{"candidate": "a"}], r"pairs\[0\]: has no 'reference'; found candidate"),
        ([("a", None)], r"pairs\[0\]: candidate is of type NoneType, expected text"),
    ],
)
def test_what_is_no_pair_is_named_by_its_place(pairs, message):
    with pytest.raises(JudgeError, match=message):
        judges.score(pairs)


@pytest.mark.parametrize("answer", [[], [0.5], None])
def test_a_judge_that_breaks_its_contract_is_named(answer):
    class Broken:
        name = "broken"

        def score(self, cases):
            return answer

    with pytest.raises(JudgeError, match="judge 'broken'"):
        judges.score([("a b", "c")], Broken())


def test_no_pairs_no_scores():
    assert judges.score([]) == []


def test_load_judge_takes_objects_too():
    judge = judges.load_judge(long_words, length_control="lc_green", name="mine")
    [score] = judge.score([Case("s1", "effusion a b c", "a b")])
    assert judge.name == "mine" and score.value == 0.5
    assert judges.load_judge(judges.FindingsJudge, {"normal_weight": 0.5}).normal_weight == 0.5
    with pytest.raises(JudgeError, match="FindingsJudge.*do not fit"):
        judges.load_judge(judges.FindingsJudge, {"normal": 0.5})
    with pytest.raises(JudgeError, match="is of type int"):
        judges.load_judge(3)
