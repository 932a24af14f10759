"""A bandit: with a judge that rewards a word every algorithm comes to say it; with a constant judge none moves.

The policy is a table of logits over eight words, three to a report, without an engine: what is tested is the way from
rewards to gradient, through the same objects that a run uses.
"""

import pytest
import torch

from online_rl.algorithms import TokenBatch, make_algorithm
from online_rl.config import config_from_dict
from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
from online_rl.rollout.types import Rollouts

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = (*GRPO_FAMILY, *PREFERENCE_FAMILY)
WORDS, TOKENS, STUDIES, GROUP = 8, 3, 4, 8
WANTED = 5
STEPS = 60


def learn(name, judge, make_completion, steps, **options):
    """The table after `steps`; one Adam step of 0.1 each."""
    section = "grpo" if name in GRPO_FAMILY else "preference"
    cfg = config_from_dict({"algorithm": {"name": name, section: options}, "rollout": {"max_completion_tokens": 4}})
    algorithm = make_algorithm(cfg)
    draw = torch.Generator().manual_seed(0)
    table = torch.zeros(TOKENS, WORDS, requires_grad=True)
    ref = torch.log_softmax(table.detach(), -1)
    optimiser = torch.optim.Adam([table], lr=0.1)
    for _ in range(steps):
        policy = torch.log_softmax(table, -1)
        ids = torch.multinomial(policy.detach().exp(), STUDIES * GROUP, replacement=True, generator=draw).T
        completions = [
            make_completion(ids=row.tolist(), group=i // GROUP, candidate=i % GROUP) for i, row in enumerate(ids)
        ]
        rollouts = Rollouts(completions, STUDIES, GROUP, version=0)
        list(rollouts)
        rewards = [[judge(c.ids) for c in group] for group in rollouts.groups]
        batch = algorithm.learn_from(rollouts, rewards)
        if not batch.units:
            continue
        said = torch.tensor([c.ids for unit in batch.units for c in unit])  # (B, TOKENS)
        logp = policy[torch.arange(TOKENS), said]
        old, ref_logp = logp.detach(), ref[torch.arange(TOKENS), said]
        units = torch.ones(len(batch.units))
        tokens = TokenBatch(logp, old, ref_logp, old, torch.ones_like(old), torch.tensor(batch.advantages), units)
        total, count = algorithm.baseline_sums(tokens)
        loss, _ = algorithm.loss(tokens, total / max(count, 1.0))
        optimiser.zero_grad()
        (loss / algorithm.denominator(tokens.mask, units)).backward()
        optimiser.step()
    return table.detach()


@pytest.mark.parametrize("name", EVERY)
def test_a_rewarded_word_is_learned(name, make_completion):
    table = learn(name, lambda ids: float(ids.count(WANTED)), make_completion, STEPS)
    share = torch.softmax(table, -1)[:, WANTED].mean().item()
    assert share > 0.5, f"{share:.2f} of the words, from {1 / WORDS:.2f}"


@pytest.mark.parametrize("name", EVERY)
def test_a_constant_judge_moves_nothing(name, make_completion):
    assert not learn(name, lambda ids: 0.7, make_completion, 3).any()


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_nor_does_it_where_its_score_lies_on_one_side_of_ktos_threshold(threshold, make_completion):
    assert not learn("online_kto", lambda ids: 0.7, make_completion, 3, kto_threshold=threshold).any()


@pytest.mark.parametrize("name", EVERY)
def test_a_judge_that_can_score_nothing_moves_nothing(name, make_completion):
    assert not learn(name, lambda ids: None, make_completion, 3).any()


@pytest.mark.parametrize("advantage", ["group", "group_no_std", "batch_std", "rloo"])
def test_every_advantage_learns_it(advantage, make_completion):
    table = learn("grpo", lambda ids: float(ids.count(WANTED)), make_completion, STEPS, advantage=advantage)
    assert torch.softmax(table, -1)[:, WANTED].mean() > 0.5


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_kl_term_holds_the_policy_back(estimator, make_completion):
    def judge(ids):
        return float(ids.count(WANTED))

    free = learn("dr_grpo", judge, make_completion, STEPS)
    held = learn("dr_grpo", judge, make_completion, STEPS, kl_coef=0.5, kl_estimator=estimator)
    share = [torch.softmax(table, -1)[:, WANTED].mean().item() for table in (free, held)]
    assert 1 / WORDS < share[1] < share[0] - 0.1
