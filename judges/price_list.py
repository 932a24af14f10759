"""The price list as numbers, a table and a verdict: what cheap strategies earn, compared with the policy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from judges.strategies import CONSTANT, NO_TEMPLATE, OVER_CALLING, TEMPLATE, UNREAD

CHANGE = 2.0  # standard errors that a lead must exceed

Values = Sequence["float | None"]  # a reward per study, None if it could not be scored


FINE = "it has something better to find than the template."  # the policy's own verdict, if nothing is doubtful


@dataclass(frozen=True)
class Price:
    """Mean reward over `n` studies, with its standard error, nan for one; one that could not be scored is left out."""

    mean: float
    error: float
    n: int


@dataclass(frozen=True)
class PolicyRewards:
    """What the policy earns on the priced studies, sampled as in training.

    mean  per study, over its group
    best  per study, of its group
    group_size
    """

    mean: Values
    best: Values
    group_size: int


@dataclass(frozen=True)
class PriceList:
    """Rewards of every strategy, by name, one per study in the same order; and the policy's, if it was sampled."""

    rewards: Mapping[str, Values]
    policy: PolicyRewards | None = None
    prices: dict[str, Price] = field(init=False)

    def __post_init__(self) -> None:
        found = {name: price(values) for name, values in self.rewards.items()}
        object.__setattr__(self, "prices", {name: value for name, value in found.items() if value is not None})

    def rows(self) -> list[tuple[str, Price]]:
        """Dearest first; the policy's own rows among them."""
        rows = dict(self.prices)
        if self.policy:
            own = {"your policy": self.policy.mean, f"your policy, best of {self.policy.group_size}": self.policy.best}
            rows |= {name: found for name, values in own.items() if (found := price(values)) is not None}
        return sorted(rows.items(), key=lambda row: -row[1].mean)

    def table(self) -> str:
        """Plain text, a line per strategy."""
        rows = self.rows()
        width = max((len(name) for name, _ in rows), default=0)
        studies = max((found.n for _, found in rows), default=0)
        lines = [f"what cheap strategies earn under this reward, {studies} studies (± one standard error)"]
        lines += [f"  {name:{width}}  {found.mean:6.3f} ± {found.error:.3f}" for name, found in rows]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """For JSON, which has no nan: the standard error of a single study is None."""
        return {
            name: {"mean": found.mean, "error": found.error if found.n > 1 else None, "studies": found.n}
            for name, found in self.rows()
        }

    def verdicts(self) -> list[str]:
        """What the prices mean, in plain words; the policy's own first."""
        template = self.prices.get(TEMPLATE)
        if template is None:
            return [self._without_template()]
        said = [self._of_policy(template)] if self.policy else []
        for name in OVER_CALLING:
            found = self.prices.get(name)
            if found and found.mean > template.mean:
                said.append(
                    f"this reward pays over-calling: {name} earns {found.mean:.3f}, the normal template "
                    f"{template.mean:.3f}. Raise what a false finding costs (findings_f1: false_weight)."
                )
        return said

    def _without_template(self) -> str:
        if TEMPLATE in self.rewards:
            return "the normal template could not be scored, so no verdict is given."
        return NO_TEMPLATE if CONSTANT in self.rewards else UNREAD  # a constant is made of any report that is read

    def _of_policy(self, template: Price) -> str:
        assert self.policy is not None
        mean, best = price(self.policy.mean), price(self.policy.best)
        if mean is None or best is None:
            return "no report of your policy could be scored, so it cannot be compared with the prices."
        size = self.policy.group_size
        said = f"calling everything normal pays {template.mean:.3f}; your policy earns {mean.mean:.3f}"
        if mean.mean < template.mean and best.mean < template.mean:
            return (
                f"{said}, the best of {size} samples {best.mean:.3f}: this reward will most likely teach it to call "
                "everything normal. Blend findings_f1 into the reward, or start from a policy that sees more."
            )
        if mean.mean < template.mean:
            return (
                f"{said}, the best of {size} samples {best.mean:.3f}: at risk of learning to call everything normal. "
                "Watch findings/recall."
            )
        ahead = paired(self.policy.mean, self.rewards[TEMPLATE])
        if ahead is None or not ahead.mean > CHANGE * ahead.error:  # one study has no error to compare with
            return f"{said}, which is no clear lead: watch findings/recall."
        return f"{said}: {FINE}"


def price(values: Values) -> Price | None:
    """Mean and standard error of the rewards that are there; None if there is none."""
    numbers = [v for v in values if v is not None]
    if not numbers:
        return None
    mean = math.fsum(numbers) / len(numbers)
    if len(numbers) < 2:
        return Price(mean, math.nan, len(numbers))
    variance = math.fsum((v - mean) ** 2 for v in numbers) / (len(numbers) - 1)
    return Price(mean, math.sqrt(variance / len(numbers)), len(numbers))


def paired(ours: Values, theirs: Values) -> Price | None:
    """The mean difference over studies that both have a reward for."""
    return price([a - b if a is not None and b is not None else None for a, b in zip(ours, theirs, strict=True)])


def best_of_groups(rewards: Sequence[Values]) -> PolicyRewards:
    """From a group of rewards per study, None for what could not be scored, to mean and best of each."""
    groups = [[r for r in group if r is not None] for group in rewards]
    means = [math.fsum(group) / len(group) if group else None for group in groups]
    best = [max(group) if group else None for group in groups]
    return PolicyRewards(means, best, max(map(len, rewards), default=0))
