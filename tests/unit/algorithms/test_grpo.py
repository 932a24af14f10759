"""The GRPO loss: by hand, against a loop, against finite differences, against TRL."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from online_rl.algorithms.grpo import clip_fractions, clipped_policy_loss, grpo_loss, k3_kl, mean_per_completion

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "ratio, advantage, loss, slope",
    [
        # inside the clip: -rho A
        (1.1, 2.0, -2.2, -2.0),
        (0.9, -2.0, 1.8, 2.0),
        # above it, better than average: held at 1.3, so -1.3 * 2 = -2.6 and no gradient
        (1.5, 2.0, -2.6, 0.0),
        # below it, worse than average: held at 0.8, so -0.8 * -2 = 1.6 and no gradient
        (0.5, -2.0, 1.6, 0.0),
        # outside, but going back is still wanted: min() takes the unclipped branch
        (0.5, 2.0, -1.0, -2.0),
        (1.5, -2.0, 3.0, 2.0),
    ],
)
def test_clipped_loss_in_each_regime(ratio, advantage, loss, slope):
    rho = torch.tensor([[ratio]], requires_grad=True)
    value = clipped_policy_loss(rho, torch.tensor([[advantage]]), clip_low=0.2, clip_high=0.3)
    assert value.item() == pytest.approx(loss)
    value.sum().backward()
    assert rho.grad.item() == pytest.approx(slope)


def test_k3_by_hand():
    # ref - logp = ln 2: exp(ln 2) - ln 2 - 1 = 2 - 0.6931 - 1 = 0.3069; = -ln 2: 0.5 + 0.6931 - 1 = 0.1931
    logp = torch.tensor([[-2.0, -1.0, -3.0]])
    ref = torch.tensor([[-2.0 + math.log(2), -1.0 - math.log(2), -3.0]])
    assert k3_kl(logp, ref)[0].tolist() == pytest.approx([0.30685, 0.19315, 0.0], abs=1e-5)


def test_k3_is_unbiased_for_the_kl_divergence():
    """E_policy[k3] = KL(policy || ref_model), summed exactly over a small vocabulary."""
    policy = torch.log_softmax(torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64), 0)
    ref = torch.log_softmax(torch.tensor([1.0, 0.5, -0.2, 0.1], dtype=torch.float64), 0)
    exact = (policy.exp() * (policy - ref)).sum()
    torch.testing.assert_close((policy.exp() * k3_kl(policy, ref)).sum(), exact)


def test_each_completion_is_the_mean_over_its_own_tokens():
    values = torch.tensor([[1.0, 2.0, 3.0], [5.0, 99.0, 99.0], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert mean_per_completion(values, mask).tolist() == [2.0, 5.0, 0.0]


def test_whole_loss_of_two_completions_by_hand():
    # Completion 0, advantage 1, two tokens: ratios 1.5 and 0.5 -> min(1.5, 1.2) = 1.2 and min(0.5, 0.8) = 0.5
    #   k3 with ref = logp + ln 2: 0.30685 each; per token -1.2 + 0.1 * 0.30685 and -0.5 + 0.1 * 0.30685
    #   mean = (-1.16931 - 0.46931) / 2 = -0.81931
    # Completion 1, advantage -2, one token: ratio 0.5 -> min(-1, 0.8 * -2 = -1.6) = -1.6; 1.6 + 0.030685 = 1.63069
    logp = torch.tensor([[-1.0, -2.0], [-1.5, -9.0]])
    old = logp - torch.tensor([[math.log(1.5), math.log(0.5)], [math.log(0.5), 4.0]])
    loss = grpo_loss(
        logp,
        old,
        torch.tensor([1.0, -2.0]),
        torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
        ref_logp=logp + math.log(2),
        kl_coef=0.1,
    )
    assert loss.tolist() == pytest.approx([-0.819315, 1.630685], abs=1e-5)


def test_with_a_limit_every_token_weighs_the_same():
    # On policy with advantages 1 and -1: three tokens of -1 over 6 = -0.5, one token of 1 over 6
    logp, mask = torch.zeros(2, 3), torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    loss = grpo_loss(logp, logp, torch.tensor([1.0, -1.0]), mask, limit=6)
    assert loss.tolist() == pytest.approx([-0.5, 1 / 6])


def test_kl_without_a_ref_model_is_refused():
    one = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="kl_coef"):
        grpo_loss(one, one, torch.ones(1), torch.ones(1, 1), kl_coef=0.1)


def test_clip_fractions_count_what_is_held_back():
    # Only row 0, column 0 (ratio over 1.3, A > 0) and row 1, column 1 (ratio under 0.8, A < 0) are held back;
    # row 0, column 2 would be, but is padding.
    ratio = torch.tensor([[1.5, 0.5, 1.5], [1.5, 0.5, 1.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    low, high = clip_fractions(ratio, torch.tensor([1.0, -1.0]), mask, 0.2, 0.3)
    assert (low.item(), high.item()) == (1.0, 1.0)


def random_batch(seed, dtype=torch.float64, rows=5, tokens=7):
    """Log-probabilities far enough apart that every regime of the clip occurs, and right-padded masks."""
    draw = torch.Generator().manual_seed(seed)
    logp = -3 * torch.rand(rows, tokens, generator=draw, dtype=dtype)
    old = logp + 0.5 * torch.randn(rows, tokens, generator=draw, dtype=dtype)
    ref = logp + 0.5 * torch.randn(rows, tokens, generator=draw, dtype=dtype)
    lengths = torch.randint(1, tokens + 1, (rows,), generator=draw)
    mask = (torch.arange(tokens) < lengths[:, None]).to(dtype)
    return logp, old, ref, torch.randn(rows, generator=draw, dtype=dtype), mask


def naive_loss(logp, old, ref, advantages, mask, low, high, kl_coef):
    """One completion and one token at a time, as the paper writes it."""
    losses = []
    for i in range(len(logp)):
        terms = []
        for t in range(int(mask[i].sum())):
            rho, a = math.exp(logp[i, t] - old[i, t]), float(advantages[i])
            term = -min(rho * a, max(1 - low, min(1 + high, rho)) * a)
            gap = float(ref[i, t] - logp[i, t])
            terms.append(term + kl_coef * (math.exp(gap) - gap - 1))
        losses.append(sum(terms) / len(terms))
    return losses


@pytest.mark.parametrize("seed", range(5))
def test_vectorised_equals_naive(seed):
    logp, old, ref, advantages, mask = random_batch(seed)
    ours = grpo_loss(logp, old, advantages, mask, clip_low=0.2, clip_high=0.28, ref_logp=ref, kl_coef=0.04)
    assert ours.tolist() == pytest.approx(naive_loss(logp, old, ref, advantages, mask, 0.2, 0.28, 0.04), abs=1e-12)


def test_gradient_equals_finite_differences():
    logp, old, ref, advantages, mask = random_batch(11)

    def loss(x):
        return grpo_loss(x, old, advantages, mask, clip_high=0.28, ref_logp=ref, kl_coef=0.04)

    assert torch.autograd.gradcheck(loss, logp.requires_grad_())


def test_padding_gets_no_gradient():
    logp, old, _, advantages, mask = random_batch(3)
    logp.requires_grad_()
    grpo_loss(logp, old, advantages, mask).sum().backward()
    assert not logp.grad[mask == 0].any()


LIMIT = 32


def trl_loss(trainer_class, logp, old, ref, advantages, mask, low, high, kl_coef, loss_type):
    """`GRPOTrainer._compute_loss` on our log-probabilities: only the trainer's options are stood in for."""

    def gathered(value, reduction="sum"):
        return value

    options = SimpleNamespace(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=kl_coef,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        loss_type=loss_type,
        max_completion_length=LIMIT,
        epsilon_low=low,
        epsilon_high=high,
        use_vllm=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(reduce=gathered, gather=gathered),
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logp, torch.zeros_like(logp), None),
    )
    ids = torch.zeros(logp.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1],
        "completion_ids": ids,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
    }
    return trainer_class._compute_loss(options, None, inputs), options._metrics["train"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
@pytest.mark.parametrize("loss_type, limit", [("grpo", None), ("dr_grpo", LIMIT)])
def test_as_trl(trl_trainers, seed, kl_coef, loss_type, limit):
    logp, old, ref, advantages, mask = random_batch(seed, torch.float32, rows=8, tokens=20)
    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    theirs, metrics = trl_loss(trl_trainers[0], theirs_in, old, ref, advantages, mask, 0.2, 0.28, kl_coef, loss_type)
    options = {"clip_low": 0.2, "clip_high": 0.28, "ref_logp": ref, "kl_coef": kl_coef, "limit": limit}
    ours = grpo_loss(ours_in, old, advantages, mask, **options)
    torch.testing.assert_close(ours.mean(), theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    ours.mean().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)

    low, high = clip_fractions(torch.exp(logp - old), advantages, mask, 0.2, 0.28)
    assert (low / mask.sum()).item() == pytest.approx(metrics["clip_ratio/low_mean"][0])
    assert (high / mask.sum()).item() == pytest.approx(metrics["clip_ratio/high_mean"][0])
    assert min(low, high) > 0  # the batch does clip on both sides
    if kl_coef:
        kl = (k3_kl(logp, ref) * mask).sum() / mask.sum()
        assert kl.item() == pytest.approx(metrics["kl"][0], rel=1e-5)
