"""Steps whose groups teach nothing: their studies come back less often, on any number of ranks and after a resume."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from online_rl.algorithms import make_algorithm
from online_rl.collect import Collector
from online_rl.config import config_from_dict
from online_rl.data.weighted_sampler import make_sampler
from online_rl.errors import CheckpointError
from online_rl.metrics import step_metrics
from online_rl.monitor.step import Step
from online_rl.ranks import collectives
from online_rl.rollout.types import Prompt
from online_rl.same_run import refuse_another_run
from online_rl.scoring import Scorer
from tests.unit.test_resample import GROUP, Engine, Judge

STUDIES = 12
KNOWN = [f"s{i}" for i in range(0, STUDIES, 3)]  # the judge tells good from bad in these alone
TEXTS = ("The lungs are clear.", "Small left pleural effusion.")


@pytest.fixture
def make_collector(make_completion, make_study):
    made = []

    def make(known=KNOWN, studies_per_step=4, unreadable=(), **data):
        cfg = config_from_dict(
            {
                "rollout": {"group_size": GROUP, "studies_per_step": studies_per_step},
                "data": {"flat_weight": 0.25, **data},
            }
        )
        scorer = Scorer([(Judge(known), 1.0)], cfg)
        made.append(scorer)
        studies = [make_study(f"s{i}", reference=TEXTS[i % 2]) for i in range(STUDIES)]
        return Collector(
            cfg=cfg,
            studies=studies,
            builder=SimpleNamespace(
                build_all=lambda chosen, spare: [
                    Prompt(s, "", (), (1,), {}) for s in chosen if s.study_id not in unreadable
                ],
                prepare=lambda studies: None,
            ),
            sampler=make_sampler(cfg, studies),
            engine=Engine(make_completion),
            scorer=scorer,
            algorithm=make_algorithm(cfg),
            policy=SimpleNamespace(version=0, ref_model=None),
        )

    yield make
    for scorer in made:
        scorer.close()


def steps(collector, count):
    """Take steps; the studies of each."""
    for number in range(count):
        _, scores = collector.collect(Step(number + 1))
        collector.end_step(scores)
    return collector.engine.asked[-count:]


def test_studies_whose_groups_teach_nothing_are_drawn_less_often(make_collector):
    collector = make_collector()
    drawn = [study for batch in steps(collector, 200) for study in batch]
    known = sum(study in KNOWN for study in drawn) / len(KNOWN)
    others = sum(study not in KNOWN for study in drawn) / (STUDIES - len(KNOWN))
    # An epoch ends within a step, so now and then a group is known only after the next order was made.
    assert 0.4 < others / known < 0.6
    assert set(drawn) == {f"s{i}" for i in range(STUDIES)}


def test_by_default_groups_change_nothing(make_collector):
    flat, taught = make_collector(known=[], flat_weight=1.0), make_collector(known=KNOWN, flat_weight=1.0)
    assert steps(flat, 9) == steps(taught, 9)


def test_a_study_that_is_set_aside_says_nothing(make_collector):
    collector = make_collector(unreadable=("s1",))
    steps(collector, 30)
    assert collector.sampler.weight(1, collector.sampler.epoch + 1) == 1.0


def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(make_collector):
    for data in ({}, {"sampling": "stratified"}, {"sampling": "stratified", "flat_weight": 1.0}):
        whole = make_collector(**data)
        steps(whole, 7)
        state = json.loads(json.dumps(whole.state_dict()))
        expected = steps(whole, 9)
        resumed = make_collector(**data)
        resumed.load_state_dict(state)
        assert steps(resumed, 9) == expected
        assert resumed.sampler.metrics() == whole.sampler.metrics()


def test_a_step_that_is_not_learned_from_is_drawn_again(make_collector):
    collector = make_collector(sampling="stratified")
    steps(collector, 5)
    collector.collect(Step(6))  # and then the run is stopped
    state = json.loads(json.dumps(collector.state_dict()))
    resumed = make_collector(sampling="stratified")
    resumed.load_state_dict(state)
    assert steps(resumed, 1) == collector.engine.asked[-1:]


def test_the_number_of_ranks_changes_no_order(make_collector, monkeypatch):
    alone = steps(make_collector(), 30)
    here = threading.local()
    for ranks in (2, 4):
        values, meet = [None] * ranks, threading.Barrier(ranks, timeout=60)

        def gather(value, values=values, meet=meet):
            values[here.rank] = value
            meet.wait()
            found = list(values)
            meet.wait()
            return found

        def reduce_numbers(numbers, op="sum", gather=gather):
            return [(sum if op == "sum" else max)(column) for column in zip(*gather(numbers), strict=True)]

        monkeypatch.setattr(collectives, "world_size", lambda ranks=ranks: ranks)
        monkeypatch.setattr(collectives, "rank", lambda: here.rank)
        monkeypatch.setattr(collectives, "gather", gather)
        monkeypatch.setattr(collectives, "reduce_numbers", reduce_numbers)
        collectors, asked = [make_collector() for _ in range(ranks)], [[]] * ranks

        def run(rank, collectors=collectors, asked=asked):
            here.rank = rank
            asked[rank] = steps(collectors[rank], 30)

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert [[s for part in step for s in part] for step in zip(*asked, strict=True)] == alone


def test_both_prevalences_are_among_the_metrics_of_a_step(make_collector):
    seconds = {"step": 1.0, "updating": 0.1, "syncing weights": 0.1}
    collector = make_collector(sampling="stratified")
    _, scores = collector.collect(Step(1))
    metrics = step_metrics(collector.end_step(scores), seconds, 4)
    assert metrics["strata/data/effusion"] == metrics["strata/data/normal"] == 0.5
    effusions = sum(int(study[1:]) % 2 for study in collector.engine.asked[0])
    assert metrics["strata/drawn/effusion"] == effusions / 4
    collector = make_collector()
    _, scores = collector.collect(Step(1))
    assert not any(name.startswith("strata/") for name in step_metrics(collector.end_step(scores), seconds, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"flat_weight": 0.5}, "data.flat_weight: the checkpoint c was trained with 1.0, this configuration says 0.5"),
        ({"sampling": "stratified"}, "data.sampling: the checkpoint c was trained with 'shuffled', this configuration"),
        (
            {"where": {"images": 1}},
            "data.where: the checkpoint c was trained with {}, this configuration says {'",
        ),
    ],
)
def test_another_selection_at_a_resume_is_refused(data, message):
    state = {"world_size": 1, "config": config_from_dict({}).model_dump(mode="json")}
    with pytest.raises(CheckpointError) as caught:
        refuse_another_run(Path("c"), state, config_from_dict({"data": data}), lambda text: None)
    assert message in str(caught.value)
