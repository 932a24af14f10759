"""What an engine holds is compared by content: fused, packed and renamed weights are found, stale ones are named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from online_rl.rollout.sync_check import SyncCheck, engine_tensors


class Method:
    def apply(self, layer, x, bias):
        return x @ layer.packed


class Packed(nn.Module):
    """A linear layer as vLLM keeps it on a CPU: an empty parameter, and a method that knows the packed weight."""

    input_size_per_partition = 4

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        self.register_buffer("packed", weight.t().contiguous())
        self.quant_method = Method()


@pytest.fixture
def weights():
    """Names on disk, as a policy sends them."""
    torch.manual_seed(0)
    shapes = {"q": (4, 4), "k": (2, 4), "v": (2, 4), "norm": (4,), "conv": (3, 2, 2), "up": (6, 4), "zero": (4,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()} | {"zero": torch.zeros(4)}


def engine(weights) -> nn.Module:
    """Other names; q, k and v in one tensor; the convolution in another form."""
    model = nn.Module()
    model.qkv = nn.Parameter(torch.cat([weights["q"], weights["k"], weights["v"]]))
    model.mlp = Packed(weights["up"])
    model.scale = nn.Parameter(weights["norm"].clone())
    model.patches = nn.Parameter(weights["conv"].flatten(1).t().contiguous())
    model.bias, model.other_bias = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(9))
    return model


def trained(weights):
    return {name: tensor + 0.5 for name, tensor in weights.items()}


def test_a_packed_layer_is_read_exactly(weights):
    assert engine_tensors(engine(weights))["mlp.weight"].equal(weights["up"])


def test_what_has_been_taken_is_found(weights):
    check = SyncCheck(engine(weights), weights.items())
    assert check.not_found == ["conv"]
    assert [(place.tensor, place.row) for place in check.places["v"]] == [("qkv", 6)]
    new = trained(weights) | {"zero": torch.zeros(4)}
    assert check.differing(engine(new), new.items()) == []


@pytest.mark.parametrize("stale", ["k", "up", "norm"])
def test_what_has_not_been_taken_is_named(weights, stale):
    check = SyncCheck(engine(weights), weights.items())
    new = trained(weights) | {"zero": torch.zeros(4)}
    assert check.differing(engine(new | {stale: weights[stale]}), new.items()) == [stale]


def test_a_weight_of_zeros_lies_in_many_places_and_is_still_compared(weights):
    """1,997 rows of the long one could be it; of those that hold it at the start, one must hold it later."""
    model = nn.Module()
    model.bias, model.long = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(2000))
    check = SyncCheck(model, {"bias": torch.zeros(4)}.items())
    assert check.not_found == [] and check.differing(model, {"bias": torch.ones(4)}.items()) == ["bias"]
    model.bias.data.fill_(1.0)
    assert check.differing(model, {"bias": torch.ones(4)}.items()) == []


def test_one_bit_is_seen_and_exchanged_weights_too(weights):
    check = SyncCheck(engine(weights), weights.items())
    off = weights["q"].clone()
    off[3, 2] = torch.nextafter(off[3, 2], torch.tensor(9.0))
    assert check.differing(engine(weights), (weights | {"q": off}).items()) == ["q"]
    exchanged = weights | {"k": weights["v"], "v": weights["k"]}
    assert check.differing(engine(exchanged), weights.items()) == ["k", "v"]


def test_in_the_engines_precision(weights):
    half = engine(weights).bfloat16()
    check = SyncCheck(half, weights.items())
    assert "q" in check.places and check.differing(half, weights.items()) == []
