"""The table at the end of a run: what the policy wrote before and after, on held-out studies."""

from __future__ import annotations

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
    rows = [("reward", "reward")]
    rows += [(k, f"raw score ({k.rpartition('/')[2]})") for k in sorted(after) if k.startswith("raw_reward/")]
    rows += ROWS[1:]
    rows += [(k, k.rpartition("/")[2].replace("_", " ")) for e in ERRORS for k in sorted(after) if k.endswith("/" + e)]
    found = [(label, before.get(key), after.get(key)) for key, label in rows]
    return [(label, old, new) for label, old, new in found if old is not None and new is not None]


def final_table(before: dict[str, float], after: dict[str, float], studies: int) -> str:
    """Plain text, so that it reads the same on a terminal and in a log."""
    rows = table_rows(before, after)
    width = max((len(label) for label, _, _ in rows), default=0)
    lines = [
        f"greedy reports of {studies} held-out studies",
        f"{'':{width}}  {'before':>8}  {'after':>8}  {'change':>8}",
    ]
    lines += [f"{label:{width}}  {old:8.3f}  {new:8.3f}  {new - old:+8.3f}" for label, old, new in rows]
    return "\n".join(lines)
