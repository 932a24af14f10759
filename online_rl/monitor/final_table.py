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


def final_table(before: dict[str, float], after: dict[str, float], studies: int) -> str:
    """Plain text, so that it reads the same on a terminal and in a log."""
    rows = [("reward", "reward")]
    rows += [(k, f"raw score ({k.rpartition('/')[2]})") for k in sorted(after) if k.startswith("raw_reward/")]
    rows += ROWS[1:]
    rows += [(k, k.rpartition("/")[2].replace("_", " ")) for e in ERRORS for k in sorted(after) if k.endswith("/" + e)]
    width = max(len(label) for _, label in rows)
    head = f"{'':{width}}  {'before':>8}  {'after':>8}  {'change':>8}"
    lines = [f"greedy reports of {studies} held-out studies", head]
    for key, label in rows:
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None:
            lines.append(f"{label:{width}}  {old:8.3f}  {new:8.3f}  {new - old:+8.3f}")
    return "\n".join(lines)
