"""The losses of the GRPO family: by hand, against a loop, against finite differences, against TRL."""

import itertools
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from online_rl.algorithms import GRPO, TokenBatch
from online_rl.algorithms.cispo import cispo_loss
from online_rl.algorithms.grpo import clip_fractions, clipped_policy_loss, mean_per_completion, reduce_tokens
from online_rl.algorithms.gspo import sequence_ratio
from online_rl.algorithms.kl import k3_kl
from online_rl.algorithms.mismatch import correction_weights
from online_rl.config import config_from_dict

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("grpo", "dr_grpo", "dapo", "gspo", "cispo")
LIMIT = 32


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


@pytest.mark.parametrize(
    "ratio, advantage, loss, slope",
    [
        (5.0, -2.0, 6.0, 0.0),  # worse than average and far more likely again: bounded at 3 * 2
        (2.5, -2.0, 5.0, 2.0),  # below the bound nothing changes
        (5.0, 2.0, -2.6, 0.0),  # better than average: the upper clip holds as before
    ],
)
def test_the_dual_clip_bounds_only_what_is_worse_than_average(ratio, advantage, loss, slope):
    rho = torch.tensor([[ratio]], requires_grad=True)
    value = clipped_policy_loss(rho, torch.tensor([[advantage]]), 0.2, 0.3, dual_clip=3.0)
    assert value.item() == pytest.approx(loss)
    value.sum().backward()
    assert rho.grad.item() == pytest.approx(slope)


def test_the_ratio_of_a_completion_is_the_geometric_mean_of_its_tokens():
    # ratios 4 and 1: sqrt(4) = 2; the second row has one token of ratio 0.5, the third none
    old = torch.zeros(3, 2)
    logp = torch.log(torch.tensor([[4.0, 1.0], [0.5, 9.0], [9.0, 9.0]]))
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(sequence_ratio(logp, old, mask), torch.tensor([[2.0], [0.5], [1.0]]))


def test_cispo_bounds_the_weight_and_keeps_the_gradient():
    # weight min(8, 1 + 4) = 5, A = 2, log pi = -0.5: loss 5; gradient -5 * 2 although the ratio is clipped
    logp = torch.tensor([[-0.5]], requires_grad=True)
    loss = cispo_loss(logp, torch.tensor([[8.0]]), torch.tensor([[2.0]]), 1.0, 4.0)
    assert loss.item() == pytest.approx(5.0)
    loss.sum().backward()
    assert logp.grad.item() == pytest.approx(-10.0)


