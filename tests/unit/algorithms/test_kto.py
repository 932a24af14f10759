"""KTO: by hand, against finite differences, against TRL."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from online_rl.algorithms import OnlineKTO, TokenBatch
from online_rl.algorithms.kto import kto_baseline, kto_loss
from online_rl.config import config_from_dict

pytestmark = pytest.mark.usefixtures("one_thread")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_by_hand():
    # log-ratios 3 and -1, z = 1: 1 - sigmoid(0.5 * 2), 2 * (1 - sigmoid(-0.5 * -2))
    logp, ref = torch.tensor([-7.0, -11.0]), torch.tensor([-10.0, -10.0])
    loss = kto_loss(logp, ref, torch.tensor([1.0, -1.0]), 1.0, 0.5, 1.0, 2.0)
    assert loss.tolist() == pytest.approx([1 - sigmoid(1.0), 2 * (1 - sigmoid(1.0))], rel=1e-5)


def test_the_point_of_comparison_is_never_below_zero():
    assert (kto_baseline(0.7), kto_baseline(-0.7)) == (0.7, 0.0)


def test_gradient_equals_finite_differences():
    draw = torch.Generator().manual_seed(0)
    logp, ref = (-20 * torch.rand(6, generator=draw, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    assert torch.autograd.gradcheck(lambda x: kto_loss(x, ref, labels, 0.4, 0.1, 1.0, 1.5), logp.requires_grad_())


@pytest.mark.parametrize("seed", range(3))
def test_as_trl(trl_more, seed):
    """`KTOTrainer._compute_loss`, its KL estimated on the same completions: the online case."""
    draw = torch.Generator().manual_seed(seed)
    logp, ref = (-2 * torch.rand(6, 9, generator=draw) for _ in range(2))
    logp = logp + 0.3 if seed else logp  # so that the estimate is above zero in some batches, below in others
    lengths = torch.randint(1, 10, (6,), generator=draw)
    mask = (torch.arange(9) < lengths[:, None]).float()
    labels = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()

    cfg = config_from_dict({"algorithm": {"name": "online_kto", "preference": {"undesirable_weight": 1.5}}})
    algorithm, ones = OnlineKTO(cfg), torch.ones(6)
    tokens = TokenBatch(ours_in, logp, ref, logp, mask, labels, ones)
    total, count = algorithm.baseline_sums(tokens)
    loss, sums = algorithm.loss(tokens, total / count)
    mine = loss / algorithm.denominator(mask, ones)

    theirs, metrics = trl_kto_loss(trl_more.kto, theirs_in, ref, mask, labels)
    assert sums["kto/z"].value == pytest.approx(metrics["kl"][0], abs=1e-5)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    mine.backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)
    for name in ("rewards/chosen", "rewards/rejected"):
        assert sums[name].value == pytest.approx(metrics[name][0], abs=1e-5)


def trl_kto_loss(trainer_class, logp, ref, mask, labels):
    """Only the model's outputs and the trainer's options are stood in for."""
    none = torch.zeros_like(logp)
    outputs = SimpleNamespace(log_probs=logp * mask, entropy=none, mean_logits=none, is_top1=none.bool())
    options = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
        aux_loss_enabled=False,
        calculate_KL=True,
        _compute_kl_logps=lambda model, batch: (logp * mask).sum(-1),
        precompute_ref_logps=True,
        loss_type="kto",
        beta=0.1,
        desirable_weight=1.0,
        undesirable_weight=1.5,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    with_prompt = torch.nn.functional.pad(mask, (1, 0))
    inputs = {
        "input_ids": torch.zeros(with_prompt.shape, dtype=torch.long),
        "attention_mask": with_prompt,
        "completion_mask": with_prompt,
        "label": labels > 0,
        "ref_logps": (ref * mask).sum(-1),
        "ref_KL_logps": (ref * mask).sum(-1),
    }
    options.model = lambda **kwargs: outputs
    options.model.training = True
    return trainer_class._compute_loss(options, options.model, inputs, False), options._metrics["train"]
