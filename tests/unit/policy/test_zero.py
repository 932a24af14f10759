"""Shards of partitioned parameters without the padding behind them, whole tensors in buckets that bound what is held at
once, and sums that tell sets of weights apart."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn import Parameter

from online_rl.policy.zero import Recipe, copied, elements, gathered, same_sums, shard, sums
from online_rl.ranks import collectives


@pytest.mark.parametrize(("rank", "expected"), [(0, [0.0, 1.0, 2.0]), (1, [3.0, 4.0]), (2, [])])
def test_a_shard_ends_where_the_parameter_ends(rank, expected, monkeypatch):
    """Five elements on three ranks of three: the second has one of padding, the third nothing else."""
    padded = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, torch.nan, torch.nan, torch.nan, torch.nan])
    parameter = Parameter(torch.empty(0))
    parameter.ds_numel, parameter.ds_tensor = 5, padded[3 * rank : 3 * rank + 3].clone()
    monkeypatch.setattr(collectives, "rank", lambda: rank)
    assert shard(parameter).tolist() == expected
    assert elements(parameter) == 5
    shard(parameter).fill_(7.0)
    assert parameter.ds_tensor.nan_to_num(7.0).tolist() == [7.0] * 3, "a view"


class Gathering:
    """`deepspeed.zero.GatheredParameters`: whole inside, empty outside. Notes the bytes that each bucket holds."""

    wholes: dict[Parameter, torch.Tensor] = {}
    buckets: list[int] = []

    def __init__(self, parameters):
        self.parameters = parameters

    def __enter__(self):
        for parameter in self.parameters:
            parameter.data = self.wholes[parameter]
        held = [p for p in self.wholes if p.numel()]  # over all buckets, not this one alone
        self.buckets.append(sum(p.numel() * p.element_size() for p in held))

    def __exit__(self, *_):
        for parameter in self.parameters:
            parameter.data = torch.empty(0, dtype=parameter.dtype)


@pytest.fixture
def partitioned(monkeypatch):
    """`partitioned(torch.float32, 3, 5)`: parameters of so many elements that are empty until they are gathered."""
    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(zero=SimpleNamespace(GatheredParameters=Gathering)))
    monkeypatch.setattr(Gathering, "wholes", {})
    monkeypatch.setattr(Gathering, "buckets", [])

    def make(dtype, *sizes):
        made = []
        for size in sizes:
            made.append(Parameter(torch.empty(0, dtype=dtype)))
            made[-1].ds_numel = size
            Gathering.wholes[made[-1]] = torch.arange(size, dtype=dtype) + len(Gathering.wholes)
        return made

    return make


@pytest.mark.parametrize(
    "dtype, sizes, limit, buckets",
    [
        (torch.float32, [10, 10, 10, 10, 5], 80, [80, 80, 20]),  # two fill a bucket to the brim, a third does not fit
        (torch.bfloat16, [10, 10, 10, 10, 5], 80, [80, 10]),  # of half the size, so that four fit
        (torch.float32, [19, 2, 18, 3], 80, [76, 80, 12]),
        (torch.float32, [1, 100, 1, 1], 80, [4, 400, 8]),  # what is larger than a bucket is one by itself
        (torch.float32, [10, 10], 1000, [80]),
        (torch.float32, [], 80, []),
    ],
)
def test_a_bucket_never_holds_more_than_its_limit(partitioned, dtype, sizes, limit, buckets):
    recipes = [Recipe(str(i), (p,), copied) for i, p in enumerate(partitioned(dtype, *sizes))]
    named = dict(gathered(iter(recipes), limit))
    assert Gathering.buckets == buckets
    assert list(named) == [recipe.name for recipe in recipes], "all of them, in order"
    for recipe in recipes:
        assert named[recipe.name].equal(Gathering.wholes[recipe.parts[0]])
    assert not any(p.numel() for p in Gathering.wholes), "and nothing stays whole"


def test_all_parts_of_a_recipe_count(partitioned):
    """A merged weight of 8 elements in bfloat16 and two adapters of 4 in float32: 16 + 32 bytes."""
    recipes = []
    for name in "qkv":
        parts = (*partitioned(torch.bfloat16, 8), *partitioned(torch.float32, 4, 4))
        recipes.append(Recipe(name, parts, lambda w, a, b: torch.cat([w.float(), a, b])))
    sizes = {name: tensor.numel() for name, tensor in gathered(recipes, 100)}
    assert Gathering.buckets == [96, 48] and sizes == {"q": 16, "k": 16, "v": 16}


def test_sums_do_not_depend_on_the_order_and_see_a_changed_weight():
    torch.manual_seed(0)
    weights = [torch.randn(1000), torch.randn(50, 3)]
    known = sums(weights)
    assert same_sums(known, sums(w.flatten().flip(0) for w in reversed(weights)))
    weights[0][17] += 1e-3
    assert not same_sums(known, sums(weights))
    assert not same_sums(known, [])
