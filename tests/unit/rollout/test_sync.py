"""Weight sync, without a loop: what is loaded, in which order, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from online_rl.errors import PolicyMismatch
from online_rl.rollout.parity import Parity
from online_rl.rollout.sync import WeightSync

DIFFERENCE = "sampling/sampling_logp_difference/mean"


class Engine:
    """Holds what it was sent, but only while it is awake; loses one weight if told to."""

    def __init__(self, loses: str = "") -> None:
        self.loses, self.held, self.version, self.asleep, self.must_verify = loses, {}, 0, False, True
        self.awake: set[str] = {"weights", "kv_cache"}
        self.can_sleep = False

    def wake(self, part):
        self.awake.add(part)
        self.asleep = self.awake != {"weights", "kv_cache"}

    def load_weights(self, weights, version):
        assert "weights" in self.awake, "there is no memory to load them into"
        self.held |= {name: value for name, value in weights if name != self.loses}
        self.version = version

    def verify(self, weights):
        missing = [name for name, value in weights if self.held.get(name) != value]
        if missing:
            raise PolicyMismatch(f"{missing[0]} is not there")


def policy(version: int = 1, warned: list[str] | None = None):
    weights = {"a": version, "b": 2 * version}
    said = [] if warned is None else warned
    return SimpleNamespace(
        version=version,
        trained_weights=lambda: iter(weights.items()),
        all_weights=lambda: iter((weights | {"frozen": 7}).items()),
        warn=said.append,
    )


def test_the_engine_holds_the_policys_version_and_is_awake():
    engine = Engine()
    engine.awake, engine.asleep = set(), True
    WeightSync(engine, policy(3)).sync()
    assert (engine.held, engine.version, engine.asleep) == ({"a": 3, "b": 6}, 3, False)


def test_a_version_that_is_there_is_not_sent_again_unless_the_engine_slept():
    engine = Engine()
    engine.version = 1
    WeightSync(engine, policy()).sync()
    assert engine.held == {}
    engine.asleep = True
    WeightSync(engine, policy()).sync()
    assert engine.held == {"a": 1, "b": 2}


def test_an_engine_that_drops_its_weights_in_its_sleep_is_sent_the_frozen_ones_too():
    engine = Engine()
    engine.can_sleep = True
    WeightSync(engine, policy()).sync()
    assert engine.held == {"a": 1, "b": 2, "frozen": 7}


def test_a_weight_that_did_not_arrive_is_named():
    with pytest.raises(PolicyMismatch, match="b is not there"):
        WeightSync(Engine(loses="b"), policy()).sync()


def test_log_probabilities_that_drifted_apart_stop_the_run_and_a_resumed_one_knows_how_near_they_were():
    sync = WeightSync(Engine(), policy(), Parity(["packed"]))
    sync.sync(1, {DIFFERENCE: 0.001})
    again = WeightSync(Engine(), policy(), Parity(["packed"]))
    again.load_state_dict(sync.state_dict())
    again.sync(2, {DIFFERENCE: 0.019})  # 10 x 0.001 + 0.01 = 0.02
    with pytest.raises(PolicyMismatch, match="step 3"):
        again.sync(3, {DIFFERENCE: 0.021})


def test_a_distance_that_grew_threefold_is_a_warning_to_the_user():
    warned: list[str] = []
    sync = WeightSync(Engine(), policy(warned=warned), Parity(half_precision=True))
    for step, difference in enumerate([0.01, 0.03, 0.05, 0.06], start=1):
        sync.sync(step, {DIFFERENCE: difference})
    [warning] = warned
    assert "step 3" in warning and "0.05" in warning and "0.01" in warning


def test_a_rank_whose_engine_refuses_a_weight_still_gathers_the_rest_with_the_others():
    gathered = []

    def weights():
        for name in ("a", "b", "c"):
            gathered.append(name)
            yield name, 0

    class Refusing(Engine):
        def load_weights(self, weights, version):
            next(iter(weights))
            raise PolicyMismatch("a: vLLM does not take this weight")

    sending = policy(2)
    sending.trained_weights = weights
    with pytest.raises(PolicyMismatch, match="does not take"):
        WeightSync(Refusing(), sending).sync()
    assert gathered == ["a", "b", "c"]
