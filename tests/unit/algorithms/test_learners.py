"""What carries gradient, and what a micro-batch reports: unscorable, masked, tied and filling rows."""

import math

import pytest
import torch

from online_rl.algorithms import GRPO, OnlineKTO, OnlinePreference, TokenBatch, make_algorithm
from online_rl.algorithms.gmpo import GMPO
from online_rl.config import config_from_dict
from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
from online_rl.metric_types import Mean, merged
from online_rl.rollout.types import Rollouts

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = (*GRPO_FAMILY, *PREFERENCE_FAMILY)


def config(name="grpo", **options):
    section = "grpo" if name in GRPO_FAMILY else "preference"
    return config_from_dict({"algorithm": {"name": name, section: options}})


def tokens(logp, old=None, ref=None, advantages=None, weights=None, mask=None):
    """A pass in which vLLM and the trainer agree."""
    old = logp.detach() if old is None else old
    mask = torch.ones_like(logp.detach()) if mask is None else mask
    weights = torch.ones(len(advantages)) if weights is None else weights
    return TokenBatch(logp, old, ref, old, mask, advantages, weights)


@pytest.fixture
def rollouts(make_completion):
    """Three groups of four completions, read through."""
    completions = [make_completion(group=g, candidate=i) for g in range(3) for i in range(4)]
    result = Rollouts(completions, 3, 4, version=0)
    list(result)
    return result


def places(batch):
    return [tuple((c.group, c.candidate) for c in unit) for unit in batch.units]


def test_every_name_makes_its_algorithm():
    for name in EVERY:
        algorithm = make_algorithm(config(name))
        family = OnlinePreference if name in PREFERENCE_FAMILY else GRPO
        expected = {"online_kto": OnlineKTO, "gmpo": GMPO}.get(name, family)
        assert type(algorithm) is expected, name


def test_a_ref_model_is_kept_only_where_a_loss_reads_it():
    without = {name for name in EVERY if not make_algorithm(config(name)).needs_ref_model}
    assert without == {*GRPO_FAMILY, "online_simpo", "online_orpo"}
    for name in GRPO_FAMILY:
        assert make_algorithm(config(name, kl_coef=0.01)).needs_ref_model


def test_grpo_leaves_unscorable_candidates_and_flat_groups_out(rollouts):
    # Group 0: mean of 1, 2, 3 is 2, std 1. Group 1 is flat, group 2 has one score alone.
    rewards = [[1.0, None, 2.0, 3.0], [0.5, 0.5, None, 0.5], [None, None, 0.9, None]]
    algorithm = GRPO(config())
    batch = algorithm.learn_from(rollouts, rewards)
    assert places(batch) == [((0, 0),), ((0, 2),), ((0, 3),)]
    assert batch.advantages == pytest.approx([-1.0, 0.0, 1.0])
    assert batch.unit_size == 1
    assert batch.counts == {"frac_reward_zero_std": Mean(2, 3)}
    assert [algorithm.teaches(group) for group in rewards] == [True, False, False]


def test_the_numbers_of_the_docstring(rollouts):
    """Groups of three: the fourth candidate is one that could not be scored."""
    rewards = [[1.0, 3.0, None, None], [0.5, 0.5, 0.5, None], [None] * 4]
    taught = {name: make_algorithm(config(name)).learn_from(rollouts, rewards) for name in ("grpo", "online_dpo")}
    taught["online_kto"] = make_algorithm(config("online_kto")).learn_from(rollouts, rewards)
    assert places(taught["grpo"]) == [((0, 0),), ((0, 1),)]
    assert taught["grpo"].advantages == pytest.approx([-0.7071, 0.7071], abs=1e-4)
    assert places(taught["online_dpo"]) == [((0, 1), (0, 0))]
    assert (places(taught["online_kto"]), taught["online_kto"].advantages) == ([((0, 1),), ((0, 0),)], [1.0, -1.0])
    for batch in taught.values():
        assert batch.filler is rollouts.groups[0][0]
        assert batch.counts["frac_reward_zero_std"] == Mean(2, 3)


