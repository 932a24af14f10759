"""The TensorBoard event files of a run: scalars, histograms, text, samples, and the chart pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# TensorBoard reads these tags as patterns that match from the start of a tag, hence ^ and $.
LAYOUT: dict[str, dict[str, list[Any]]] = {
    "Reward and length": {
        "Reward": ["Multiline", ["^train/reward$", "^eval/reward$"]],
        "Raw score (before length control)": ["Multiline", ["^(train|eval)/raw_reward(/.*)?$"]],
        "Reward by judge": ["Multiline", ["^train/rewards/.*/mean$"]],
        "Spread of rewards in a group": ["Multiline", ["^train/reward_std$", "^train/frac_reward_zero_std$"]],
        "Verbosity (1 = as long as the reference report)": [
            "Multiline",
            ["^train/verbosity/mean$", "^eval/verbosity/mean$"],
        ],
        "Completion length (tokens)": [
            "Multiline",
            ["^train/completions/mean_length$", "^train/completions/min_length$", "^train/completions/max_length$"],
        ],
        "Share cut at the token limit": ["Multiline", ["^train/completions/clipped_ratio$"]],
    },
    "Judge": {
        "Unscorable share": ["Multiline", ["^train/judge/unscorable_rate$"]],
        "Calls repeated": ["Multiline", ["^train/judge/retries$"]],
        "Share of candidates that no call reached": ["Multiline", ["^train/judge/failed_rate$"]],
        "Judge time that training waited for (s)": ["Multiline", ["^train/time/judge_exposed$"]],
        "Latency of a judge call (s)": ["Multiline", ["^train/judge/latency_p(50|95)$"]],
        "Judge calls in flight": ["Multiline", ["^train/judge/in_flight$"]],
        "Canaries (cases whose order is known)": ["Multiline", ["^train/canary/.*$"]],
        "Errors per report by category": ["Multiline", ["^train/judge/[^/]+/(false|missing|wrong|omitted)_.*$"]],
    },
    "Policy": {
        "Loss": ["Multiline", ["^train/loss$"]],
        "KL to the ref_model (nats per token)": ["Multiline", ["^train/kl$"]],
        "Entropy (nats per token)": ["Multiline", ["^train/entropy$"]],
        "Clip ratio": ["Multiline", ["^train/clip_ratio/.*$"]],
        "Gradient norm": ["Multiline", ["^train/grad_norm$"]],
        "Learning rate": ["Multiline", ["^train/learning_rate$"]],
        "vLLM against trainer (log-probability difference, nats)": [
            "Multiline",
            ["^train/sampling/sampling_logp_difference/.*$"],
        ],
        "DPO pairs per group": ["Multiline", ["^train/dpo/pairs_per_group$"]],
        "DPO accuracy": ["Multiline", ["^train/rewards/accuracies$"]],
        "DPO margin": ["Multiline", ["^train/rewards/margins$"]],
    },
    "Time": {
        "Step time (s)": ["Multiline", ["^train/step_time$"]],
        "Where the time goes (s)": ["Multiline", ["^train/time/[^/]+$"]],
        "Tokens per second": ["Multiline", ["^train/perf/tokens_per_second$"]],
        "Completions per second": ["Multiline", ["^train/perf/completions_per_second$"]],
        "Tokens so far": ["Multiline", ["^train/num_tokens$"]],
    },
}


class Board:
    """One event file per start of the run. On a resume, TensorBoard drops what earlier files hold past `start_step`."""

    def __init__(self, folder: Path, start_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow import; ranks without a monitor never pay for it

        resumed = folder.is_dir() and any(folder.glob("events.out.tfevents.*"))
        # A purge drops steps >= purge_step. A fresh start in a used folder drops everything.
        purge_step = None if not resumed else start_step + 1 if start_step > 0 else 0
        self._writer = SummaryWriter(str(folder), purge_step=purge_step, flush_secs=30)
        self._writer.add_custom_scalars(LAYOUT)

    def scalars(self, step: int, prefix: str, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(f"{prefix}/{name}", value, step)
        self._writer.flush()  # a killed run must not lose the steps that its checkpoint has

    def histogram(self, step: int, tag: str, values: list[float]) -> None:
        import numpy

        self._writer.add_histogram(tag, numpy.asarray(values, dtype=numpy.float64), step)

    def text(self, step: int, tag: str, text: str) -> None:
        # Lone surrogates cannot be written as UTF-8.
        self._writer.add_text(tag, text.encode("utf-8", "replace").decode("utf-8"), step)

    def image(self, step: int, tag: str, image: Any) -> None:
        import numpy

        self._writer.add_image(tag, numpy.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
