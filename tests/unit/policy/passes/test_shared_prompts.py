"""Candidates behind one prompt in one row: what each has alone is what it has there, and it teaches the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from online_rl.policy.model import PolicyModel
from online_rl.policy.passes.branch_attention import lay_out
from online_rl.policy.passes.collate import collate
from online_rl.policy.passes.shared_prompts import agrees, can_share, gap, tree_mask, two_of_one_prompt
from online_rl.policy.passes.vision_cut import VisionCut, encode_images
from online_rl.rollout.types import Prompt
from tests.unit.policy.gradients import gradients, same_gradients

pytestmark = pytest.mark.usefixtures("one_thread")


def apart(rows):
    return collate([[c] for row in rows for c in row], *[[1.0] * sum(map(len, rows))] * 2, 0)


def shared(rows):
    return collate(rows, *[[1.0] * sum(map(len, rows))] * 2, 0)


@pytest.fixture
def two_studies(completions, make_completion):
    """Four candidates of a study with two images, three of another with one, of different lengths."""
    first, second = completions[0].prompt, completions[1].prompt
    lengths = ((first, (40, 41, 42, 43, 2)), (first, (50,)), (first, (60, 61, 2)), (first, (41, 40)))
    lengths += ((second, (40, 41)), (second, (70, 71, 72, 73)), (second, (2,)))
    made = [make_completion(ids=ids, prompt=prompt) for prompt, ids in lengths]
    return [made[:4], made[4:]]


def test_what_a_token_sees_by_hand(make_completion, make_study):
    seen = Prompt(make_study(), "", (), (11, 12), {})
    one, two = make_completion(ids=(21, 22), prompt=seen), make_completion(ids=(31,), prompt=seen)
    longer = make_completion(ids=(41, 42), prompt=Prompt(make_study(), "", (), (13, 14, 15, 16), {}))
    mask = tree_mask(collate([[one, two], [longer]], [1.0] * 3, [1.0] * 3, 0).branches)
    assert mask.shape == (2, 1, 6, 6)
    expected = [
        [1, 0, 0, 0, 0, 0],  # 11
        [1, 1, 0, 0, 0, 0],  # 12
        [1, 1, 1, 0, 0, 0],  # 21
        [1, 1, 1, 1, 0, 0],  # 22
        [1, 1, 0, 0, 1, 0],  # 31: the prompt and itself, not the other completion
    ]
    assert mask[0, 0, :5].int().tolist() == expected
    assert mask[0, 0, 5, :2].all(), "padding has something to attend to"
    assert not mask[0, 0, :5, 5].any(), "and nothing attends to it"
    assert mask[1, 0].equal(torch.ones(6, 6, dtype=torch.bool).tril())


def test_shared_rows_change_neither_values_nor_gradients(demo_model, two_studies):
    assert can_share(demo_model)
    logp, entropy, expected = gradients(demo_model, apart(two_studies))
    for slices in (1, 4):
        mine, own_entropy, found = gradients(demo_model, shared(two_studies), slices)
        torch.testing.assert_close(mine, logp, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(own_entropy, entropy, atol=2e-5, rtol=1e-5)
        same_gradients(found, expected)


def test_recomputed_activations_change_no_gradient(demo_model, two_studies):
    *_, expected = gradients(demo_model, apart(two_studies))
    demo_model.train().gradient_checkpointing_enable({"use_reentrant": False})
    try:
        *_, recomputed = gradients(demo_model, shared(two_studies), slices=3)
    finally:
        demo_model.gradient_checkpointing_disable()
        demo_model.eval()
    same_gradients(recomputed, expected)


def test_a_completion_in_two_pairs_counts_twice(demo_model, two_studies):
    best, middle, worst, _ = two_studies[0]
    rows = [[best, worst, best, middle]]
    logp, _, expected = gradients(demo_model, apart(rows))
    mine, _, found = gradients(demo_model, shared(rows))
    torch.testing.assert_close(mine, logp, atol=2e-5, rtol=1e-5)
    same_gradients(found, expected)


@pytest.mark.parametrize("slices", [1, 3])
def test_passes_of_nothing_but_empty_completions_go_through(demo_model, two_studies, slices):
    """Another rank may wait in the same pass, with more to say."""
    nothing = [replace(c, ids=(), logprobs=()) for c in two_studies[0][:2]]
    logp, entropy, found = gradients(demo_model, shared([nothing]), slices)
    assert not logp.any() and not entropy.any()
    assert all(not gradient.any() for gradient in found.values())


def test_in_every_architecture(policy, rows):
    """Studies of two images and of one, of other sizes, so that Qwen's positions run ahead by other amounts."""
    model, _ = policy
    if not can_share(model):
        assert type(model).__name__ == "Gemma3ForConditionalGeneration", "its layers attend to a window"
        return
    grouped = [rows[:2], rows[2:]]
    logp, _, expected = gradients(model, apart(grouped))
    mine, _, found = gradients(model, shared(grouped))
    torch.testing.assert_close(mine, logp, atol=1e-5, rtol=1e-5)
    same_gradients(found, expected)


