"""Judge servers on GPUs that train as well, over real HTTP: they sleep and wake, or the run hears that they do not."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from judges import Case
from judges.green import sleeping
from judges.green.client import share_of_rank
from judges.length import LengthControlled
from online_rl.config.model import Config, Scoring
from online_rl.data.study import Study
from online_rl.errors import ConfigError, JudgeFailed
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer
from tests.unit.judges.green.stub_server import Stub, analysis, serving

REFERENCE = "the heart is normal in size. the lungs are clear. no pleural effusion or pneumothorax is seen."


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(sleeping, "SWITCH_S", 4.0)
    monkeypatch.setattr(sleeping, "OTHERS_S", 1.5)


def run(judge, *candidates: str):
    return asyncio.run(judge.score([Case("s1", candidate, REFERENCE) for candidate in candidates]))


@pytest.fixture
def shared(stub, make_judge):
    """A started judge whose server's GPU trains as well."""
    judge = make_judge(stub.url, place="shared", cache=False)
    judge.start()
    return judge


def test_a_server_that_sleeps_is_woken_by_the_next_score(stub, shared):
    run(shared, "the lungs are clear.")
    shared.sleep()
    shared.sleep()
    assert stub.switches == ["/sleep?level=1"] and stub.asleep
    run(shared, "the lungs are clear.")
    run(shared, "the lungs are clear.")
    assert stub.switches == ["/sleep?level=1", "/wake_up"]


def test_a_switch_that_did_not_take_place_is_asked_for_again(stub, shared):
    stub.switches_that_fail = 2
    shared.sleep()
    assert stub.asleep and stub.switches == ["/sleep?level=1"] * 3
    stub.switches_that_fail = 1
    assert run(shared, "the lungs are clear.")[0].value is not None
    assert stub.switches[3:] == ["/wake_up"] * 2


def test_a_server_that_stays_awake_stops_the_run_before_the_update(stub, shared):
    stub.switches_that_fail = 1000
    with pytest.raises(JudgeFailed, match=r"is still awake 4 s after .* \(HTTP 200 to POST /sleep"):
        shared.sleep()


def test_a_server_that_stays_asleep_stops_the_run_with_the_reason_and_gets_no_request(stub, shared):
    shared.sleep()
    stub.switches_that_fail, asked = 1000, len(stub.bodies)
    with pytest.raises(JudgeFailed, match=r"is still asleep 4 s after .*GPU memory"):
        run(shared, "the lungs are clear.")
    assert len(stub.bodies) == asked


def act_and_look(act, stub, seen: list[bool]) -> None:
    act()
    seen.append(stub.asleep)


def test_a_rank_waits_until_the_first_rank_of_its_node_has_switched(stub, shared, make_judge, monkeypatch):
    other = make_judge(stub.url, place="shared", cache=False)
    other.start()
    stub.switch_s = 0.3
    for name, asleep in (("sleep", True), ("wake", False)):
        monkeypatch.setenv("LOCAL_RANK", "1")
        seen: list[bool] = []
        waits = threading.Thread(target=act_and_look, args=(getattr(other, name), stub, seen))
        waits.start()
        time.sleep(0.1)
        assert not seen, "it returned before the server had switched"
        monkeypatch.setenv("LOCAL_RANK", "0")
        getattr(shared, name)()
        waits.join(5)
        assert seen == [asleep]
    assert stub.switches == ["/sleep?level=1", "/wake_up"], "once per node"


