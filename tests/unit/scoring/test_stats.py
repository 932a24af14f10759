"""The numbers of a step's judge calls, over ranks."""

import pytest

from online_rl.scoring.stats import CallStats, call_metrics


def stats(generate=1.0, exposed=0.0, **fields):
    own = {
        "ahead_seconds": 0.0,
        "latencies": [],
        "in_flight": 0,
        "retries": 0,
        "failed": 0,
        "candidates": 4,
        "drained": {},
    }
    return CallStats(generate, exposed, **{**own, **fields})


@pytest.mark.parametrize(
    ("ranks", "generate", "exposed"),
    [
        ([(2.0, 0.5)], 2.0, 0.5),
        ([(2.0, 0.5), (1.0, 0.25)], 2.0, 0.5),
        # The second rank waits 3 s for its judge, 2 s of it while the first still generates.
        ([(8.0, 0.0), (6.0, 3.0)], 8.0, 1.0),
        ([(8.0, 0.0), (2.0, 5.0)], 8.0, 0.0),
    ],
)
def test_only_what_no_rank_hides_is_exposed(ranks, generate, exposed):
    metrics = call_metrics([stats(*times) for times in ranks])
    assert (metrics["time/generate"], metrics["time/judge_exposed"]) == (generate, pytest.approx(exposed))


def test_counts_add_up_and_percentiles_are_over_all_ranks():
    one = stats(latencies=[0.1] * 15, in_flight=3, retries=2, failed=1, drained={"judge/green/cache_hits": 5.0})
    two = stats(latencies=[0.9] * 5, in_flight=4, retries=1, drained={"judge/green/cache_hits": 1.0, "judge/b/x": 2.0})
    metrics = call_metrics([one, two])
    assert metrics["judge/latency_p50"] == 0.1 and metrics["judge/latency_p95"] == 0.9
    assert metrics["judge/in_flight"] == 4 and metrics["judge/retries"] == 3
    assert metrics["judge/failed_rate"] == 1 / 8
    assert metrics["judge/green/cache_hits"] == 6.0 and metrics["judge/b/x"] == 2.0


def test_a_step_without_calls_has_no_latency():
    assert not any("latency" in name for name in call_metrics([stats(candidates=0)]))


def test_further_studies_of_a_step_add_their_time_and_calls():
    first = CallStats(
        2.0, 0.5, 0.25, [1.0], in_flight=3, retries=1, failed=0, candidates=4, drained={"judge/a/hits": 2.0}
    )
    more = CallStats(
        1.0, 0.25, 0.5, [0.5], in_flight=2, retries=0, failed=1, candidates=2, drained={"judge/b/hits": 1.0}
    )
    both = first.followed_by(more)
    assert (both.generate_seconds, both.exposed_seconds, both.latencies) == (3.0, 0.75, [1.0, 0.5])
    assert both.ahead_seconds == 0.75
    assert (both.in_flight, both.retries, both.failed, both.candidates) == (3, 1, 1, 6)
    assert both.drained == {"judge/a/hits": 2.0, "judge/b/hits": 1.0}
