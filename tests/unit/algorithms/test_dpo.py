"""Pairs and the DPO loss: by hand, against finite differences, against TRL."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from online_rl.algorithms.dpo import best_and_worst, dpo_loss, dpo_margin

from online_rl.algorithms import OnlineDPO
from online_rl.config import config_from_dict

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "rewards, pair",
    [
        ([0.2, 0.9, 0.1, 0.5], (1, 2)),
        ([0.9, 0.1, 0.9, 0.1], (0, 1)),  # the first among equals, on both ends
        ([-0.5, -0.1], (1, 0)),
        ([None, 0.1, None, 0.4], (3, 1)),  # unscorable candidates never enter a pair, not even as 0
        ([None, -0.4, -0.1], (2, 1)),
        ([0.5, 0.5, 0.5], None),
        ([0.5, None, 0.5], None),
        ([None, 0.7, None], None),
        ([None, None], None),
        ([], None),
        ([0.5, 0.5 + 1e-9], None),  # within the threshold
    ],
)
def test_best_and_worst(rewards, pair):
    assert best_and_worst(rewards) == pair


def test_a_spread_of_exactly_the_threshold_is_a_tie():
    assert best_and_worst([0.0, 0.25], tie_threshold=0.25) is None
    assert best_and_worst([0.0, 0.25], tie_threshold=0.24) == (1, 0)


def test_margin_and_loss_by_hand():
    # Pair 0: chosen gained -10 - -12 = 2, rejected -11 - -10 = -1: margin 0.1 * (2 + 1) = 0.3
    #   -log sigmoid(0.3) = log(1 + exp(-0.3)) = log(1.74082) = 0.55436
    # Pair 1: chosen -20 - -18 = -2, rejected 0: margin 0.1 * -2 = -0.2; log(1 + exp(0.2)) = log(2.22140) = 0.79814
    logp = torch.tensor([-10.0, -11.0, -20.0, -9.0])
    ref = torch.tensor([-12.0, -10.0, -18.0, -9.0])
    assert dpo_margin(logp, ref, 0.1).tolist() == pytest.approx([0.3, -0.2], abs=1e-6)
    assert dpo_loss(logp, ref, 0.1).tolist() == pytest.approx([0.554355, 0.798139], abs=1e-5)


def test_at_the_ref_model_the_loss_is_log_2_and_pushes_the_two_apart():
    logp = torch.tensor([-30.0, -40.0], requires_grad=True)
    loss = dpo_loss(logp, logp.detach().clone(), beta=0.1)
    assert loss.item() == pytest.approx(math.log(2))
    loss.sum().backward()
    # d/dx of -log sigmoid(0.1 x) at 0 is -0.1 * 0.5
    assert logp.grad.tolist() == pytest.approx([-0.05, 0.05])


def test_a_huge_margin_stays_finite():
    logp = torch.tensor([-5000.0, 0.0], requires_grad=True)
    loss = dpo_loss(logp, torch.zeros(2), beta=1.0)
    assert loss.item() == pytest.approx(5000.0)
    loss.sum().backward()
    assert torch.isfinite(logp.grad).all()


def test_gradient_equals_finite_differences():
    draw = torch.Generator().manual_seed(0)
    logp = -20 * torch.rand(8, generator=draw, dtype=torch.float64)
    ref = -20 * torch.rand(8, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: dpo_loss(x, ref, 0.1), logp.requires_grad_())


def trl_loss(trainer_class, logp, ref, mask, beta):
    """`DPOTrainer._compute_loss` on our log-probabilities, chosen rows first; returns the loss and TRL's metrics.

    Only the model's outputs and the trainer's options are stood in for.
    """
    none = torch.zeros_like(logp)
    outputs = SimpleNamespace(log_probs=logp * mask, entropy=none, mean_logits=none, is_top1=none.bool())
    options = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=beta,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    with_prompt = torch.nn.functional.pad(mask, (1, 0))  # TRL's first position predicts and is never predicted
    ref_chosen, ref_rejected = (ref * mask).sum(1).chunk(2)
    inputs = {
        "input_ids": torch.zeros(with_prompt.shape, dtype=torch.long),
        "attention_mask": with_prompt,
        "completion_mask": with_prompt,
        "ref_chosen_logps": ref_chosen,
        "ref_rejected_logps": ref_rejected,
    }
    loss = trainer_class._compute_loss(options, lambda **kwargs: outputs, inputs, False)
    return loss, options._metrics["train"]


@pytest.mark.parametrize("seed", range(4))
def test_as_trl(trl_trainers, seed):
    draw = torch.Generator().manual_seed(seed)
    pairs, tokens, beta = 5, 12, 0.1
    logp, ref = (-2 * torch.rand(2 * pairs, tokens, generator=draw) for _ in range(2))
    lengths = torch.randint(1, tokens + 1, (2 * pairs,), generator=draw)
    mask = (torch.arange(tokens) < lengths[:, None]).float()
    chosen_first = torch.cat([torch.arange(0, 2 * pairs, 2), torch.arange(1, 2 * pairs, 2)])

    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    rows = chosen_first
    theirs, metrics = trl_loss(trl_trainers[1], theirs_in[rows], ref[rows], mask[rows], beta)
    algorithm = OnlineDPO(config_from_dict({"algorithm": {"name": "online_dpo", "online_dpo": {"beta": beta}}}))
    ours, sums = algorithm.loss(ours_in, None, ref, torch.ones(pairs), torch.ones(pairs), mask)
    torch.testing.assert_close(ours / pairs, theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    (ours / pairs).backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)

    for name in ("rewards/margins", "rewards/accuracies"):
        total, count = sums[name]
        assert total / count == pytest.approx(metrics[name][0], abs=1e-6)