def test_a_rank_whose_first_one_never_asks_does_it_itself(stub, shared, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    shared.sleep()
    assert stub.asleep and stub.switches == ["/sleep?level=1"]


def test_a_server_without_sleep_mode_is_named_with_its_remedy(stub, make_judge):
    stub.switch_status = 404
    with pytest.raises(ConfigError, match="--share-gpu"):
        make_judge(stub.url, place="shared").start()


def test_a_server_that_is_gone_is_not_waited_for_when_it_should_sleep(checkpoint, make_judge, caplog):
    with serving(Stub(str(checkpoint))) as stub:
        judge = make_judge(stub.url, place="shared")
        judge.start()
    judge.sleep()
    assert "did not sleep" in caplog.text


def test_a_server_that_dies_between_sleep_and_wake_leaves_its_work_to_the_others(stub, checkpoint, make_judge):
    with serving(Stub(str(checkpoint))) as short_lived:
        judge = make_judge(stub.url, short_lived.url, place="shared", cache=False)
        judge.start()
        judge.sleep()
    scores = run(judge, "the lungs are clear.", "the heart is normal.")
    assert all(score.value is not None for score in scores) and len(stub.bodies) == 2


def test_the_only_server_dying_between_sleep_and_wake_stops_the_run(checkpoint, make_judge):
    with serving(Stub(str(checkpoint))) as short_lived:
        judge = make_judge(short_lived.url, place="shared", cache=False)
        judge.start()
        judge.sleep()
    with pytest.raises(JudgeFailed, match="no judge server could be woken"):
        judge.wake()


def test_a_server_of_its_own_gpu_is_left_awake(stub, make_judge):
    judge = make_judge(stub.url)
    judge.start()
    judge.sleep()
    judge.wake()
    assert stub.switches == []


# ---- beside sampling


def sampled(place: int) -> Completion:
    study = Study(study_id="s1", patient_id="p1", images=(), indication="", reference=REFERENCE)
    return Completion(
        0, place, Prompt(study, "say", (), (1,), {}), (5,), (-0.1,), f"the lungs are clear. {place}", False
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_judge_wakes_while_reports_decode_and_is_awake_before_the_engine_may_sleep(stub, shared, wrapped):
    """vLLM's engine asserts, when it goes to sleep, that no memory of the GPU was taken meanwhile."""
    judge = LengthControlled(shared, "lc_green") if wrapped else shared
    shared.sleep()
    stub.switch_s = 0.4

    def decoding():
        for i in range(3):
            yield sampled(i)
        deadline = time.monotonic() + 10
        while stub.switches[-1] != "/wake_up":
            assert time.monotonic() < deadline, "it was not asked to wake before the group was complete"
            time.sleep(0.02)
        yield sampled(3)

    scorer = Scorer([(judge, 1.0)], Config(scoring=Scoring(canary_every=0)))
    try:
        asked = scorer.ask(Rollouts(decoding(), 1, 4, version=0))
        assert not stub.asleep
        assert all(reward is not None for reward in scorer.scored(asked).rewards[0])
        assert stub.switches.count("/wake_up") == 1
    finally:
        scorer.close()


def test_a_judge_that_cannot_be_woken_fails_the_step_even_if_nothing_was_sampled(stub, shared):
    shared.sleep()
    stub.switches_that_fail = 1000
    scorer = Scorer([(shared, 1.0)], Config(scoring=Scoring(canary_every=0)))
    try:
        with pytest.raises(JudgeFailed, match="still asleep"):
            scorer.ask(Rollouts(iter(()), 0, 4, version=0))
    finally:
        scorer.close()


# ---- requests in flight


def test_a_server_works_on_a_bounded_number_and_the_wait_for_a_turn_is_no_time_out(stub, make_judge):
    def slow(body):
        time.sleep(0.3)
        return analysis(3, 1), "stop"

    stub.answer = slow
    judge = make_judge(stub.url, cache=False, in_flight=3, timeout_s=0.8)
    scores = run(judge, *(f"the lungs are clear. {i}" for i in range(12)))  # four rounds of 0.3 s
    assert all(score.value is not None for score in scores), "queueing for 0.9 s was counted as the server's time"
    assert stub.most_running == 3


def test_ranks_share_what_a_server_works_on_at_once(monkeypatch):
    for name in ("WORLD_SIZE", "LOCAL_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert share_of_rank(64, own=True) == share_of_rank(64, own=False) == 64
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")  # torchrun's
    assert (share_of_rank(64, own=True), share_of_rank(64, own=False)) == (8, 4)
    monkeypatch.setenv("LOCAL_SIZE", "4")  # deepspeed's
    assert share_of_rank(64, own=True) == 16
    assert share_of_rank(3, own=True) == 1


def test_no_request_in_flight_is_refused(make_judge):
    with pytest.raises(ConfigError, match="in_flight is 0, expected at least 1"):
        make_judge("http://localhost:1", in_flight=0)
