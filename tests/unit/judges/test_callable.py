"""Reward functions in TRL's call form as judges: what they get, and that nothing they return is bent into a reward."""

from __future__ import annotations

import asyncio
import functools
import traceback

import numpy as np
import pytest
import torch

from judges.base import Case, Status
from judges.callable import CallableJudge
from online_rl.errors import JudgeError, JudgeFailed

CASES = [
    Case("s1", "cand one", "ref one", "cough", ("a.png",), "prompt one", (1, 2), {"age": 70}),
    Case("s2", "cand two", "ref two", "fever", (), "prompt two", (3,), {"sex": "F"}),
]


def test_function_with_kwargs_gets_every_column():
    seen = {}

    def reward(prompts, completions, completion_ids, **columns):
        assert callable(columns.pop("log_extra")) and callable(columns.pop("log_metric"))
        seen.update(columns, prompts=prompts, completions=completions, completion_ids=completion_ids)
        return [0.5, 1]

    scores = CallableJudge(reward).score(CASES)
    assert [s.value for s in scores] == [0.5, 1.0] and all(type(s.value) is float for s in scores)
    assert seen == {
        "prompts": ["prompt one", "prompt two"],
        "completions": ["cand one", "cand two"],
        "completions_cleaned": ["cand one", "cand two"],
        "completion_ids": [[1, 2], [3]],
        "ground_truth": ["ref one", "ref two"],
        "reference": ["ref one", "ref two"],
        "reference_cleaned": ["ref one", "ref two"],
        "indication": ["cough", "fever"],
        "study_id": ["s1", "s2"],
        "images": [["a.png"], []],
        "age": [70, None],
        "sex": [None, "F"],
    }


def test_function_gets_only_what_it_takes_and_its_args():
    def reward(completions, ground_truth, scale=1.0, *, offset=0.0):
        return [scale * len(c) + offset for c in completions]

    assert [s.value for s in CallableJudge(reward, args={"scale": 2, "offset": 0.5}).score(CASES)] == [16.5, 16.5]


def test_async_functions_objects_and_partials():
    async def reward(completions, **kwargs):
        await asyncio.sleep(0)
        return [1.0 for _ in completions]

    class Rewarder:
        def __call__(self, completions, bonus, **kwargs):
            return [bonus for _ in completions]

    judge = CallableJudge(reward)
    assert asyncio.iscoroutinefunction(judge.score)
    assert [s.value for s in asyncio.run(judge.score(CASES))] == [1.0, 1.0]
    assert [s.value for s in CallableJudge(functools.partial(Rewarder(), bonus=0.25)).score(CASES)] == [0.25, 0.25]


def test_none_is_unscorable():
    scores = CallableJudge(lambda completions: [None, 0.0], "mine").score(CASES)
    assert [s.status for s in scores] == [Status.UNSCORABLE, Status.SCORED]
    assert scores[0].value is None and scores[1].value == 0.0


RAW = Case(
    "s1",
    candidate="findings: no effusion.",
    reference="impression: clear.",
    raw_candidate="FINDINGS:\n- No **effusion**.",
    raw_reference="IMPRESSION:\nClear. [unsigned]",
)


def test_texts_are_as_sampled_and_as_in_the_data_with_the_cleaned_ones_beside_them():
    def reward(completions, completions_cleaned, reference, reference_cleaned, ground_truth):
        assert completions == ["FINDINGS:\n- No **effusion**."] and completions_cleaned == ["findings: no effusion."]
        assert reference == ground_truth == ["IMPRESSION:\nClear. [unsigned]"]
        assert reference_cleaned == ["impression: clear."]
        return [1.0]

    assert CallableJudge(reward).score([RAW])[0].value == 1.0


def test_rewards_for_a_heading_or_a_line_break_work():
    def laid_out(completions):
        return [text.startswith("FINDINGS:") + 0.5 * text.count("\n") for text in completions]

    assert CallableJudge(laid_out).score([RAW])[0].value == 1.5


def test_messages_hold_the_raw_text():
    def reward(completions):
        return [float("\n" in message["content"]) for [message] in completions]

    assert CallableJudge(reward, conversational=True).score([RAW])[0].value == 1.0


@pytest.mark.parametrize("yes", [True, np.bool_(True)])
def test_truth_values_are_what_trl_makes_of_them(yes):
    """TRL puts the list into torch.tensor(..., dtype=torch.float32)."""
    values = [yes, not yes]
    found = [s.value for s in CallableJudge(lambda completions: values).score(CASES)]
    assert found == torch.tensor(values, dtype=torch.float32).tolist() == [1.0, 0.0]
    assert all(type(value) is float for value in found)


def test_numpy_numbers_are_numbers():
    values = [np.float32(0.5), np.int64(2)]
    assert [s.value for s in CallableJudge(lambda completions: values).score(CASES)] == [0.5, 2.0]