def test_grpo_without_std_keeps_the_size_of_the_reward(rollouts):
    rewards = [[0.0, 0.2, None, None], [0.0, 0.0, 0.0, 4.0], [None] * 4]
    batch = GRPO(config(advantage="group_no_std")).learn_from(rollouts, rewards)
    assert batch.advantages == pytest.approx([-0.1, 0.1, -1.0, -1.0, -1.0, 3.0])


def test_batch_std_is_that_of_all_rewards_of_all_ranks(rollouts, monkeypatch):
    # This rank 0, 2, 1, 1 and two groups without spread of 1s; the other rank 1, 3: std of 0 2 1 1, 1 1 1 1 1, 1 3
    rewards = [[0.0, 2.0, 1.0, 1.0], [1.0, 1.0, None, 1.0], [None, 1.0, None, 1.0]]
    monkeypatch.setattr("online_rl.ranks.collectives.gather", lambda mine: [mine, [[1.0, 3.0]]])
    batch = GRPO(config(advantage="batch_std")).learn_from(rollouts, rewards)
    std = torch.tensor([0.0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 3]).std().item()
    assert batch.advantages == pytest.approx([-1 / std, 1 / std, 0.0, 0.0])


def test_a_step_that_teaches_nothing_is_an_empty_batch(rollouts):
    for name in EVERY:
        batch = make_algorithm(config(name)).learn_from(rollouts, [[None] * 4] * 3)
        assert batch.units == [] and batch.counts["frac_reward_zero_std"] == Mean(3, 3), name


def test_rewards_of_another_shape_are_refused(rollouts):
    for name in ("grpo", "online_dpo", "online_kto"):
        with pytest.raises((ValueError, IndexError)):
            make_algorithm(config(name)).learn_from(rollouts, [[1.0, 2.0, 3.0, 4.0]])


def test_dpo_pairs_best_with_worst_and_drops_ties(rollouts):
    rewards = [[0.1, None, 0.9, 0.4], [0.5, 0.5, 0.5, None], [-0.2, 0.0, None, None]]
    batch = OnlinePreference(config("online_dpo")).learn_from(rollouts, rewards)
    assert places(batch) == [((0, 2), (0, 0)), ((2, 1), (2, 0))]
    assert batch.advantages == [1.0, 1.0]
    assert batch.unit_size == 2
    assert batch.counts == {"frac_reward_zero_std": Mean(1, 3), "dpo/pairs_per_group": Mean(2, 3)}


def test_pairing_and_tie_threshold_come_from_the_configuration(rollouts):
    rewards = [[0.1, 0.2, 0.15, 0.1], [0.0, 1.0, 0.5, 0.5], [None] * 4]
    batch = OnlinePreference(config("online_dpo", tie_threshold=0.5)).learn_from(rollouts, rewards)
    assert places(batch) == [((1, 1), (1, 0))]
    rest = OnlinePreference(config("online_ipo", tie_threshold=0.4, pairing="best_vs_rest"))
    assert places(rest.learn_from(rollouts, rewards)) == [((1, 1), (1, 0)), ((1, 1), (1, 2)), ((1, 1), (1, 3))]


@pytest.mark.parametrize(
    "pairing, first, second",
    [
        # The best is 2, before 3 that equals it; in the other group 3.
        ("best_vs_rest", [(2, 0)], [(3, 0), (3, 1), (3, 2)]),
        # 2 and 3 tie, and so do 0 and 1 of the other group, where all beat 2.
        ("all_above_margin", [(2, 0), (3, 0)], [(0, 2), (1, 2), (3, 0), (3, 1), (3, 2)]),
    ],
)
def test_every_pair_of_a_group_and_no_other(rollouts, pairing, first, second):
    rewards = [[0.2, None, 0.9, 0.9], [0.5, 0.45, 0.0, 0.8], [None, 0.3, 0.35, None]]
    learner = OnlinePreference(config("online_dpo", tie_threshold=0.1, pairing=pairing))
    batch = learner.learn_from(rollouts, rewards)
    expected = [(g, pair) for g, pairs in enumerate([first, second]) for pair in pairs]
    assert places(batch) == [((g, chosen), (g, rejected)) for g, (chosen, rejected) in expected]
    assert batch.advantages == [1.0] * len(expected)
    assert batch.counts == {"frac_reward_zero_std": Mean(1, 3), "dpo/pairs_per_group": Mean(len(expected), 3)}


