"""What stops a step before its samples can teach: stale weights, a prompt read otherwise, a completion cut off.

Without vLLM: an engine that answers as vLLM's does stands in its place.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import PolicyMismatch
from online_rl.rollout.engine import RolloutEngine
from online_rl.rollout.partners import Partners
from online_rl.rollout.types import Prompt

GROUP = 2


class Answers:
    """vLLM's engine: candidate i of a request is 10 + i and then 2, token by token, the last candidate first."""

    def __init__(self):
        self.asked, self.parts = [], []
        self.read_as, self.reason = (1, 2, 3), "stop"

    def add_request(self, request_id, payload, params):
        self.asked.append((payload["prompt"], params))
        for index in reversed(range(params.n)):
            for token, reason in ((10 + index, None), (2, self.reason)):
                logprob = SimpleNamespace(logprob=-token / 10)
                part = SimpleNamespace(
                    index=index, token_ids=[token], logprobs=[{token: logprob}], finish_reason=reason
                )
                self.parts.append((request_id, part))

    def has_unfinished_requests(self):
        return bool(self.parts)

    def step(self):
        request_id, part = self.parts.pop(0)
        return [SimpleNamespace(request_id=request_id, prompt_token_ids=list(self.read_as), outputs=[part])]

    def reset_encoder_cache(self):
        pass


class LLM:
    def __init__(self):
        self.llm_engine, self.weights = Answers(), {}

    def collective_rpc(self, method, kwargs):
        self.weights |= dict(kwargs["weights_iterator"])

    def reset_prefix_cache(self):
        pass

    def reset_mm_cache(self):
        pass


@pytest.fixture
def engine():
    """A RolloutEngine of policy version 3, without the vLLM that its constructor would start."""
    bare = RolloutEngine.__new__(RolloutEngine)
    bare.cfg = config_from_dict({"rollout": {"group_size": GROUP, "max_completion_tokens": 8}})
    bare.tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: " ".join(map(str, ids)))
    bare.llm, bare.version, bare.can_sleep = LLM(), 3, True
    bare._sampling_params = lambda **settings: SimpleNamespace(**settings)
    bare._partners = Partners(bare.cfg)
    bare._delta, bare._banned, bare._requests, bare._syncs = "delta", {}, 0, 0
    return bare


@pytest.fixture
def prompts(make_study):
    studies = [make_study(f"s{i}", source=f"studies.jsonl:{i}") for i in range(2)]
    return [Prompt(study, f"prompt of {study.study_id}", (), (1, 2, 3), {}) for study in studies]


def test_completions_are_put_together_from_what_comes_in_parts(engine, prompts):
    rollouts = engine.generate(prompts, step=1, version=3)
    finished = [(c.group, c.candidate) for c in rollouts]
    assert finished == [(0, 1), (0, 0), (1, 1), (1, 0)] and rollouts.version == 3
    for group, prompt in zip(rollouts.groups, prompts, strict=True):
        assert [(c.prompt, c.ids, c.logprobs, c.text, c.truncated) for c in group] == [
            (prompt, (10, 2), (-1.0, -0.2), "10 2", False),
            (prompt, (11, 2), (-1.1, -0.2), "11 2", False),
        ]


@pytest.mark.parametrize("trainers", [2, 4])
def test_weights_of_another_version_do_not_sample(engine, prompts, trainers):
    with pytest.raises(PolicyMismatch) as refused:
        engine.generate(prompts, step=7, version=trainers)
    assert str(refused.value) == (
        f"step 7: the engine holds policy version 3, the trainer version {trainers}. "
        "The weights were not synced after an update."
    )
    assert engine.llm.llm_engine.asked == [], "nothing was sampled"


def test_a_sync_that_was_forgotten_is_made_up_for_by_a_sync(engine, prompts):
    with pytest.raises(PolicyMismatch, match="version 3, the trainer version 4"):
        engine.generate(prompts, step=2, version=4)
    engine.load_weights([("lm_head.weight", "new")], version=4)
    assert engine.llm.weights == {"lm_head.weight": "new"}
    assert len(list(engine.generate(prompts, step=2, version=4))) == 4
    with pytest.raises(PolicyMismatch, match="version 4, the trainer version 3"):
        engine.generate(prompts, step=2, version=3)


def test_a_sync_that_fails_leaves_the_version_as_it_was(engine, prompts):
    def refuses(method, kwargs):
        next(kwargs["weights_iterator"])
        raise KeyError("no such layer")

    engine.llm.collective_rpc = refuses
    with pytest.raises(PolicyMismatch, match=r"lm_head\.weight: vLLM does not take this weight \(KeyError"):
        engine.load_weights([("lm_head.weight", "new"), ("norm.weight", "new")], version=4)
    with pytest.raises(PolicyMismatch, match="version 3, the trainer version 4"):
        engine.generate(prompts, step=2, version=4)


@pytest.mark.parametrize("read_as", [(1, 2, 3, 3), (1, 2, 4), ()])
@pytest.mark.parametrize("way", ["generate", "greedy"])
def test_a_prompt_that_vllm_reads_otherwise_stops_at_its_row(engine, prompts, read_as, way):
    engine.llm.llm_engine.read_as = read_as
    rollouts = engine.generate(prompts, 1, 3) if way == "generate" else engine.greedy(prompts)
    with pytest.raises(PolicyMismatch) as refused:
        list(rollouts)
    said = f"studies.jsonl:0: vLLM reads the prompt as {len(read_as)} tokens that differ from the trainer's 3. "
    assert str(refused.value).startswith(said) and "use the versions in requirements/" in str(refused.value)
    assert rollouts.groups == []


def test_a_row_without_a_place_is_named_by_its_study(engine, make_study):
    engine.llm.llm_engine.read_as = (9,)
    prompt = Prompt(make_study("s9"), "", (), (1, 2, 3), {})
    with pytest.raises(PolicyMismatch, match="^s9: vLLM reads"):
        list(engine.greedy([prompt]))


def test_a_completion_at_the_limit_is_truncated_and_one_that_was_aborted_is_an_error(engine, prompts):
    engine.llm.llm_engine.reason = "length"
    assert all(c.truncated for c in engine.generate(prompts, 1, 3))
    engine.llm.llm_engine.reason = "abort"
    with pytest.raises(RuntimeError, match=r"studies\.jsonl:0 with 'abort'"):
        list(engine.generate(prompts, 1, 3))