def test_each_completion_is_the_mean_over_its_own_tokens():
    values = torch.tensor([[1.0, 2.0, 3.0], [5.0, 99.0, 99.0], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert mean_per_completion(values, mask).tolist() == [2.0, 5.0, 0.0]


@pytest.mark.parametrize("loss_type, expected", [("grpo", [2.0, 5.0]), ("dr_grpo", [0.6, 0.5]), ("dapo", [6.0, 5.0])])
def test_how_tokens_are_added_up(loss_type, expected):
    values = torch.tensor([[1.0, 2.0, 3.0], [5.0, 99.0, 99.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert reduce_tokens(values, mask, loss_type, limit=10).tolist() == pytest.approx(expected)
    one_each = torch.tensor([[2.0], [5.0]])  # a value per completion stands for each of its tokens
    assert reduce_tokens(one_each, mask, "grpo", limit=10).tolist() == [2.0, 5.0]


def learner(name="grpo", **options):
    data = {"algorithm": {"name": name, "grpo": options}, "rollout": {"max_completion_tokens": LIMIT}}
    return GRPO(config_from_dict(data))


def tokens_of(batch, sampled=None, weights=None):
    logp, old, ref, advantages, mask = batch
    weights = torch.ones_like(advantages) if weights is None else weights
    return TokenBatch(logp, old, ref, old if sampled is None else sampled, mask, advantages, weights)


def mean_loss(algorithm, tokens):
    return algorithm.loss(tokens)[0] / algorithm.denominator(tokens.mask, tokens.weights)


def test_whole_loss_of_two_completions_by_hand():
    # Completion 0, advantage 1, two tokens: ratios 1.5 and 0.5 -> min(1.5, 1.2) = 1.2 and min(0.5, 0.8) = 0.5
    #   k3 with ref = logp + ln 2: 0.30685 each; per token -1.2 + 0.1 * 0.30685 and -0.5 + 0.1 * 0.30685
    #   mean = (-1.16931 - 0.46931) / 2 = -0.81931
    # Completion 1, advantage -2, one token: ratio 0.5 -> min(-1, 0.8 * -2 = -1.6) = -1.6; 1.6 + 0.030685 = 1.63069
    logp = torch.tensor([[-1.0, -2.0], [-1.5, -9.0]])
    old = logp - torch.tensor([[math.log(1.5), math.log(0.5)], [math.log(0.5), 4.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    batch = (logp, old, logp + math.log(2), torch.tensor([1.0, -2.0]), mask)
    assert mean_loss(learner(kl_coef=0.1), tokens_of(batch)).item() == pytest.approx(
        (-0.819315 + 1.630685) / 2, abs=1e-6
    )
    # The same tokens, each of the three weighing the same: (-1.16931 - 0.46931 + 1.63069) / 3
    dapo = learner("dapo", kl_coef=0.1, clip_high=0.2)
    assert mean_loss(dapo, tokens_of(batch)).item() == pytest.approx((-1.169315 - 0.469315 + 1.630685) / 3, abs=1e-6)
    # and over 32 tokens that each of the two completions may have
    dr_grpo = learner("dr_grpo", kl_coef=0.1)
    assert mean_loss(dr_grpo, tokens_of(batch)).item() == pytest.approx(
        (-1.169315 - 0.469315 + 1.630685) / 64, abs=1e-6
    )


def test_kl_without_a_ref_model_is_refused(random_batch):
    logp, old, _, advantages, mask = random_batch(0)
    with pytest.raises(ValueError, match="ref_model"):
        learner(kl_coef=0.1).loss(tokens_of((logp, old, None, advantages, mask)))


def test_clip_fractions_count_what_is_held_back():
    # Only row 0, column 0 (ratio over 1.3, A > 0) and row 1, column 1 (ratio under 0.8, A < 0) are held back;
    # row 0, column 2 would be, but is padding.
    ratio = torch.tensor([[1.5, 0.5, 1.5], [1.5, 0.5, 1.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    low, high = clip_fractions(ratio, torch.tensor([1.0, -1.0]), mask, 0.2, 0.3)
    assert (low.item(), high.item()) == (1.0, 1.0)


def naive_weights(gaps, o):
    """The correction's weight of each token of one completion, from its log pi_old - log pi_vLLM."""
    if o.correction == "none":
        return [1.0] * len(gaps)
    level, kind = o.correction.split("_")
    rho = [math.exp(sum(gaps) if level == "sequence" else gap) for gap in gaps]
    if kind == "mask":
        return [r if o.correction_min <= r <= o.correction_max else 0.0 for r in rho]
    return [max(o.correction_min, min(o.correction_max, r)) for r in rho]


def naive_kl(logp, old, ref, estimator):
    if estimator == "k1":
        return math.exp(logp) / math.exp(old) * (logp - ref)
    return (logp - ref) ** 2 / 2 if estimator == "k2" else math.exp(ref) / math.exp(logp) - (ref - logp) - 1


def naive_loss(name, batch, sampled, o):
    """One completion and one token at a time, as the papers write it. Returns (sum, denominator)."""
    *columns, advantages, mask = batch
    total, count = 0.0, 0
    for i, a in enumerate(advantages.tolist()):
        size = int(mask[i].sum())
        logp, old, ref, vllm = (column[i, :size].tolist() for column in (*columns, sampled))
        weights = naive_weights([old[t] - vllm[t] for t in range(size)], o)
        whole = math.exp(sum(logp) - sum(old)) ** (1 / size)
        terms = []
        for t in range(size):
            rho = whole if name == "gspo" else math.exp(logp[t]) / math.exp(old[t])
            clipped = max(1 - o.clip_low, min(1 + o.clip_high, rho))
            term = -clipped * a * logp[t] if name == "cispo" else -min(rho * a, clipped * a)
            if o.dual_clip is not None and a < 0:
                term = min(term, -o.dual_clip * a)
            terms.append(term * weights[t] + o.kl_coef * naive_kl(logp[t], old[t], ref[t], o.kl_estimator))
        total += sum(terms) / {"grpo": size, "dr_grpo": LIMIT, "dapo": 1}[o.loss_type]
        count += size if o.loss_type == "dapo" else 1
    return total, count


CORRECTIONS = ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
DUAL_CLIPS = {"gspo": (None, 1.05), "cispo": (None,)}  # CISPO has none


@pytest.mark.parametrize(
    "name, loss_type",
    [(n, kind) for n in NAMES for kind in ("grpo", "dr_grpo", "dapo") if n != "gspo" or kind == "grpo"],
)
def test_vectorised_equals_naive(random_batch, name, loss_type):
    batch = random_batch(2, rows=40)
    draw = torch.Generator().manual_seed(3)
    sampled = batch[1] + 0.6 * torch.randn(batch[1].shape, generator=draw, dtype=torch.float64)
    choices = list(itertools.product(CORRECTIONS, ("k1", "k2", "k3"), DUAL_CLIPS.get(name, (None, 1.5))))
    seen = set()
    for correction, estimator, dual_clip in choices:
        options = {"correction": correction, "kl_estimator": estimator, "dual_clip": dual_clip}
        algorithm = learner(name, loss_type=loss_type, kl_coef=0.04, correction_min=0.5, **options)
        tokens = tokens_of(batch, sampled)
        total, count = naive_loss(name, batch, sampled, algorithm.options)
        assert algorithm.loss(tokens)[0].item() == pytest.approx(total, abs=1e-12, rel=1e-12), options
        assert algorithm.denominator(tokens.mask, tokens.weights) == count
        seen.add(round(total, 9))
    assert len(seen) == len(choices), "every choice matters to this batch"


@pytest.mark.parametrize("name", [n for n in NAMES if n != "cispo"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradient_equals_finite_differences(random_batch, name, estimator):
    logp, *rest = random_batch(11)
    algorithm = learner(name, kl_coef=0.04, kl_estimator=estimator, dual_clip=1.5)
    sampled = rest[0] + 0.1
    assert torch.autograd.gradcheck(lambda x: algorithm.loss(tokens_of((x, *rest), sampled))[0], logp.requires_grad_())


def test_cispo_gradient_equals_finite_differences_with_its_weight_held(random_batch):
    logp, old, _, advantages, mask = random_batch(11)
    ratio = torch.exp(logp - old)

    def loss(x):
        return (cispo_loss(x, ratio, advantages[:, None], 1.0, 4.0) * mask).sum()

    assert torch.autograd.gradcheck(loss, logp.requires_grad_())
    algorithm = learner("cispo", correction="none")
    whole = torch.autograd.grad(algorithm.loss(tokens_of((logp, old, None, advantages, mask)))[0], logp)[0]
    torch.testing.assert_close(whole, torch.autograd.grad(loss(logp), logp)[0])


@pytest.mark.parametrize("name", NAMES)
def test_on_the_policy_every_name_has_the_same_direction(random_batch, name):
    """Ratio 1: the gradient per token is -A, over each name's denominator."""
    logp, _, _, advantages, mask = random_batch(5)
    logp.requires_grad_()
    algorithm = learner(name, correction="none")
    mean_loss(algorithm, tokens_of((logp, logp.detach(), None, advantages, mask))).backward()
    per_token = -advantages[:, None] * mask
    rows, own = len(mask), mask.sum(-1, keepdim=True)
    over = {"grpo": rows * own, "dr_grpo": rows * LIMIT, "gspo": rows * own}.get(name, mask.sum())
    torch.testing.assert_close(logp.grad, per_token / over)


@pytest.mark.parametrize("name", NAMES)
def test_padding_gets_no_gradient(random_batch, name):
    logp, old, ref, advantages, mask = random_batch(3)
    logp.requires_grad_()
    learner(name, kl_coef=0.1).loss(tokens_of((logp, old, ref, advantages, mask)))[0].backward()
    assert not logp.grad[mask == 0].any() and logp.grad[mask == 1].any()


def trl_loss(trainer_class, batch, weights, o, name):
    """`GRPOTrainer._compute_loss` on our log-probabilities: only the trainer's options are stood in for."""
    logp, old, ref, advantages, mask = batch

    def gathered(value, reduction="sum"):
        return value

    options = SimpleNamespace(
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="sequence" if name == "gspo" else "token",
        beta=o.kl_coef,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=o.dual_clip, steps_per_generation=1),
        loss_type="cispo" if name == "cispo" else o.loss_type,
        max_completion_length=LIMIT,
        epsilon_low=o.clip_low,
        epsilon_high=1 + o.clip_high if name == "cispo" else o.clip_high,
        use_vllm=weights is not None,
        vllm_importance_sampling_correction=weights is not None,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(reduce=gathered, gather=gathered, num_processes=1),
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
        "importance_sampling_ratio": weights,
        "num_items_in_batch": mask.sum(),
    }
    return trainer_class._compute_loss(options, None, inputs), options._metrics["train"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
@pytest.mark.parametrize("correction", ["none", "token_truncate", "sequence_mask"])
@pytest.mark.parametrize("name", NAMES)
def test_as_trl(trl_trainers, random_batch, seed, kl_coef, correction, name):
    logp, old, ref, advantages, mask = random_batch(seed, torch.float32, rows=8, tokens=20)
    dual_clip = 1.6 if name in ("grpo", "dapo") else None
    clip = {} if name == "cispo" else {"clip_low": 0.2, "clip_high": 0.28}
    algorithm = learner(name, kl_coef=kl_coef, correction=correction, dual_clip=dual_clip, **clip)
    o = algorithm.options
    sampled = old + 0.3 * torch.randn(old.shape, generator=torch.Generator().manual_seed(seed))
    bounds = (o.correction_min, o.correction_max)
    weights = None if correction == "none" else correction_weights(old, sampled, mask, correction, *bounds)[0]
    theirs_in, ours_in = logp.clone().requires_grad_(), logp.clone().requires_grad_()
    theirs, metrics = trl_loss(trl_trainers[0], (theirs_in, old, ref, advantages, mask), weights, o, name)
    ours = mean_loss(algorithm, tokens_of((ours_in, old, ref, advantages, mask), sampled))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    theirs.backward()
    ours.backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-6, rtol=1e-5)
    if kl_coef:
        kl = (k3_kl(logp, ref) * mask).sum() / mask.sum()
        assert kl.item() == pytest.approx(metrics["kl"][0], rel=1e-5)


@pytest.mark.parametrize("name", ["grpo", "dapo"])
def test_clip_metrics_are_trls(trl_trainers, random_batch, name):
    batch = random_batch(1, torch.float32, rows=8, tokens=20)
    algorithm = learner(name, correction="none", clip_low=0.2, clip_high=0.28)
    _, metrics = trl_loss(trl_trainers[0], batch, None, algorithm.options, name)
    _, sums = algorithm.loss(tokens_of(batch))
    for side in ("low", "high", "region"):
        mine = sums[f"clip_ratio/{side}_mean"].value
        assert mine > 0 and mine == pytest.approx(metrics[f"clip_ratio/{side}_mean"][0])
