"""How likely the policy finds the reference reports of held-out studies: loss, perplexity, token accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from online_rl.algorithms.likelihood import batch_of
from online_rl.data.study import Study
from online_rl.metric_types import over_ranks
from online_rl.monitor import Monitor
from online_rl.policy.supervised import LOSS, SupervisedPolicy
from online_rl.ranks import collectives
from online_rl.rollout.targets import TargetBuilder


@dataclass
class HeldOut:
    """Measures the policy on the same studies each time, and knows the first result.

    studies   held-out studies, the same list on every rank
    together  studies of a rank whose images are encoded at once
    before    metrics of the starting policy
    """

    studies: Sequence[Study]
    targets: TargetBuilder
    policy: SupervisedPolicy
    monitor: Monitor
    together: int
    before: dict[str, float] = field(default_factory=dict)

    def measure(self, step: int, name: str) -> dict[str, float]:
        """Means over all tokens of all studies, told to the monitor; nothing if there are no studies. Every rank must
        call."""
        if not self.studies:
            return {}
        with self.monitor.phase(f"evaluating ({name})"):
            metrics = self._measured()
        metrics["perplexity"] = math.exp(min(metrics[LOSS], 700.0))  # beyond it a float has no room
        if step == 0:
            self.before = metrics
        self.monitor.log_eval(step, metrics)
        return metrics

    def _measured(self) -> dict[str, float]:
        mine = collectives.every_nth(self.studies)
        with collectives.together():
            made = self.targets.build_all(mine or self.studies[:1])  # a rank without a study fills up passes with one
        filler, made = made[0], made if mine else []
        parts = [made[i : i + self.together] for i in range(0, len(made), self.together)]
        most = int(collectives.reduce_numbers([float(len(parts))], "max")[0])
        parts += [[]] * (most - len(parts))
        return over_ranks([self.policy.measure(batch_of(part, filler)) for part in parts])

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.before = dict(state["before"])
