"""What the model card says of the reward: its formula, length control with its numbers, and the judges with hashes."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judges.composite import EPSILON
from judges.length import MOST, RULES
from judges.registry import BUILT_IN, GIVEN
from judges.transform import formula
from online_rl.config import Config
from online_rl.config.model import JudgeSpec, RewardSpec

DIGITS = 16  # of a SHA-256, the number that the console shows at the start of a run

_OWED = f"; a negative value is multiplied by the divisor, at most by {MOST:g}"
# The words in italics are the rule's numbers.
FORMULAS = {
    "lc_green": "value / max(verbosity, 1)" + _OWED,
    "symmetric": "value / max(verbosity, 1 / verbosity)" + _OWED,
    "soft_overlong": (
        "value * (1 + penalty), or value * (1 - penalty) below zero, or value + penalty where *form* is subtractive. "
        "The penalty is 0 up to a verbosity of *limit* - *cache*, falls linearly from there, and is -1 above *limit*"
    ),
    "target_band": (
        "value / (1 + abs(multiplier) * excess)" + _OWED + ". The excess is how far the verbosity lies above *high* "
        "while the multiplier is at least 0, and below *low* while it is negative. After each step the multiplier "
        "moves by *rate* * (mean verbosity - *high*), or - *low* while it is negative, at most to *limit* on either "
        "side, and stops at 0 before it changes its sign"
    ),
}


def reward_section(cfg: Config, state: Mapping[str, Any]) -> str:
    """The reward in Markdown.

    state  of the checkpoint: what judges keep there, as the multiplier of a length rule or what a server served
    """
    kept = state.get("judges", {})
    entries: list[JudgeSpec] = [*cfg.judges, *cfg.guards]
    parts = [f"`{reward_formula(cfg.judges)}`", *_how_it_is_learned(cfg)]
    parts += [_length_control(entry, kept.get(entry.label, {})) for entry in entries if entry.length_control != "none"]
    return "\n\n".join([*parts, _table(entries, kept)])


def reward_formula(judges: Sequence[RewardSpec]) -> str:
    """`reward = lc_green(green) + 0.5 * [findings.false_finding == 0] * short`, without judges of weight 0."""
    terms = []
    for judge in judges:
        if judge.weight:
            value = formula(judge.label, judge.transform)
            value = value if judge.length_control == "none" else f"{judge.length_control}({value})"
            factors = [] if judge.weight == 1 else [f"{judge.weight:g}"]
            factors += [f"[{judge.only_if}]"] if judge.only_if else []
            terms.append(" * ".join([*factors, value]))
    return "reward = " + (" + ".join(terms) or "0")


def _how_it_is_learned(cfg: Config) -> list[str]:
    sentences = []
    if any(judge.only_if and judge.weight for judge in cfg.judges):
        sentences.append("A condition in brackets is 1 where it holds for the candidate's scores, otherwise 0.")
    if cfg.scoring.multi_objective_aggregation == "normalize_then_sum":
        sentences.append(
            "The policy learned from the terms normalised one by one before they are weighted and summed: less their "
            f"mean within the group, over their standard deviation there + {EPSILON:g} (normalize_then_sum, GDPO)."
        )
    if cfg.scoring.truncated == "mask":
        sentences.append(
            f"Candidates cut at {cfg.rollout.max_completion_tokens} tokens had no reward and taught nothing "
            "(scoring.truncated: mask)."
        )
    if cfg.guards:
        names = ", ".join(f"`{guard.label}`" for guard in cfg.guards)
        sentences.append(f"Guards were scored and never rewarded, unless a condition above reads them: {names}.")
    return [" ".join(sentences)] if sentences else []


def _length_control(entry: JudgeSpec, kept: Mapping[str, Any]) -> str:
    rule = entry.length_control
    takes = inspect.signature(RULES[rule]).parameters.values()
    numbers = {p.name: p.default for p in takes if p.default is not p.empty} | entry.length_args
    given = ", ".join(f"{name} {value}" for name, value in numbers.items())
    multiplier = kept.get("rule", {}).get("multiplier")
    at_the_end = f" At this step the multiplier is {multiplier:.4g}." if isinstance(multiplier, int | float) else ""
    return (
        f"Length control of `{entry.label}`, `{rule}`{f' ({given})' if given else ''}: {FORMULAS[rule]}. Verbosity is "
        f"candidate / reference report, in {entry.length_unit}.{at_the_end}"
    )


def _table(entries: Sequence[JudgeSpec], kept: Mapping[str, Any]) -> str:
    lines = [
        "| judge | weight | length control | settings (SHA-256) | judge and prompt (SHA-256) | where it is |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        weight = f"{entry.weight:g}" if isinstance(entry, RewardSpec) else "guard"
        cells = (
            entry.label.replace("|", "\\|").replace("\n", " "),
            weight,
            entry.length_control,
            settings_hash(entry),
            judge_hash(entry, kept.get(entry.label, {})),
            whereabouts(entry.use).replace("|", "\\|"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_hash(entry: JudgeSpec) -> str:
    """Everything that the configuration says of a judge, except its name and its weight, which stand beside it."""
    return digest(json.dumps(entry.model_dump(mode="json", exclude={"name", "weight"}), sort_keys=True))


def judge_hash(entry: JudgeSpec, kept: Mapping[str, Any]) -> str:
    """The hash by which the console and a judge server name a judge: of its code, its prompt and its arguments.

    kept  what the checkpoint has of it; of a judge behind a server, what was served in training
    """
    from judges.identity import identify
    from judges.registry import load_judge

    if entry.use == "http" or entry.use.startswith("radeval:"):
        served = kept.get("judge", kept)  # length control keeps it one level down
        known = str(served.get("hash") or entry.args.get("hash") or "")
        name = str(served.get("name") or entry.args.get("judge") or "")
        return f"{known[:DIGITS]}, served{f' as {name}' if name else ''}" if known else "of a server, not known"
    try:
        judge = load_judge(entry.use, entry.args, name=entry.label, transform=entry.transform)
        return identify(judge, entry.use, entry.args).hash[:DIGITS]
    except Exception:  # a judge of another machine does not keep a policy from being exported
        return "not at hand when exported"


def whereabouts(use: str) -> str:
    """The place at which a reader finds the judge: this package, a module, or a file name with its SHA-256.

    A file's folders stay out of it.
    """
    place, colon, attribute = use.rpartition(":")
    if not colon or use in BUILT_IN:
        return "online-rl" if use in BUILT_IN else "entry point"
    if place == GIVEN:
        return "an object in Python"
    if not place.endswith(".py"):
        return f"`{use}`"
    path = Path(place)
    try:
        found = f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]}"
    except OSError:
        found = "not at hand when exported"
    return f"`{attribute}` in `{path.name}`, {found}"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
