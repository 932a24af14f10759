"""The table at the end of a run: what the policy wrote before and after, on held-out studies."""

from __future__ import annotations

TRUTH = (  # what no reward pays for; labels only in the demo
    ("labels/f1", "F1 against labels"),
    ("findings/f1", "F1 of present findings"),
    ("findings/precision", "precision"),
    ("findings/recall", "recall"),
    ("findings/silent_on_abnormal", "silent on abnormal"),
    ("diversity/distinct", "distinct reports"),
    ("diversity/largest_cluster", "most frequent report"),
    ("image/gain_f1", "F1 gain of the image"),
)
SUPERVISED = (  # of reference reports under the policy
    ("loss", "loss, nats per token"),
    ("perplexity", "perplexity"),
    ("mean_token_accuracy", "token accuracy"),
)
ROWS = (("reward", "reward"), ("verbosity/mean", "verbosity"), ("completions/mean_words", "words per report"))
ERRORS = (
    "false_finding",
    "missing_finding",
    "wrong_location",
    "wrong_severity",
    "false_comparison",
    "omitted_comparison",
    "matched_findings",
)


def table_rows(before: dict[str, float], after: dict[str, float]) -> list[tuple[str, float, float]]:
    """(label, before, after) of the metrics that a reader asks for first, where both evaluations have them."""
    rows = [("reward", "reward"), *_judge_rows(after), *TRUTH, *ROWS[1:], *SUPERVISED]
    for error in ERRORS:
        keys = [key for key in sorted(after) if key.endswith("/" + error)]
        rows += [(key, error.replace("_", " ") + (f" ({_judge_of(key)})" if len(keys) > 1 else "")) for key in keys]
    found = [(label, before.get(key), after.get(key)) for key, label in rows]
    return [(label, old, new) for label, old, new in found if old is not None and new is not None]


def _judge_rows(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """Each judge by its own score, before length control if it has any, then the guards."""
    raw = [key for key in sorted(metrics) if key.startswith("raw_reward/")]
    controlled = {_judge_of(key) for key in raw}
    plain = [key for key in sorted(metrics) if key.startswith("rewards/") and key.endswith("/mean")]
    guards = [key for key in sorted(metrics) if key.startswith("guards/") and key.endswith("/mean")]
    return [
        *((key, f"raw score ({_judge_of(key)})") for key in raw),
        *((key, f"score ({_judge_of(key)})") for key in plain if _judge_of(key) not in controlled),
        *((key, f"guard ({_judge_of(key)})") for key in guards),
    ]


def _judge_of(key: str) -> str:
    """The judge's name in raw_reward/NAME, rewards/NAME/mean, judge/NAME/part, guards/NAME/part."""
    return key.split("/", 1)[1].removesuffix("/mean").rpartition("/")[0] or key.split("/", 1)[1].removesuffix("/mean")


def final_table(
    before: dict[str, float],
    after: dict[str, float],
    studies: int,
    width: int = 80,
    what: str = "greedy reports",
) -> str:
    """Plain text, so that it reads the same on a terminal and in a log; on a narrow terminal with a digit less.

    width  columns of the terminal
    what   what was evaluated of the studies
    """
    rows = table_rows(before, after)
    first = max((len(label) for label, _, _ in rows), default=0)
    column, digits = (8, 3) if first + 3 * 10 <= width else (max(5, (width - first) // 3 - 1), 2)
    gap = "  " if digits == 3 else " "

    def line(label: str, *cells: str) -> str:
        return gap.join([f"{label:{first}}", *(f"{cell:>{column}}" for cell in cells)])

    lines = [f"{what} of {studies} held-out studies", line("", "before", "after", "change")]
    lines += [
        line(label, f"{old:.{digits}f}", f"{new:.{digits}f}", f"{new - old:+.{digits}f}") for label, old, new in rows
    ]
    return "\n".join(lines)
