"""Dynamic sampling: further studies in the place of groups that teach nothing, up to a cap, in the data's order."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from judges.base import Score
from online_rl.algorithms import make_algorithm
from online_rl.collect import Collector
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.metric_types import Mean
from online_rl.monitor.step import Step
from online_rl.rollout.types import Prompt, Rollouts
from online_rl.scoring import Scorer

GROUP = 2


class Engine:
    """Writes "good" and "bad" for every study, and says which studies it was asked for."""

    def __init__(self, make_completion):
        self.make_completion, self.asked = make_completion, []

    def generate(self, prompts, step, version, resampled=0):
        self.asked.append([prompt.study.study_id for prompt in prompts])
        completions = [
            self.make_completion(group=g, candidate=i, text=("good", "bad")[i], prompt=prompt)
            for g, prompt in enumerate(prompts)
            for i in range(GROUP)
        ]
        return Rollouts(completions, len(prompts), GROUP, version)

    def sleep(self) -> None: ...


class Judge:
    """Tells good from bad only in the studies that it knows; all others are scored alike."""

    name = "judge"

    def __init__(self, known):
        self.known = known

    def score(self, cases):
        return [Score(float(case.candidate == "good" and case.study_id in self.known)) for case in cases]


@pytest.fixture
def make_collector(make_completion, make_study):
    made = []

    def make(known, rounds, studies_per_step=4):
        cfg = config_from_dict(
            {
                "algorithm": {"resample_rounds": rounds},
                "rollout": {"group_size": GROUP, "studies_per_step": studies_per_step},
            }
        )
        scorer = Scorer([(Judge(known), 1.0)], cfg)
        made.append(scorer)
        return Collector(
            cfg=cfg,
            studies=[make_study(f"s{i}", reference="one two") for i in range(12)],
            builder=SimpleNamespace(
                build_all=lambda studies, spare: [Prompt(s, "", (), (1,), {}) for s in studies],
                prepare=lambda studies: None,
            ),
            sampler=StudySampler(12, studies_per_step, seed=0),
            engine=Engine(make_completion),
            scorer=scorer,
            algorithm=make_algorithm(cfg),
            policy=SimpleNamespace(version=0, ref_model=None),
        )

    yield make
    for scorer in made:
        scorer.close()


def step(collector):
    """Sampling and scoring of one step: (rollouts, scores, number of further studies)."""
    rollouts, scores = collector.collect(Step(1))
    collector.end_step(scores)
    return rollouts, scores, len(rollouts.groups) - collector.cfg.rollout.studies_per_step


def order(n):
    return [f"s{i}" for i in StudySampler(12, 4, seed=0).next_batch(n)]


def test_by_default_flat_groups_are_only_skipped(make_collector):
    collector = make_collector(known=order(12)[:1], rounds=0)
    rollouts, scores, extra = step(collector)
    assert (extra, collector.engine.asked) == (0, [order(4)])
    batch = collector.algorithm.learn_from(rollouts, scores.rewards)
    assert len(batch.units) == 2 and batch.counts["frac_reward_zero_std"] == Mean(3, 4)


def test_as_many_further_studies_as_groups_that_teach_nothing(make_collector):
    walk = order(12)
    collector = make_collector(known=[walk[0], walk[2], walk[4], walk[5]], rounds=3)
    rollouts, scores, extra = step(collector)
    assert collector.engine.asked == [walk[:4], walk[4:6]], "the next ones of the epoch, and no more than are missing"
    assert extra == 2 and len(rollouts.groups) == len(scores.groups) == len(scores.rewards) == 6
    batch = collector.algorithm.learn_from(rollouts, scores.rewards)
    assert {c.prompt.study.study_id for (c,) in batch.units} == {walk[0], walk[2], walk[4], walk[5]}
    assert batch.counts["frac_reward_zero_std"] == Mean(2, 6), "all that was sampled is counted"


def test_sampling_ends_at_the_cap(make_collector):
    collector = make_collector(known=[], rounds=2)
    _, scores, extra = step(collector)
    assert extra == 8 and len(scores.groups) == 12
    assert sum(collector.engine.asked, []) == order(12), "every study of the epoch once"


def test_a_resumed_run_goes_on_behind_the_further_studies(make_collector):
    walk = order(12)
    whole = make_collector(known=walk[3:7], rounds=1)
    step(whole)
    state = json.loads(json.dumps(whole.sampler.state_dict()))
    step(whole)
    resumed = make_collector(known=walk[3:7], rounds=1)
    resumed.sampler.load_state_dict(state)
    step(resumed)
    assert resumed.engine.asked == whole.engine.asked[2:]
    assert whole.engine.asked[2] == walk[7:11]


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_ranks_share_any_number_of_studies(make_collector, monkeypatch, count):
    seen = []
    for rank in range(3):
        collector = make_collector(known=[], rounds=1, studies_per_step=3)
        monkeypatch.setattr("online_rl.ranks.collectives.world_size", lambda: 3)
        monkeypatch.setattr("online_rl.ranks.collectives.rank", lambda rank=rank: rank)
        seen += [study.study_id for study in collector.next_studies(count)]
    assert seen == order(count)
