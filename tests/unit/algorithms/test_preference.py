"""Losses of pairs: by hand, against finite differences, against TRL."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from online_rl.algorithms import OnlinePreference, TokenBatch
from online_rl.algorithms.preference import (
    dpo_loss,
    dpo_margin,
    hinge_loss,
    ipo_loss,
    orpo_loss,
    r_dpo_loss,
    sft_loss,
    simpo_loss,
)
from online_rl.config import config_from_dict
from online_rl.metric_types import values

pytestmark = pytest.mark.usefixtures("one_thread")

# Pair 0: chosen gained -10 - -12 = 2, rejected -11 - -10 = -1: margin 0.1 * (2 + 1) = 0.3
# Pair 1: chosen -20 - -18 = -2, rejected 0: margin 0.1 * -2 = -0.2
LOGP = torch.tensor([-10.0, -11.0, -20.0, -9.0])
REF = torch.tensor([-12.0, -10.0, -18.0, -9.0])
LENGTHS = torch.tensor([10.0, 20.0, 8.0, 4.0])


def softplus(x):
    return math.log1p(math.exp(x))


def test_dpo_by_hand():
    # -log sigmoid(0.3) = log(1 + exp(-0.3)) = log(1.74082) = 0.55436; log(1 + exp(0.2)) = log(2.22140) = 0.79814
    assert dpo_margin(LOGP, REF, 0.1).tolist() == pytest.approx([0.3, -0.2], abs=1e-6)
    assert dpo_loss(LOGP, REF, 0.1).tolist() == pytest.approx([0.554355, 0.798139], abs=1e-5)


def test_label_smoothing_by_hand():
    # 0.9 * 0.55436 + 0.1 * log(1 + exp(0.3)) = 0.9 * 0.55436 + 0.1 * 0.85436
    assert dpo_loss(LOGP, REF, 0.1, 0.1)[0].item() == pytest.approx(0.9 * 0.554355 + 0.1 * 0.854355, abs=1e-5)


def test_r_dpo_counts_a_longer_chosen_report_as_partly_won():
    # 0.3 + 0.05 * (10 - 20) = -0.2 and -0.2 + 0.05 * (8 - 4) = 0
    assert r_dpo_loss(LOGP, REF, LENGTHS, 0.1, 0.05).tolist() == pytest.approx([0.798139, math.log(2)], abs=1e-5)
    longer = torch.tensor([30.0, 20.0, 8.0, 4.0])
    slope = [torch.autograd.grad(r_dpo_loss(x, REF, n).sum(), x)[0][0] for n in (LENGTHS, longer) for x in [leaf()]]
    assert abs(slope[1]) < abs(slope[0]), "so it pushes less"


def leaf():
    return LOGP.clone().requires_grad_()


def test_hinge_by_hand():
    assert hinge_loss(LOGP, REF, 0.1).tolist() == pytest.approx([0.7, 1.2], abs=1e-6)
    assert hinge_loss(LOGP, REF, 1.0).tolist() == pytest.approx([0.0, 3.0], abs=1e-6)  # margins 3 and -2


def test_ipo_by_hand():
    # means: 2 / 10 + 1 / 20 = 0.25 and -2 / 8 - 0 = -0.25; target 1 / (2 * 0.5) = 1
    assert ipo_loss(LOGP, REF, LENGTHS, 0.5).tolist() == pytest.approx([0.75**2, 1.25**2])


def test_simpo_by_hand():
    # means -1 and -0.55: 2 * -0.45 - 1 = -1.9; -2.5 and -2.25: 2 * -0.25 - 1 = -1.5
    assert simpo_loss(LOGP, LENGTHS, 2.0, 1.0).tolist() == pytest.approx([softplus(1.9), softplus(1.5)], rel=1e-5)


def test_orpo_by_hand():
    # p = exp(-1) = 0.36788, odds 0.58198; exp(-0.55) = 0.57695, odds 1.36393: log odds ratio -0.85165
    # NLL 1; 1 + 0.1 * log(1 + exp(0.85165)) = 1.12072
    assert orpo_loss(LOGP, LENGTHS, 0.1)[0].item() == pytest.approx(1 + 0.1 * softplus(0.85165), abs=1e-5)
    assert sft_loss(LOGP, LENGTHS).tolist() == [1.0, 2.5]


def test_orpo_is_finite_for_a_certain_completion():
    logp = torch.tensor([0.0, -1e-9, -5000.0, 0.0], requires_grad=True)
    loss = orpo_loss(logp, torch.ones(4), 0.1)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logp.grad).all()


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


LOSSES = {
    "online_dpo": lambda x, ref, n: dpo_loss(x, ref, 0.1, 0.1),
    "online_r_dpo": lambda x, ref, n: r_dpo_loss(x, ref, n, 0.1, 0.05),
    "online_hinge": lambda x, ref, n: hinge_loss(x, ref, 0.1),
    "online_ipo": lambda x, ref, n: ipo_loss(x, ref, n, 0.1),
    "online_simpo": lambda x, ref, n: simpo_loss(x, n, 2.0, 1.0),
    "online_orpo": lambda x, ref, n: orpo_loss(x, n, 0.1),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name):
    draw = torch.Generator().manual_seed(0)
    logp = -20 * torch.rand(8, generator=draw, dtype=torch.float64) - 0.1
    ref = -20 * torch.rand(8, generator=draw, dtype=torch.float64)
    lengths = torch.randint(1, 12, (8,), generator=draw).double()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, ref, lengths), logp.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_every_pair_by_itself_is_what_it_is_among_others(name):
    draw = torch.Generator().manual_seed(1)
    logp, ref = (-20 * torch.rand(8, generator=draw) for _ in range(2))
    lengths = torch.randint(1, 12, (8,), generator=draw).float()
    together = LOSSES[name](logp, ref, lengths)
    alone = [LOSSES[name](logp[i : i + 2], ref[i : i + 2], lengths[i : i + 2]).item() for i in range(0, 8, 2)]
    assert together.tolist() == pytest.approx(alone, rel=1e-6)


def random_pairs(seed, pairs=5, tokens=12):
    draw = torch.Generator().manual_seed(seed)
    logp, ref = (-2 * torch.rand(2 * pairs, tokens, generator=draw) for _ in range(2))
    lengths = torch.randint(1, tokens + 1, (2 * pairs,), generator=draw)
    return logp, ref, (torch.arange(tokens) < lengths[:, None]).float()


def ours(name, logp, ref, mask, **options):
    algorithm = OnlinePreference(config_from_dict({"algorithm": {"name": name, "preference": options}}))
    ones = torch.ones(len(logp) // 2)
    tokens = TokenBatch(logp, logp.detach(), ref, logp.detach(), mask, ones, ones)
    loss, sums = algorithm.loss(tokens)
    return loss / algorithm.denominator(mask, ones), values(sums)


def trl_loss(trainer_class, logp, ref, mask, beta, kind, smoothing=0.0, **weights):
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
        loss_types=[kind, *weights],
        loss_weights=[1.0, *weights.values()],
        beta=beta,
        label_smoothing=smoothing,
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


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "name, kind, beta",
    [("online_dpo", "sigmoid", 0.1), ("online_hinge", "hinge", 0.5), ("online_ipo", "ipo", 0.3)],
)
def test_as_trls_dpo_trainer(trl_trainers, seed, name, kind, beta):
    logp, ref, mask = random_pairs(seed)
    rows = torch.cat([torch.arange(0, len(logp), 2), torch.arange(1, len(logp), 2)])  # chosen first
    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    theirs, metrics = trl_loss(trl_trainers[1], theirs_in[rows], ref[rows], mask[rows], beta, kind)
    mine, means = ours(name, ours_in, ref, mask, beta=beta)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    mine.backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)
    for metric in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen"):
        assert means[metric] == pytest.approx(metrics[metric][0], abs=1e-5), metric


@pytest.mark.parametrize("seed", range(3))
def test_smoothed_dpo_as_trls_trainers(trl_trainers, trl_more, seed):
    """TRL's DPOTrainer smooths no "sigmoid" loss; its "aot" of a pair by itself is that loss, smoothed. Its CPOTrainer
    smooths the "sigmoid" of differences of log-probabilities, here of log-ratios to the ref_model."""
    logp, ref, mask = random_pairs(seed)
    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    pairs = [slice(i, i + 2) for i in range(0, len(logp), 2)]
    alone = [trl_loss(trl_trainers[1], theirs_in[p], ref[p], mask[p], 0.3, "aot", 0.1)[0] for p in pairs]
    theirs = sum(alone) / len(alone)
    mine, _ = ours("online_dpo", ours_in, ref, mask, beta=0.3, label_smoothing=0.1)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    mine.backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)

    device = SimpleNamespace(device="cpu")
    options = SimpleNamespace(alpha=0.0, beta=0.3, loss_type="sigmoid", label_smoothing=0.1, accelerator=device)
    ratios = ((logp - ref) * mask).sum(-1)
    conservative, *_ = trl_more.cpo.cpo_loss(options, ratios[0::2], ratios[1::2])
    torch.testing.assert_close(mine.detach(), conservative.mean(), atol=1e-5, rtol=1e-5)


def test_the_sft_term_is_trls_for_a_single_pair(trl_trainers):
    """TRL averages over the tokens of all chosen reports, ours over each report's own: the same where there is one."""
    logp, ref, mask = random_pairs(5, pairs=1)
    theirs, _ = trl_loss(trl_trainers[1], logp, ref, mask, 0.1, "sigmoid", sft=0.7)
    mine, _ = ours("online_dpo", logp, ref, mask, beta=0.1, sft_coef=0.7)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_simpo_as_trls_cpo_trainer(trl_more, smoothing):
    logp, ref, mask = random_pairs(2)
    mean = (logp * mask).sum(-1) / mask.sum(-1)
    options = SimpleNamespace(
        alpha=0.0,
        beta=2.0,
        simpo_gamma=1.0,
        loss_type="simpo",
        label_smoothing=smoothing,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs, chosen, _ = trl_more.cpo.cpo_loss(options, mean[0::2], mean[1::2])
    mine, means = ours("online_simpo", logp, None, mask, label_smoothing=smoothing)
    torch.testing.assert_close(mine, theirs.mean(), atol=1e-5, rtol=1e-5)
    assert means["rewards/chosen"] == pytest.approx(chosen.mean().item(), abs=1e-5)


def test_orpo_as_trls_orpo_trainer(trl_more):
    """TRL adds the likelihood of prompt and report to its odds-ratio loss; ours that of the report."""
    logp, ref, mask = random_pairs(3)
    mean = (logp * mask).sum(-1) / mask.sum(-1)
    options = SimpleNamespace(beta=0.1, accelerator=SimpleNamespace(device="cpu"))
    odds, chosen, *_ = trl_more.orpo.odds_ratio_loss(options, mean[0::2], mean[1::2])
    mine, means = ours("online_orpo", logp, None, mask)
    torch.testing.assert_close(mine, -mean[0::2].mean() - odds.mean(), atol=1e-5, rtol=1e-5)
    assert means["rewards/chosen"] == pytest.approx(chosen.mean().item(), abs=1e-5)
