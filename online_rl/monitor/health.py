"""Health hints: what an experienced eye would notice in the metrics, in plain words, with the key that helps."""

from __future__ import annotations

from collections.abc import Iterator

VERBOSITY_LOW, VERBOSITY_HIGH = 0.6, 1.4
CLIPPED_HIGH = 0.2
LOGP_DIFFERENCE_HIGH = 0.1  # nats, mean over a step
MASKED_HIGH = 0.5  # of the tokens, by the correction of the mismatch
UNSCORABLE_HIGH = 0.1
ZERO_STD_HIGH = 0.8


def hints(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yield (kind, sentence) for each thing that looks wrong in one step. The caller shows each kind once."""
    absent = float("nan")  # every comparison with NaN is false, so a metric that is not there gives no hint

    verbosity = metrics.get("verbosity/mean", absent)
    if verbosity < VERBOSITY_LOW:
        yield (
            "short",
            (
                f"reports are much shorter than their reference reports (verbosity {verbosity:.2f}, under "
                f"{VERBOSITY_LOW}): findings may be left out. Look at samples/ and at the judge's parts."
            ),
        )
    if verbosity > VERBOSITY_HIGH:
        yield (
            "long",
            (
                f"reports are much longer than their reference reports (verbosity {verbosity:.2f}, over "
                f"{VERBOSITY_HIGH}), often by repetition. length_control: lc_green on the judge works against it."
            ),
        )
    clipped = metrics.get("completions/clipped_ratio", absent)
    if clipped > CLIPPED_HIGH:
        yield (
            "clipped",
            (
                f"{clipped:.0%} of the completions were cut at the token limit (over {CLIPPED_HIGH:.0%}). "
                "Raise rollout.max_completion_tokens, or set scoring.truncated: mask."
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
                "little is learned. Set algorithm.grpo.correction: token_truncate, or raise correction_max."
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