BAD_ROWS = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "numpy nan": np.float32("nan"),
    "huge int": 10**400,
    "text": "0.5",
    "tensor": torch.tensor(0.5),
    "array": np.array(0.5),
    "list": [0.5],
    "complex": 1j,
    "dict": {"value": 1.0},
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_named(bad):
    with pytest.raises(JudgeError, match=r"'my_reward'.*row 1 .*'s2'"):
        CallableJudge(lambda completions: [0.5, bad], "my_reward").score(CASES)


BAD_WHOLES = {
    "too short": [0.5],
    "too long": [0.5, 0.5, 0.5],
    "empty": [],
    "tensor": torch.zeros(2),
    "array": np.zeros(2),
    "text": "ab",
    "number": 0.5,
    "none": None,
    "dict": {0: 0.5, 1: 0.5},
    "generator": (x for x in (0.5, 0.5)),
}


@pytest.mark.parametrize("bad", BAD_WHOLES.values(), ids=BAD_WHOLES)
def test_bad_return_is_named(bad):
    with pytest.raises(JudgeError, match=r"'my_reward' returned.*rows 0 to 1.*'s1' to 's2'"):
        CallableJudge(lambda completions: bad, "my_reward").score(CASES)


def raises(completions, **kwargs):
    raise KeyError(completions[0])


async def raises_later(completions, **kwargs):
    raise KeyError(completions[0])


@pytest.mark.parametrize("function", [raises, raises_later])
def test_exception_is_chained_and_its_message_kept_out(function):
    judge = CallableJudge(function, "my_reward")
    with pytest.raises(JudgeError, match=r"'my_reward' raised KeyError.*'s1' to 's2'") as caught:
        result = judge.score(CASES)
        asyncio.run(result)
    assert isinstance(caught.value.__cause__, KeyError)
    assert "cand one" not in str(caught.value)
    assert "my_reward" in "".join(traceback.format_exception_only(caught.value))


def test_a_judge_out_of_reach_stays_one():
    def gone(completions):
        raise JudgeFailed("no answer within the budget")

    with pytest.raises(JudgeFailed):
        CallableJudge(gone).score(CASES)


def made_as_radeval_does(reference_column="ground_truth"):
    """The call form of `radeval.rewards.make_reward_fn(...)`: the reference column is looked up in the keywords."""

    def reward_fn(completions, **kwargs):
        assert all(isinstance(completion, str) for completion in completions)
        return [float(c == r) for c, r in zip(completions, kwargs[reference_column], strict=True)]

    return reward_fn


def test_functions_made_as_radeval_does():
    cases = [*CASES, Case("s3", "the same", "the same", columns={"labels": "x"})]
    assert [s.value for s in CallableJudge(made_as_radeval_does()).score(cases)] == [0.0, 0.0, 1.0]
    assert [s.value for s in CallableJudge(made_as_radeval_does("reference")).score(cases)] == [0.0, 0.0, 1.0]


def test_rewards_of_trl():
    """TRL's own, unchanged: one reads messages, the other token ids."""
    rewards = pytest.importorskip("trl.rewards")
    thinks = Case("s1", "<think>small heart</think>normal heart", "normal heart")
    judge = CallableJudge(rewards.think_format_reward, conversational=True)
    assert [s.value for s in judge.score([thinks, *CASES])] == [1.0, 0.0, 0.0]
    soft = rewards.get_soft_overlong_punishment(max_completion_len=3, soft_punish_cache=2)
    assert [s.value for s in CallableJudge(soft).score(CASES)] == [-0.5, 0.0]  # 2 tokens, half way from 1 to 3; 1 token


def test_conversational_functions_get_messages():
    seen = {}

    def reward(prompts, completions, reference):
        seen.update(prompts=prompts, completions=completions, reference=reference)
        return [0.0, 0.0]

    CallableJudge(reward, conversational=True).score(CASES)
    assert seen["prompts"][0] == [{"role": "user", "content": "prompt one"}]
    assert seen["completions"][1] == [{"role": "assistant", "content": "cand two"}]
    assert seen["reference"] == ["ref one", "ref two"]


def test_column_that_the_data_lack_is_named():
    with pytest.raises(JudgeError, match=r"'labels'.*ground_truth"):
        CallableJudge(lambda completions, labels: [0.0, 0.0]).score(CASES)


@pytest.mark.parametrize("args", [{"nope": 1}, {"completions": []}, {"ground_truth": "x"}])
def test_args_that_do_not_fit_are_refused_before_scoring(args):
    with pytest.raises(JudgeError, match=next(iter(args))):
        CallableJudge(lambda completions, ground_truth: [], args=args)


def test_no_cases():
    assert CallableJudge(lambda completions: []).score([]) == []