def test_kto_takes_best_and_worst_or_everything_by_threshold(rollouts):
    rewards = [[0.1, None, 0.9, 0.4], [0.6, 0.7, 0.5, 0.5], [None] * 4]
    batch = OnlineKTO(config("online_kto")).learn_from(rollouts, rewards)
    assert (places(batch), batch.advantages) == ([((0, 2),), ((0, 0),), ((1, 1),), ((1, 2),)], [1.0, -1.0, 1.0, -1.0])
    by_threshold = OnlineKTO(config("online_kto", kto_threshold=0.45)).learn_from(rollouts, rewards)
    assert places(by_threshold) == [((g, i),) for g, i in ((0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3))]
    assert by_threshold.advantages == [-1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0], "all of a group with spread may be good"
    assert by_threshold.counts == {"frac_reward_zero_std": Mean(1, 3), "kto/desirable": Mean(5.0, 7.0)}


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5, 1.0])
def test_kto_learns_nothing_from_groups_whose_candidates_tie(rollouts, threshold):
    """Whatever side of the threshold they are on, and a candidate that is scored alone has nothing to be told from."""
    rewards = [[0.7, 0.7, 0.7, 0.7], [0.4, 0.5, None, 0.45], [None, None, 0.9, None]]
    algorithm = OnlineKTO(config("online_kto", kto_threshold=threshold, tie_threshold=0.1))
    batch = algorithm.learn_from(rollouts, rewards)
    assert (batch.units, batch.advantages) == ([], [])
    assert batch.counts["frac_reward_zero_std"] == Mean(3, 3)
    assert not any(algorithm.teaches(group) for group in rewards), "so algorithm.resample_rounds samples others"


