"""Alarms: a reward that rises while reports get worse, seen in evaluations, in plain words and with what helps.

| alarm           | rings if                                                                                        |
|-----------------|-------------------------------------------------------------------------------------------------|
| nothing_present | of the studies with a finding, at least SILENT of the reports call nothing present              |
| recall          | recall of present findings is at most KEPT of the start's, and the reward is up                 |
| same_report     | distinct reports are at most KEPT of the start's, or one report is at least CLUSTER of them all |
| image           | the right image's gain in F1 is down, or its gain in log-probability is at most KEPT of the     |
|                 | start's, while the reward is up                                                                 |

Thresholds are met by intervals: a level by the lower end of its one-sided 95 % interval (Wilson's, with patients as its
number), a change by more than CHANGE standard errors, paired on the same studies (bootstrap by patient). An alarm that
has rung stays on. Silence and sameness are taken over studies with a finding, so a corpus of normal studies is silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from online_rl.truth import bootstrap
from online_rl.truth.bootstrap import Estimate, ratio, recall
from online_rl.truth.held_out import HeldOut, numbered
from online_rl.truth.image_check import MIN_STUDIES, ImageCheck, f1_gain, logp_gain
from online_rl.truth.lost import Lost, lost_findings

SILENT = 0.80
KEPT = 0.60
CLUSTER = 0.40
CHANGE = 2.0  # standard errors
ONE_SIDED = 1.645  # 95 %
MIN_COMPARED = 20  # studies with a finding

NAMES = ("nothing_present", "recall", "same_report", "image")
WHAT_HELPS = (
    "Reward naming findings (blend `findings_f1` into the judges, docs/judges.md), compare the price list of cheap "
    "strategies with the policy's own reward, or start from a policy that names findings"
)


class ImageRows(NamedTuple):
    """What an evaluation's image check counted, as in `ImageCheck`; `logps` is empty if no references were read.

    patients  a number per study, equal for studies of one patient: a checkpoint keeps them
    """

    counts: Sequence[Sequence[float]]
    patients: Sequence[int]
    logps: Sequence[Sequence[float]] = ()


class Alarms:
    """Compares evaluations of the same studies with the first one. Every rank that is given the same says the same."""

    def __init__(self) -> None:
        self.on: dict[str, str] = {}  # name -> what it said when it rang
        self._start: HeldOut | None = None
        self._start_images: ImageRows | None = None
        self._watched: set[str] = set()

    def check(self, now: HeldOut, images: ImageRows | None = None) -> list[str]:
        """What rings for the first time, in words.

        images  of the evaluation's image check, if it had one
        """
        if self._start is None or self._start.key != now.key:
            self._start, self._start_images = now, images  # other studies cannot be compared
        news = []
        for name, sentence in self._rules(self._start, now, images):
            self._watched.add(name)
            if sentence and name not in self.on:
                self.on[name] = sentence
                news.append(f"{name}: {sentence}")
        return news

    def lost(self, now: HeldOut) -> list[Lost] | None:
        """Findings that the first evaluation wrote better; None if the two cannot be compared. No alarm rings by it: a
        policy that gives up one finding and writes the others better has not collapsed, but nobody should miss it."""
        start = self._start
        if start is None or start is now or start.key != now.key or not start.claims:
            return None
        return lost_findings(start.claims, now.claims, now.patients)

    def remember(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Turn on what the metrics of an evaluation say had rung by then, if it is not on."""
        for name in NAMES:
            if metrics.get(f"alarms/{name}") == 1.0:
                self.on.setdefault(name, f"{name} rang by step {step}, before the run was resumed.")

    def metrics(self) -> dict[str, float]:
        """`alarms/<name>`: 1 once it has rung, 0 before; absent if it could not be judged."""
        return {f"alarms/{name}": float(name in self.on) for name in NAMES if name in self._watched | self.on.keys()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: numbers and names of findings, and no study's name."""
        state = {
            "on": dict(self.on),
            "start": self._start.state_dict() if self._start else None,
            "start_images": self._start_images,
            "watched": sorted(self._watched),
        }
        return {"alarms": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; a checkpoint of a version without alarms leaves the next evaluation as the first one."""
        state = state.get("alarms", {})
        self.on = dict(state.get("on", {}))
        start, images = state.get("start"), state.get("start_images")
        self._start = HeldOut.from_state(start) if start else None
        self._start_images = _without_names(ImageRows(*images)) if images else None
        self._watched = set(state.get("watched", ()))

    def _rules(self, start: HeldOut, now: HeldOut, images: ImageRows | None) -> Iterator[tuple[str, str | None]]:
        """(name, what to say or None) of every alarm that these evaluations can judge."""
        if len(now.patients) < MIN_STUDIES:
            return
        if len(now.abnormal) >= MIN_COMPARED:
            yield "nothing_present", nothing_present(now)
            if start is not now:
                yield "recall", lost_recall(start, now)
        if sum(u is not None for u in now.uniqueness) >= MIN_COMPARED:
            yield "same_report", same_report(start, now)
        if images and self._start_images and images is not self._start_images and len(images.counts) >= MIN_STUDIES:
            yield "image", lost_image(start, now, self._start_images, images)


def nothing_present(now: HeldOut) -> str | None:
    chosen = now.abnormal
    silent = sum(now.counts[i][0] + now.counts[i][1] == 0 for i in chosen)  # type: ignore[index]
    if lower_end(silent / len(chosen), len({now.patients[i] for i in chosen})) < SILENT:
        return None
    return (
        f"of {len(chosen)} studies with a finding, {silent / len(chosen):.0%} of the reports call nothing present "
        f"(over {SILENT:.0%}): the policy calls everything normal. {WHAT_HELPS}."
    )


def lost_recall(start: HeldOut, now: HeldOut) -> str | None:
    chosen = [i for i in now.abnormal if start.counts[i] is not None]
    before, after = ([evaluation.counts[i] for i in chosen] for evaluation in (start, now))
    patients = [now.patients[i] for i in chosen]
    was, is_now = (bootstrap.estimate(recall, rows, patients) for rows in (before, after))
    change = bootstrap.difference(recall, after, before, patients)
    if was is None or is_now is None or not _fell(was, is_now, change) or not reward_rose(start, now):
        return None
    return (
        f"the reports name {is_now.value:.0%} of the findings, {was.value:.0%} at the start, while the reward rose: "
        f"leaving findings out pays. {WHAT_HELPS}."
    )


def same_report(start: HeldOut, now: HeldOut) -> str | None:
    chosen = [i for i, u in enumerate(now.uniqueness) if u is not None and start.uniqueness[i] is not None]
    patients = [now.patients[i] for i in chosen]
    after, before = ([[evaluation.uniqueness[i], 1.0] for i in chosen] for evaluation in (now, start))

    def distinct(sums: Any) -> Any:
        return ratio(sums[..., 0], sums[..., 1])

    was, is_now = (bootstrap.estimate(distinct, rows, patients) for rows in (before, after))
    if was is None or is_now is None:
        return None
    largest = sum(bool(now.in_cluster[i]) for i in chosen) / len(chosen)
    told = (
        "Reports stop following the study: lower the learning rate, raise algorithm.grpo.kl_coef or the temperature. "
    )
    if _fell(was, is_now, bootstrap.difference(distinct, after, before, patients)):
        return (
            f"{is_now.value:.0%} of the reports of {len(chosen)} studies differ from each other, {was.value:.0%} at "
            f"the start. {told}{WHAT_HELPS}."
        )
    if now.abnormal and lower_end(largest, len(set(patients))) >= CLUSTER:  # normal studies may well read alike
        return f"{largest:.0%} of the reports of {len(chosen)} studies are one and the same. {told}{WHAT_HELPS}."
    return None


def lost_image(start: HeldOut, now: HeldOut, before: ImageRows, after: ImageRows) -> str | None:
    patients = after.patients
    if list(before.patients) != list(patients) or not reward_rose(start, now):
        return None
    was, is_now = (bootstrap.estimate(f1_gain, images.counts, patients) for images in (before, after))
    change = bootstrap.difference(f1_gain, after.counts, before.counts, patients)
    if was and is_now and change and change.z < -CHANGE:
        return (
            f"the right image's gain in F1 over another patient's fell from {was.value:.3f} to {is_now.value:.3f} "
            f"while the reward rose: the reports follow the image less. {WHAT_HELPS}."
        )
    if not before.logps or not after.logps:
        return None
    was, is_now = (bootstrap.estimate(logp_gain, images.logps, patients) for images in (before, after))
    if was and is_now and _fell(was, is_now, bootstrap.difference(logp_gain, after.logps, before.logps, patients)):
        return (
            f"the right image makes the references' findings likelier by {is_now.value:.3f} nats per token, by "
            f"{was.value:.3f} at the start, while the reward rose: the policy sees less in the image. {WHAT_HELPS}."
        )
    return None


def reward_rose(start: HeldOut, now: HeldOut) -> bool:
    """Whether the mean reward is higher, over the studies that both evaluations could score."""
    pairs = [(a, b) for a, b in zip(start.rewards, now.rewards, strict=True) if a is not None and b is not None]
    return bool(pairs) and math.fsum(b - a for a, b in pairs) > 0


def lower_end(share: float, number: int) -> float:
    """Lower end of Wilson's one-sided 95 % interval of a share of `number` independent answers.

    (p + z^2 / 2n - z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    """
    z2 = ONE_SIDED**2
    spread = ONE_SIDED * math.sqrt(share * (1 - share) / number + z2 / (4 * number**2))
    return (share + z2 / (2 * number) - spread) / (1 + z2 / number)


def image_rows(check: ImageCheck) -> ImageRows:
    return ImageRows(check.rows, numbered(check.patients), check.logps)


def _without_names(images: ImageRows) -> ImageRows:
    """The same with numbers for patients: a checkpoint of an earlier version has their names."""
    return images._replace(patients=numbered(images.patients))


def _fell(was: Estimate, is_now: Estimate, change: Estimate | None) -> bool:
    """To KEPT of what it was or less, by over CHANGE standard errors."""
    return change is not None and is_now.value <= KEPT * was.value and change.z < -CHANGE