def test_with_images_that_were_seen_before(policy, rows):
    model, _ = policy
    module = PolicyModel(model, [3], 0.7)
    with torch.no_grad():
        expected, _ = module(apart([rows]))
        module.cut = VisionCut(model)
        features = encode_images(Engine(module), [c.prompt for c in rows], torch.device("cpu"), 8)
        batch = collate([rows[:2], rows[2:]], [1.0] * 4, [1.0] * 4, 0, features)
        if can_share(model):
            torch.testing.assert_close(module(batch)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", [{"_attn_implementation": "eager"}, {"sliding_window": 4}])
def test_attention_that_takes_no_such_mask_keeps_a_row_per_candidate(demo_processor, change):
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0)
    assert can_share(model)
    for name, value in change.items():
        setattr(model.config.get_text_config(), name, value)
    assert not can_share(model)


class Engine:
    """DeepSpeed's, as far as a forward pass goes."""

    def __init__(self, module):
        self.module = module

    def __call__(self, batch):
        return self.module(batch)

    def eval(self):
        self.module.eval()

    def train(self):
        self.module.train()


def counts_on(model, batch, inputs):
    """Positions as if a row were one text."""
    return torch.arange(batch.ids.shape[1]).expand_as(batch.ids)


def sees_all(branches):
    """A mask as if a row were one text."""
    return torch.ones(len(branches), 1, *branches.shape[1:] * 2, dtype=torch.bool).tril()


def as_one_completion(branches, multiple):
    """Blocks as if a row were a prompt and one text."""
    return lay_out(branches.clamp(max=1), multiple)


LAY_OUT = "branch_attention.lay_out"
WRONG = {
    "positions": {"positions": counts_on},
    "blocks": {LAY_OUT: as_one_completion},
    "mask": {"tree_mask": sees_all, LAY_OUT: lambda *_: None},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_model_that_does_not_do_as_told_is_found_out(demo_model, two_studies, monkeypatch, wrong):
    engine, cpu = Engine(PolicyModel(demo_model, [3], 1.0)), torch.device("cpu")
    pairs = [two_studies[0][:3:2], two_of_one_prompt(two_studies[0][0], [])]
    try:
        assert all(agrees(gap(engine, pair, 0, {}, cpu), demo_model) for pair in pairs)
        for name, function in wrong.items():
            monkeypatch.setattr(f"online_rl.policy.model.{name}", function)
        for pair in pairs:
            assert not agrees(gap(engine, pair, 0, {}, cpu), demo_model)
        for n in (0, 1):  # a first token is predicted by the prompt: there is nothing to see
            short = replace(two_studies[0][0], ids=(40,) * n, logprobs=(-1.0,) * n)
            assert gap(engine, [two_studies[0][0], short], 0, {}, cpu) is None
    finally:
        demo_model.eval()


def test_what_is_compared_was_sampled_where_it_can_be(two_studies):
    filler, of_one_token, other, _ = two_studies[0]
    assert two_of_one_prompt(filler, [*two_studies[1], filler, of_one_token, other]) == [filler, other]
    [_, backwards] = two_of_one_prompt(filler, two_studies[1])
    assert (backwards.prompt, backwards.ids) == (filler.prompt, (2, 43, 42, 41, 40))