def test_grpo_metrics_count_clipped_and_corrected_tokens_of_real_rows_only():
    logp = torch.zeros(3, 2)
    old = logp - torch.tensor([[math.log(2), 0.0], [math.log(0.5), math.log(0.5)], [math.log(2), math.log(2)]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    batch = TokenBatch(logp, old, None, old - 1.0, mask, torch.tensor([1.0, -1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0]))
    _, sums = GRPO(config()).loss(batch)
    assert sums == {
        "clip_ratio/low_mean": Mean(1.0, 3.0),
        "clip_ratio/high_mean": Mean(1.0, 3.0),
        "clip_ratio/region_mean": Mean(2.0, 3.0),
        "sampling/truncated_fraction": Mean(3.0, 3.0),  # exp(1) is over 2
    }
    _, sums = GRPO(config(correction="sequence_mask")).loss(batch)
    assert sums["sampling/masked_fraction"] == Mean(3.0, 3.0)


def random_tokens(units, unit_size, seed):
    draw = torch.Generator().manual_seed(seed)
    rows = units * unit_size
    logp, old, ref, sampled = (-3 * torch.rand(rows, 6, generator=draw, dtype=torch.float64) for _ in range(4))
    sizes = torch.randint(1, 7, (rows,), generator=draw)
    mask = (torch.arange(6) < sizes[:, None]).double()
    sign = torch.where(torch.rand(units, generator=draw) > 0.5, 1.0, -1.0).double()
    return TokenBatch(logp, old, ref, sampled, mask, sign, torch.ones(units, dtype=torch.float64))


def part(batch, which, unit_size):
    """Some units of a batch, behind a first one that only fills the pass up."""
    rows = [r for u in (0, *which) for r in range(u * unit_size, (u + 1) * unit_size)]
    units = [0, *which]
    weights = torch.tensor([0.0] + [1.0] * len(which), dtype=torch.float64)
    columns = (batch.logp, batch.old_logp, batch.ref_logp, batch.sampled, batch.mask)
    return TokenBatch(*(c[rows] for c in columns), batch.advantages[units], weights)


@pytest.mark.parametrize("split", [[[0, 1, 2, 3, 4, 5]], [[5, 2], [0], [4, 1, 3]], [[0, 1, 2], [], [3, 4, 5]]])
@pytest.mark.parametrize("name", EVERY)
def test_neither_micro_batches_nor_filling_rows_change_loss_gradient_or_metrics(name, split):
    algorithm = make_algorithm(config(name, **({"kl_coef": 0.1} if name in GRPO_FAMILY else {})))
    size = algorithm.unit_size

    def step(parts):
        """What the update does over all micro-batches of all ranks: one denominator, one baseline."""
        whole = random_tokens(6, size, seed=3)
        whole.logp.requires_grad_()
        passes = [whole if p is None else part(whole, p, size) for p in parts]
        total = sum(algorithm.denominator(p.mask, p.weights) for p in passes)
        sums = [algorithm.baseline_sums(p) for p in passes]
        baseline = sum(s for s, _ in sums) / max(1.0, sum(c for _, c in sums))
        losses, metrics = zip(*(algorithm.loss(p, baseline) for p in passes), strict=True)
        (sum(losses) / total).backward()
        added = {key: [metric.total, metric.count] for key, metric in merged(metrics).items()}
        return (sum(losses) / total).item(), whole.logp.grad, added

    loss, gradient, metrics = step([None])
    again, other, others = step(split)
    assert again == pytest.approx(loss, rel=1e-12)
    torch.testing.assert_close(other, gradient)
    assert gradient.any()
    for key, values in metrics.items():
        assert others[key] == pytest.approx(values, rel=1e-9), key


def test_dpo_sums_over_completion_tokens_and_ignores_filling_pairs():
    # Pair 0: chosen gains 1 + 1 = 2 over its two tokens, rejected -1 over its one (the other is padding):
    # margin 0.1 * 3 = 0.3. Pair 1 only fills the pass up.
    logp = torch.tensor([[-1.0, -1.0], [-3.0, 50.0], [-9.0, -9.0], [-1.0, -1.0]], requires_grad=True)
    ref = torch.tensor([[-2.0, -2.0], [-2.0, -2.0], [-1.0, -1.0], [-9.0, -9.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    learner = OnlinePreference(config("online_dpo", beta=0.1))
    loss, sums = learner.loss(tokens(logp, None, ref, torch.ones(2), torch.tensor([1.0, 0.0]), mask))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.3)))
    assert sums["rewards/margins"] == Mean(pytest.approx(0.3), 1.0)
    assert sums["rewards/accuracies"] == Mean(1.0, 1.0)
    loss.backward()
    assert not logp.grad[2:].any() and logp.grad[1, 1] == 0
    assert logp.grad[0, 0] < 0 < logp.grad[1, 0]  # descending raises the chosen one and lowers the rejected one


def test_an_adaptive_coefficient_follows_the_kl_and_survives_a_checkpoint():
    cfg = config(kl_coef=0.1, kl_target=0.02)
    first, second = GRPO(cfg), GRPO(cfg)
    assert first.after_update({"kl": 1.0}) == {"kl_coef": 0.1}, "the one that this step used"
    assert first.after_update({}) == {"kl_coef": pytest.approx(0.102)}, "a step that taught nothing changes nothing"
    second.load_state_dict(first.state_dict())
    assert second.after_update({"kl": 1.0}) == first.after_update({"kl": 1.0}) == {"kl_coef": pytest.approx(0.102)}
    batch = random_tokens(3, 1, seed=0)
    low, high = GRPO(config(kl_coef=0.1)).loss(batch)[0], second.loss(batch)[0]
    assert high > low, "and the loss uses it"


def test_a_fixed_coefficient_is_reported_only_where_there_is_a_ref_model():
    assert GRPO(config()).after_update({}) == {}
    assert GRPO(config(kl_coef=0.1)).after_update({"kl": 5.0}) == {"kl_coef": 0.1}


@pytest.mark.parametrize("name", EVERY)
def test_a_completion_of_no_tokens_does_no_harm(name):
    algorithm = make_algorithm(config(name, **({"kl_coef": 0.1} if name in GRPO_FAMILY else {})))
    batch = random_tokens(3, algorithm.unit_size, seed=2)
    batch.mask[1] = 0.0
    batch.logp.requires_grad_()
    loss, sums = algorithm.loss(batch)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(batch.logp.grad).all() and not batch.logp.grad[1].any()
    assert all(math.isfinite(metric.total) for metric in sums.values())
