"""A loop over stand-ins for engine and policy; everything else is the real part."""

from __future__ import annotations

from typing import Any

from online_rl.algorithms import make_algorithm
from online_rl.checkpoint import Checkpoints
from online_rl.collect import Collector
from online_rl.evaluate import Evaluator
from online_rl.loop import Loop
from online_rl.ranks.stop import StopRequest
from online_rl.rollout.sync import WeightSync


def loop_of(
    cfg: Any, train: Any, held_out: Any, sampler: Any, builder: Any, engine: Any, scorer: Any, policy: Any, monitor: Any
) -> Loop:
    algorithm = make_algorithm(cfg)
    collector = Collector(cfg, train, sampler, builder, engine, scorer, algorithm, policy)
    weights = WeightSync(engine, policy)
    evaluator = Evaluator(cfg, held_out, builder, engine, scorer, monitor)
    checkpoints = Checkpoints(cfg, policy, [collector, weights, evaluator])
    stop = StopRequest(cfg.train.stop_after)
    return Loop(cfg, collector, algorithm, policy, weights, evaluator, checkpoints, monitor, stop)
