"""Micro-batches, laid out by hand."""

import pytest
import torch

from online_rl.policy.passes.collate import collate
from online_rl.rollout.types import Prompt

PAD = 99


def prompt(study, ids, **inputs):
    return Prompt(study, "", (), ids, inputs)


def test_two_completions_behind_prompts_of_different_lengths(make_completion, make_study):
    long, short = prompt(make_study(), (11, 12, 13, 14)), prompt(make_study(), (21, 22))
    batch = collate(
        [
            [make_completion(ids=(15,), logprobs=(-0.5,), prompt=long)],
            [make_completion(ids=(23, 24, 25), logprobs=(-1.0, -2.0, -3.0), prompt=short)],
        ],
        weights=[1.0, 0.0],
        advantages=[0.7, -0.7],
        pad_id=PAD,
    )
    assert batch.inputs["input_ids"].tolist() == [[11, 12, 13, 14, 15], [21, 22, 23, 24, 25]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    # The last prompt token predicts the first completion token; the last completion token predicts nothing.
    assert batch.predictors.tolist() == [3, 5 + 1, 5 + 2, 5 + 3]
    assert batch.branches.tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    assert batch.offsets.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert not batch.shares_prompts
    assert batch.tokens.tolist() == [[15, 0, 0], [23, 24, 25]]
    assert batch.mask.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    assert batch.sampled.tolist() == [[-0.5, 0.0, 0.0], [-1.0, -2.0, -3.0]]
    assert batch.weights.tolist() == [1.0, 0.0]
    assert batch.advantages.tolist() == pytest.approx([0.7, -0.7])


def test_completions_of_one_prompt_in_one_row(make_completion, make_study):
    """The second's first token is predicted by the prompt's last, as the first's; one that comes twice lies once."""
    seen = prompt(make_study(), (11, 12, 13))
    one = make_completion(ids=(21, 22), logprobs=(-1.0, -2.0), prompt=seen)
    two = make_completion(ids=(31,), logprobs=(-3.0,), prompt=seen)
    other = make_completion(ids=(41, 42), logprobs=(-4.0, -5.0), prompt=prompt(make_study(), (14,)))
    batch = collate([[one, two, one], [other]], [1.0] * 4, [0.1, 0.2, 0.3, 0.4], PAD)
    assert batch.shares_prompts
    assert batch.ids.tolist() == [[11, 12, 13, 21, 22, 31], [14, 41, 42, PAD, PAD, PAD]]
    assert batch.branches.tolist() == [[0, 0, 0, 1, 1, 2], [0, 1, 1, -1, -1, -1]]
    assert batch.offsets[0].tolist() == [0, 1, 2, 3, 4, 3]
    assert batch.tokens.tolist() == [[21, 22], [31, 0], [21, 22], [41, 42]]
    assert batch.predictors.tolist() == [2, 3, 2, 6, 7], "the output layer sees a token once"
    assert (batch.first.tolist(), batch.again.tolist()) == ([0, 1, 3], [0, 1, 0, 2])
    assert batch.prompts == [seen, other.prompt]
    assert batch.sampled.tolist() == [[-1.0, -2.0], [-3.0, 0.0], [-1.0, -2.0], [-4.0, -5.0]]


def test_padding_is_on_the_right_and_unseen(make_completion, make_study):
    rows = [
        make_completion(ids=(5,), prompt=prompt(make_study(), (1, 2, 3))),
        make_completion(ids=(5,), prompt=prompt(make_study(), (1,))),
    ]
    batch = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD)
    assert batch.inputs["input_ids"].tolist() == [[1, 2, 3, 5], [1, 5, PAD, PAD]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_a_token_that_equals_the_padding_is_still_a_token(make_completion, make_study):
    """An end token may be the padding token; masks come from lengths, not from values."""
    rows = [
        make_completion(ids=(5, PAD), prompt=prompt(make_study(), (PAD, 2))),
        make_completion(ids=(5, 6, 7), prompt=prompt(make_study(), (1, 2))),
    ]
    batch = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD)
    assert batch.mask.tolist() == [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    assert batch.inputs["attention_mask"][0].tolist() == [1, 1, 1, 1, 0]


def test_the_position_before_each_completion_token_predicts_it(completions):
    batch = collate([[c] for c in completions], [1.0] * 3, [1.0] * 3, PAD)
    ids = batch.inputs["input_ids"]
    targets = ids.roll(-1, dims=1).flatten()[batch.predictors]
    assert targets.tolist() == batch.tokens[batch.mask.bool()].tolist() == [40, 41, 42, 43, 2, 50, 60, 61, 2]


def test_values_per_token_are_padded_with_the_tokens(make_completion, make_study):
    rows = [
        make_completion(ids=(5, 6), prompt=prompt(make_study(), (1, 2, 3), token_type_ids=torch.tensor([[1, 1, 0]]))),
        make_completion(ids=(5,), prompt=prompt(make_study(), (1,), token_type_ids=torch.tensor([[1]]))),
    ]
    batch = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD)
    assert batch.inputs["token_type_ids"].tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_rows_with_fewer_images_get_empty_ones(make_completion, make_study):
    """Idefics3's layout: (1, images, 3, H, W), with a mask of the pixels that count."""
    images = [torch.rand(1, n, 3, 4, 4) for n in (1, 3)]
    rows = [
        make_completion(
            prompt=prompt(
                make_study(),
                (1, 2),
                pixel_values=x,
                pixel_attention_mask=torch.ones(1, x.shape[1], 4, 4, dtype=torch.bool),
            )
        )
        for x in images
    ]
    inputs = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD).inputs
    assert inputs["pixel_values"].shape == (2, 3, 3, 4, 4)
    assert inputs["pixel_values"][0, 0].equal(images[0][0, 0]) and inputs["pixel_values"][1].equal(images[1][0])
    assert not inputs["pixel_values"][0, 1:].any() and not inputs["pixel_attention_mask"][0, 1:].any()
    assert inputs["pixel_attention_mask"][0, 0].all()


