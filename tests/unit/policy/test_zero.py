"""Shards of partitioned parameters without the padding behind them, and sums that tell sets of weights apart."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from online_rl import distributed
from online_rl.policy.zero import elements, same_sums, shard, sums


@pytest.mark.parametrize(("rank", "expected"), [(0, [0.0, 1.0, 2.0]), (1, [3.0, 4.0]), (2, [])])
def test_a_shard_ends_where_the_parameter_ends(rank, expected, monkeypatch):
    """Five elements on three ranks of three: the second has one of padding, the third nothing else."""
    padded = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, torch.nan, torch.nan, torch.nan, torch.nan])
    parameter = Parameter(torch.empty(0))
    parameter.ds_numel, parameter.ds_tensor = 5, padded[3 * rank : 3 * rank + 3].clone()
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    assert shard(parameter).tolist() == expected
    assert elements(parameter) == 5
    shard(parameter).fill_(7.0)
    assert parameter.ds_tensor.nan_to_num(7.0).tolist() == [7.0] * 3, "a view"


def test_sums_do_not_depend_on_the_order_and_see_a_changed_weight():
    torch.manual_seed(0)
    weights = [torch.randn(1000), torch.randn(50, 3)]
    known = sums(weights)
    assert same_sums(known, sums(w.flatten().flip(0) for w in reversed(weights)))
    weights[0][17] += 1e-3
    assert not same_sums(known, sums(weights))
    assert not same_sums(known, [])
