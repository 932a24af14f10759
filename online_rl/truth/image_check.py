"""Whether reports follow the image: the right image against another patient's, everything else equal.

Indication, prompt and reference stay; the images alone are another study's. Who gets whose images is fixed by the seed
and the studies, so every evaluation asks the same question and gains of two evaluations are paired.

    gain_f1      F1 with the right image - mean F1 over DERANGEMENTS exchanges, counts pooled over studies
    gain_reward  mean reward with the right image - mean reward over the exchanges, over studies scored in all of them
    gain_logp    log-probability per token of what the reference calls present, likewise

Normal statements match whatever the image is, so the reward's gain is small beside F1's. A gain of 0 means that a
report says the same of any image. The gain in log-probability is teacher-forced: it is above 0 as soon as the policy
sees a finding, although its most likely report may name none. Exchanged images are real ones; a blank one would be a
case that the policy never saw.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from online_rl.data.study import Study
from online_rl.truth import bootstrap
from online_rl.truth.bootstrap import Array, Estimate, f1
from online_rl.truth.results import Result

DERANGEMENTS = 2
SEED = 20_260
MIN_STUDIES = 64  # below, an interval is too wide to tell a policy that looks from one that does not


@dataclass(frozen=True)
class Likelihood:
    """How likely the policy finds those tokens of a reference report that call a finding present.

    tokens  how many there are
    logp    sum of their log-probabilities, nats
    """

    tokens: int
    logp: float


Results = Mapping[str, Result]  # by study id
Write = Callable[[list[Study]], Results]
Likelihoods = Mapping[str, Likelihood]  # by study id
Read = Callable[[list[Study]], Likelihoods]


@dataclass(frozen=True)
class ImageCheck:
    """What the exchange showed.

    rows      per study that took part: TP, FP, FN with the right image, then with each exchange; zeros if unread
    rewards   per study that took part: with the right image, then with each exchange
    left_out  studies for which no other patient has as many images to give
    logps     per study that took part: number of finding tokens in the reference, sum of their log-probabilities with
              the right image, then with each exchange; zeros without such tokens; empty if none were read
    """

    rows: list[list[float]]
    rewards: list[list[float | None]]
    patients: list[str]
    left_out: int
    logps: list[list[float]] = field(default_factory=list)

    @property
    def studies(self) -> int:
        return len(self.patients)

    @cached_property
    def gain_f1(self) -> Estimate | None:
        return bootstrap.estimate(f1_gain, self.rows, self.patients)

    @cached_property
    def f1_right(self) -> Estimate | None:
        return bootstrap.estimate(lambda s: f1(s[..., :3]), self.rows, self.patients)

    @cached_property
    def f1_wrong(self) -> Estimate | None:
        return bootstrap.estimate(_f1_wrong, self.rows, self.patients)

    @cached_property
    def gain_reward(self) -> Estimate | None:
        gains: list[float | None] = []
        for right, *wrong in self.rewards:
            there = [r for r in wrong if r is not None]
            complete = right is not None and len(there) == len(wrong)
            gains.append(right - sum(there) / len(there) if complete and right is not None else None)
        return bootstrap.mean(gains, self.patients)

    @cached_property
    def gain_logp(self) -> Estimate | None:
        return bootstrap.estimate(logp_gain, self.logps, self.patients) if self.logps else None

    def metrics(self) -> dict[str, float]:
        """`image/<name>`; what is undefined is absent."""
        named = {
            "gain_f1": self.gain_f1,
            "gain_reward": self.gain_reward,
            "f1_wrong": self.f1_wrong,
            "gain_logp": self.gain_logp,
        }
        figures = {f"image/{name}": found.value for name, found in named.items() if found}
        gain = self.gain_f1
        if gain and gain.low is not None and gain.high is not None:
            figures |= {"image/gain_f1_low": gain.low, "image/gain_f1_high": gain.high}
        if self.left_out:
            figures["image/left_out"] = float(self.left_out)
        return figures

    def verdict(self) -> str:
        """One sentence for a person; under MIN_STUDIES it says that there is none."""
        out = f" ({self.left_out} left out: no other patient has as many images)" if self.left_out else ""
        if self.studies < MIN_STUDIES:
            return (
                f"image check: {self.studies} studies{out}, expected at least {MIN_STUDIES} for a verdict. Raise "
                "eval.studies."
            )
        gain, right, wrong = self.gain_f1, self.f1_right, self.f1_wrong
        if gain is None or gain.low is None or right is None or wrong is None:
            return f"image check: {self.studies} studies{out} without any finding, said or there: no verdict."
        numbers = (
            f"F1 {right.value:.3f} with the right image, {wrong.value:.3f} with another patient's "
            f"(gain {gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f}; {self.studies} studies{out})"
        )
        if gain.low > 0:
            return f"the reports follow the image: {numbers}."
        unseen = f"no sign that the reports follow the image: {numbers}"
        sees = self.gain_logp
        if sees and sees.low is not None and sees.low > 0:
            return (
                f"{unseen}. But the right image makes the references' findings more likely ({sees.value:+.3f} nats per "
                "token), so the policy sees more than its reports say."
            )
        return (
            f"{unseen}. Check that images reach the policy; otherwise it needs better fine-tuning before reinforcement "
            "learning can help."
        )


def check_images(
    studies: Sequence[Study], right: Results, write: Write, read: Read | None = None, seed: int = SEED
) -> ImageCheck:
    """Let `write` report on every study with another patient's images, DERANGEMENTS times, and compare.

    right  what was written with the right images; studies without a result take no part
    write  greedy reports on the studies that it is given, read and scored as those in `right`
    read   how likely the policy finds their references; None: it cannot be asked
    """
    able = [study for study in studies if study.study_id in right]
    exchanges = derangements(able, seed)
    chosen = [i for i, giver in enumerate(exchanges[0]) if giver is not None] if exchanges else []
    kept = [able[i] for i in chosen]
    columns = [[right[study.study_id] for study in kept]]
    likely = [read(kept)] if read and kept else []
    shown = [kept]
    for givers in exchanges:
        swapped = [with_images_of(able[i], able[giver]) for i in chosen if (giver := givers[i]) is not None]
        written = write(swapped) if swapped else {}
        columns.append([written[study.study_id] for study in swapped])
        shown.append(swapped)
        likely += [read(swapped)] if read and swapped else []
    rows, rewards = [], []
    for outcomes in zip(*columns, strict=True):
        found = [outcome.found for outcome in outcomes]
        known = [c for c in found if c is not None]
        counts = [float(n) for c in known for n in c.counts]
        rows.append(counts if len(known) == len(found) else [0.0] * 3 * len(found))
        rewards.append([outcome.reward for outcome in outcomes])
    patients = [study.patient for study in kept]
    return ImageCheck(rows, rewards, patients, len(studies) - len(kept), _logps(shown, likely))


def _logps(shown: Sequence[Sequence[Study]], likely: Sequence[Likelihoods]) -> list[list[float]]:
    """`ImageCheck.logps`: a study counts if its finding tokens were read with every image that it was shown with."""
    if not any(likely):
        return []
    rows = []
    for same in zip(*shown, strict=True):
        read = [found.get(study.study_id) for study, found in zip(same, likely, strict=True)]
        there = [r for r in read if r is not None]
        complete = len(there) == len(read) and len({r.tokens for r in there}) == 1
        rows.append([float(there[0].tokens), *(r.logp for r in there)] if complete else [0.0] * (1 + len(read)))
    return rows


def derangements(studies: Sequence[Study], seed: int = SEED, count: int = DERANGEMENTS) -> list[list[int | None]]:
    """For each exchange and study the index of the study that gives its images, None for those left out.

    Giver and taker are of different patients and have equally many images; every study that takes part gives once.
    Studies in blocks by patient are shifted by at least the largest block, so a patient with over half of the studies
    cannot wholly take part: the surplus is left out, the same in every exchange.
    """
    groups: dict[int, list[int]] = {}
    for i, study in enumerate(studies):
        groups.setdefault(len(study.images), []).append(i)
    exchanges: list[list[int | None]] = [[None] * len(studies) for _ in range(count)]
    for images, members in sorted(groups.items()):
        if not images:
            continue
        members = _without_surplus(members, studies)
        largest = max(Counter(studies[i].patient for i in members).values(), default=0)
        for number, givers in enumerate(exchanges):
            rng = random.Random(f"{seed}/{number}/{images}")
            order = _in_blocks(members, studies, rng)
            shift = rng.randint(largest, len(order) - largest) if order else 0
            for place, i in enumerate(order):
                givers[i] = order[(place + shift) % len(order)]
    return exchanges


def _without_surplus(members: Sequence[int], studies: Sequence[Study]) -> list[int]:
    """The studies without those that one patient has beyond half of them."""
    patient, size = Counter(studies[i].patient for i in members).most_common(1)[0]
    room = min(size, len(members) - size)
    own = [i for i in members if studies[i].patient == patient][:room]
    return [i for i in members if studies[i].patient != patient or i in own]


def _in_blocks(members: Sequence[int], studies: Sequence[Study], rng: random.Random) -> list[int]:
    """The studies in random order, those of a patient side by side."""
    blocks: dict[str, list[int]] = {}
    for i in members:
        blocks.setdefault(studies[i].patient, []).append(i)
    shuffled = list(blocks.values())
    rng.shuffle(shuffled)
    for block in shuffled:
        rng.shuffle(block)
    return [i for block in shuffled for i in block]


def with_images_of(study: Study, giver: Study) -> Study:
    """The study with the donor's images and a new id, so that a cache by study can't return the old images."""
    return replace(
        study, study_id=f"{study.study_id} with images of {giver.study_id}", images=giver.images, views=giver.views
    )


def f1_gain(sums: Array) -> Array:
    """Sums (..., 3 + 3 k) of TP, FP, FN with the right images and with k exchanges -> gain (...)."""
    return f1(sums[..., :3]) - _f1_wrong(sums)


def logp_gain(sums: Array) -> Array:
    """Sums (..., 2 + k) of tokens and of log p with the right images and with k exchanges -> gain per token (...)."""
    return bootstrap.ratio(sums[..., 1] - np.mean(sums[..., 2:], axis=-1), sums[..., 0])


def _f1_wrong(sums: Array) -> Array:
    wrong = [f1(sums[..., at : at + 3]) for at in range(3, sums.shape[-1], 3)]
    return np.mean(wrong, axis=0)