def test_images_of_all_rows_lie_end_to_end_where_the_model_counts_them_so(make_completion, make_study):
    """Gemma 3's layout (images, 3, H, W), Qwen's patches (patches, D) with a grid per image, LLaVA-NeXT's tiles."""
    first = {"pixel_values": torch.rand(2, 3, 4, 4), "image_grid_thw": torch.tensor([[1, 2, 2], [1, 4, 2]])}
    second = {"pixel_values": torch.rand(1, 3, 4, 4), "image_grid_thw": torch.tensor([[1, 6, 2]])}
    rows = [make_completion(prompt=prompt(make_study(), (1, 2, 3, 4), **x)) for x in (first, second)]
    inputs = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD).inputs
    assert inputs["pixel_values"].equal(torch.cat([first["pixel_values"], second["pixel_values"]]))
    assert inputs["image_grid_thw"].tolist() == [[1, 2, 2], [1, 4, 2], [1, 6, 2]]
    tiles = [{"pixel_values": torch.rand(2, 3, 3, 4, 4)}, {"pixel_values": torch.rand(1, 5, 3, 4, 4)}]
    rows = [make_completion(prompt=prompt(make_study(), (1, 2), **x)) for x in tiles]
    inputs = collate([[c] for c in rows], [1.0, 1.0], [1.0, 1.0], PAD).inputs
    assert inputs["pixel_values"].shape == (3, 5, 3, 4, 4)
    assert inputs["pixel_values"][:2, :3].equal(tiles[0]["pixel_values"]) and not inputs["pixel_values"][:2, 3:].any()


def test_to_moves_everything(completions):
    moved = collate([[c] for c in completions], [1.0] * 3, [1.0] * 3, PAD).to(torch.device("meta"))
    assert {t.device.type for t in (*moved.inputs.values(), moved.predictors, moved.tokens, moved.mask)} == {"meta"}
    assert {t.device.type for t in (moved.sampled, moved.weights, moved.advantages)} == {"meta"}
