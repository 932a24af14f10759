"""Health hints: what an experienced eye would notice in the metrics, in plain words, with the key that helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from online_rl.config import Config

VERBOSITY_LOW, VERBOSITY_HIGH = 0.6, 1.4
CLIPPED_HIGH = 0.2
LOGP_DIFFERENCE_HIGH = 0.1  # nats, mean over a step
MASKED_HIGH = 0.5  # of the tokens, by the correction of the mismatch
UNSCORABLE_HIGH = 0.1
ZERO_STD_HIGH = 0.8


@dataclass(frozen=True)
class InUse:
    """What a run has set already, so that no hint recommends it.

    raw           rewarded judges without length control
    length_rules  those of the rewarded judges
    samples       whether reports are written to samples/
    truncated     scoring.truncated
    correction    algorithm.grpo.correction; empty for the other family
    """

    raw: tuple[str, ...] = ("the judge",)
    length_rules: frozenset[str] = frozenset()
    samples: bool = True
    truncated: str = "score"
    correction: str = "token_mask"


def in_use(cfg: Config) -> InUse:
    """What hints should know of the configuration."""
    rewarded = [judge for judge in cfg.judges if judge.weight]
    rules = {judge.length_control for judge in rewarded} - {"none"}
    return InUse(
        raw=tuple(repr(judge.label) for judge in rewarded if judge.length_control == "none"),
        length_rules=frozenset(rules),
        samples=cfg.monitor.samples > 0,
        truncated=cfg.scoring.truncated,
        correction="" if cfg.algorithm.compares_pairs else cfg.algorithm.grpo.correction,
    )


def _against_long(has: InUse) -> str:
    if has.raw:
        return f"length_control: lc_green on {' and '.join(has.raw)} works against it."
    if "target_band" not in has.length_rules:
        return (
            f"Every judge has length control ({', '.join(sorted(has.length_rules))}) already; target_band raises the "
            "price for as long as reports are too long."
        )
    return "Every judge has length control already; a higher rate of target_band, or a KL term, works against it."


def _against_short(has: InUse) -> str:
    look = "Look at samples/ and at the judge's parts" if has.samples else "Look at some (monitor.samples: 4)"
    if has.length_rules & {"symmetric", "target_band"}:
        return f"{look}; a guard for what is missing shows whether it costs findings."
    return f"{look}; length_control: symmetric makes short reports cost as much as long ones."


def _against_masking(has: InUse) -> str:
    if has.correction.endswith("_mask"):
        return "Set algorithm.grpo.correction: token_truncate, or raise correction_max."
    return "They are further apart than rollout.max_token_logp_difference: look at model.dtype and attn_implementation."


def hints(metrics: dict[str, float], has: InUse | None = None) -> Iterator[tuple[str, str]]:
    """Yield (kind, sentence) for each thing that looks wrong in one step. The caller shows each kind once."""
    absent = float("nan")  # every comparison with NaN is false, so a metric that is not there gives no hint
    has = has or InUse()

    verbosity = metrics.get("verbosity/mean", absent)
    if verbosity < VERBOSITY_LOW:
        yield (
            "short",
            (
                f"reports are much shorter than their reference reports (verbosity {verbosity:.2f}, under "
                f"{VERBOSITY_LOW}): findings may be left out. {_against_short(has)}"
            ),
        )
    if verbosity > VERBOSITY_HIGH:
        yield (
            "long",
            (
                f"reports are much longer than their reference reports (verbosity {verbosity:.2f}, over "
                f"{VERBOSITY_HIGH}), often by repetition. {_against_long(has)}"
            ),
        )
    clipped = metrics.get("completions/clipped_ratio", absent)
    if clipped > CLIPPED_HIGH:
        mask = "" if has.truncated == "mask" else ", or set scoring.truncated: mask"
        yield (
            "clipped",
            (
                f"{clipped:.0%} of the completions were cut at the token limit (over {CLIPPED_HIGH:.0%}). "
                f"Raise rollout.max_completion_tokens{mask}."
            ),
        )
    difference = metrics.get("sampling/sampling_logp_difference/mean", absent)
    if difference > LOGP_DIFFERENCE_HIGH:
        yield (
            "mismatch",
            (
                f"vLLM and the trainer disagree on the sampled tokens (mean log-prob difference {difference:.3f} "
                f"nats, over {LOGP_DIFFERENCE_HIGH}). Check that both use the same model.dtype and image processing."
            ),
        )
    masked = metrics.get("sampling/masked_fraction", absent)
    if masked > MASKED_HIGH:
        yield (
            "masked",
            (
                f"{masked:.0%} of the tokens are masked (over {MASKED_HIGH:.0%}), as vLLM and the trainer differ: "
                f"little is learned. {_against_masking(has)}"
            ),
        )
    unscorable = metrics.get("judge/unscorable_rate", absent)
    if unscorable > UNSCORABLE_HIGH:
        yield (
            "unscorable",
            (
                f"the judge could not score {unscorable:.0%} of the reports (over {UNSCORABLE_HIGH:.0%}); they carry "
                "no gradient. Look at the judge's output and its token limit."
            ),
        )
    zero_std = metrics.get("frac_reward_zero_std", absent)
    if zero_std > ZERO_STD_HIGH:
        yield (
            "no spread",
            (
                f"in {zero_std:.0%} of the groups all rewards are equal (over {ZERO_STD_HIGH:.0%}): they teach "
                "nothing. Raise rollout.temperature or rollout.group_size, or use a judge with a finer scale."
            ),
        )
