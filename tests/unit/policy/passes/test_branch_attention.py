"""Attention block by block gives every token of a shared row what a mask over the whole row gives it."""

from __future__ import annotations

import json

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from online_rl.policy.model import PolicyModel
from online_rl.policy.passes import branch_attention
from online_rl.policy.passes.branch_attention import attend, lay_out, use_in
from online_rl.policy.passes.collate import collate
from online_rl.policy.passes.shared_prompts import can_share, tree_mask

pytestmark = pytest.mark.usefixtures("one_thread")

# Two prompts of 2 and 3 tokens; the second row's first completion is empty, and its last column is padding.
BRANCHES = torch.tensor([[0, 0, 1, 1, 2, 3, 3, 3], [0, 0, 0, 2, 2, 2, 3, -1]])


class Layer(torch.nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.num_key_value_groups = groups


def test_blocks_by_hand():
    at = lay_out(BRANCHES, 1)
    assert at.prompt == 3
    assert at.queries[:, 0].tolist() == [2, 4, 5, 11, 14], "where each completion that has tokens begins"
    assert at.keys[3].tolist() == [8, 9, 10, 11, 12, 13]
    assert at.mask[0, 0].int().tolist() == [[1, 1, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 1]]
    assert at.mask[3, 0, -1].all(), "the third token of a completion behind three of the prompt"
    assert at.outputs[0].tolist() == [0, 1, 6, 7, 9, 12, 13, 14], "2 x 3 of prompts, then 3 for each completion"
    assert at.outputs[1, :7].tolist() == [3, 4, 5, 15, 16, 17, 18]


def test_rows_of_prompts_alone_have_no_blocks():
    assert lay_out(torch.tensor([[0, 0, -1]]), 1) is None


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_values_and_gradients_are_those_of_one_mask_over_the_row(multiple, groups):
    draw = torch.Generator().manual_seed(0)
    rows, length = BRANCHES.shape
    query = torch.randn(rows, 4, length, 8, generator=draw).requires_grad_()
    key, value = (torch.randn(rows, 4 // groups, length, 8, generator=draw).requires_grad_() for _ in range(2))
    mask = tree_mask(BRANCHES)
    real = (BRANCHES >= 0)[:, :, None, None]
    weights = torch.randn(rows, length, 4, 8, generator=draw) * real

    def taken(**layout):
        found = attend(Layer(groups), query, key, value, mask, scaling=0.3, **layout)[0] * real
        return found, torch.autograd.grad((found * weights).sum(), (query, key, value))

    expected, slopes = taken()
    found, mine = taken(branch_layout=lay_out(BRANCHES, multiple))
    torch.testing.assert_close(found, expected)
    for one, other in zip(mine, slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_every_architecture_hands_the_blocks_on(policy, rows, monkeypatch):
    model, _ = policy
    if not can_share(model):
        return
    seen = []

    def noted(module, query, key, *rest, **options):
        seen.append((query.shape[2], key.shape[2]))
        return sdpa_attention_forward(module, query, key, *rest, **options)

    monkeypatch.setattr(branch_attention, "sdpa_attention_forward", noted)
    batch = collate([rows[:2], rows[2:]], [1.0] * 4, [1.0] * 4, 0, multiple=4)
    PolicyModel(model, [3], 0.7)(batch)
    prompts, completions = seen[::2], seen[1::2]
    width = -(-max(len(c.prompt.ids) for c in rows) // 4) * 4  # 3 tokens behind it, rounded up to 4
    assert set(prompts) == {(width, width)} and set(completions) == {(4, width + 4)}, "nothing sees the whole row"


def test_a_model_that_does_not_hand_them_on_has_one_mask_over_the_row(demo_model, completions, monkeypatch):
    rows = [[completions[0], completions[0]], [completions[1], completions[1]]]
    batch = collate(rows, [1.0] * 4, [1.0] * 4, 0)
    expected, _ = PolicyModel(demo_model, [3], 0.7)(batch)
    whole = type(demo_model.model).forward

    def without(self, branch_layout=None, **inputs):
        assert inputs["attention_mask"].equal(tree_mask(batch.branches))
        return whole(self, **inputs)

    monkeypatch.setattr(type(demo_model.model), "forward", without)
    found, _ = PolicyModel(demo_model, [3], 0.7)(batch)
    torch.testing.assert_close(found, expected)


def test_code_from_outside_is_asked_nothing_new(demo_model, monkeypatch):
    monkeypatch.setattr(type(demo_model), "__module__", "transformers_modules.own.modeling_own")
    assert not use_in(demo_model)


def test_attention_to_something_else_takes_no_layout():
    query, image = torch.randn(2, 2, BRANCHES.shape[1], 8), torch.randn(2, 2, 5, 8)
    at = lay_out(BRANCHES, 1)
    expected = attend(Layer(1), query, image, image, None, is_causal=False)[0]
    torch.testing.assert_close(attend(Layer(1), query, image, image, None, at, is_causal=False)[0], expected)


def test_what_is_saved_names_transformers_own_attention(demo_model, tmp_path):
    PolicyModel(demo_model, [3], 0.7)
    demo_model.save_pretrained(tmp_path)
    assert branch_attention.NAME not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
