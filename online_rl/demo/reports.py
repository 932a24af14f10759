"""Writes the reference report and the indication of a study from its findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online_rl.demo import phrases
from online_rl.demo.pathology import DEVICES, FREQUENCY, Finding

WORDS = (30, 60)
USUAL_WORDS = (36, 48)  # one department's habit: verbosity then measures the policy, not the spread of the references
SENTENCES = (4, 7)
HINT_RATE = 0.25  # share of the indications that say more than a complaint
_ORDER = ("cardiomegaly", "edema", "consolidation", "nodule", "atelectasis", "effusion", "pneumothorax", *DEVICES)
_LUNGS = {"edema", "consolidation", "nodule", "atelectasis"}
_PARTS: dict[str, tuple[str, ...]] = {
    "heart": ("cardiomegaly",),
    "lungs": tuple(_LUNGS),
    "pleura": ("effusion", "pneumothorax"),
    "bones": (),
    "devices": DEVICES,
}
_NOUN = {
    "effusion": "{side} effusion",
    "pneumothorax": "{side} pneumothorax",
    "consolidation": "{side} {zone} lung opacity",
    "edema": "pulmonary edema",
    "cardiomegaly": "cardiomegaly",
    "atelectasis": "{side} atelectasis",
    "nodule": "{side} nodule",
}


def write_report(findings: Sequence[Finding], rng: np.random.Generator) -> str:
    """A report that states every finding and some of the negatives, and nothing that one image cannot show."""
    for attempt in range(200):
        sentences = _compose(findings, rng)
        words = sum(len(sentence.split()) for sentence in sentences)
        shortest, longest = USUAL_WORDS if attempt < 40 else WORDS
        if shortest <= words <= longest and SENTENCES[0] <= len(sentences) <= SENTENCES[1]:
            return " ".join(f"{sentence}." for sentence in sentences)
    raise AssertionError(f"no report of {WORDS} words for {[finding.label() for finding in findings]}")


def write_indication(findings: Sequence[Finding], prior: Sequence[Finding] | None, rng: np.random.Generator) -> str:
    """Why the study was asked for; about a quarter of them hint at a finding.

    findings  what this study shows; a hint points to one of them, or for a normal study to something that is not there
    prior     what the patient's last study showed, None for a first study. A follow-up's hint names one of these.
    """
    hinted = rng.random() < HINT_RATE
    templates: tuple[str, ...] = phrases.INDICATION
    why = _any(rng, phrases.COMPLAINTS)
    known = [finding for finding in prior or () if finding.name in _NOUN]
    if prior is not None:
        templates = phrases.FOLLOW_UP_OF if hinted and known else phrases.FOLLOW_UP
    elif hinted:
        names = [finding.name for finding in findings] or [str(_any(rng, list(FREQUENCY)))]
        why = _any(rng, phrases.HINTS[_any(rng, names)])
    return _any(rng, templates).format(
        why=why,
        Why=why[0].upper() + why[1:],
        what=noun(known[int(rng.integers(len(known)))]) if known else "",
        age=int(rng.integers(18, 95)),
        n=int(rng.integers(2, 11)),
        unit=_any(rng, ("days", "weeks")),
    )


def noun(finding: Finding) -> str:
    """What a follow-up calls it, such as "left effusion"."""
    return _NOUN[finding.name].format(side=finding.side, zone=finding.zone)


def _compose(findings: Sequence[Finding], rng: np.random.Generator) -> list[str]:
    """Sentences without full stops, in the usual order: heart, lungs, pleura, bones, devices."""
    names = {finding.name for finding in findings}
    told = {finding.name: _positive(finding, rng) for finding in sorted(findings, key=lambda f: _ORDER.index(f.name))}
    room = int(rng.choice((4, 5, 6, 7), p=(0.1, 0.25, 0.35, 0.3))) - len(told)
    negatives = _choose(_negatives(names, rng), max(room, 1), rng)
    part = {
        name: [told[finding] for finding in told if finding in members]
        + [text for where, text in negatives if where == name]
        for name, members in _PARTS.items()
    }
    order = ("heart", "lungs", "pleura", "bones", "devices")
    if part["devices"] and rng.random() < 0.3:  # some radiologists begin with the devices
        order = ("devices", "heart", "lungs", "pleura", "bones")
    return [sentence for name in order for sentence in part[name]]


def _negatives(names: set[str], rng: np.random.Generator) -> list[tuple[str, str, float]]:
    """Normal statements that are true here: (part of the report, text, how often it is said)."""
    stated: list[tuple[str, str, float]] = []
    if "cardiomegaly" not in names:
        stated.append(("heart", _any(rng, phrases.HEART_NORMAL), 0.9))
    else:
        stated.append(("heart", _any(rng, phrases.MEDIASTINUM_NORMAL), 0.4))
    if not names & (_LUNGS | {"effusion", "pneumothorax"}):
        stated.append(("lungs", _any(rng, phrases.LUNGS_CLEAR), 0.9))
    if not names & {"consolidation", "atelectasis"}:
        stated.append(("lungs", _any(rng, phrases.NO_CONSOLIDATION), 0.6))
    if "edema" not in names:
        stated.append(("lungs", _any(rng, phrases.NO_EDEMA), 0.45))
    if "nodule" not in names:
        stated.append(("lungs", _any(rng, phrases.NO_NODULE), 0.12))
    if not names & {"effusion", "pneumothorax"}:
        stated.append(("pleura", _any(rng, phrases.NO_PLEURA), 0.95))
    elif "effusion" not in names:
        stated.append(("pleura", _any(rng, phrases.NO_EFFUSION), 0.9))
    elif "pneumothorax" not in names:
        stated.append(("pleura", _any(rng, phrases.NO_PNEUMOTHORAX), 0.9))
    stated.append(("bones", _any(rng, phrases.BONES), 0.7))
    stated.append(("bones", _any(rng, phrases.ABDOMEN), 0.2))
    return stated


def _choose(negatives: list[tuple[str, str, float]], room: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Choose as many negatives as there is room for, the usual ones first, and return them in report order."""
    keys = rng.random(len(negatives)) ** (1 / np.array([weight for *_, weight in negatives]))
    kept = sorted(np.argsort(-keys)[:room])
    return [negatives[index][:2] for index in kept]


def _positive(finding: Finding, rng: np.random.Generator) -> str:
    key = f"{finding.name}/bilateral" if finding.side == "bilateral" else finding.name
    side, severity = finding.side or "", finding.severity or ""
    return _any(rng, phrases.POSITIVE[key]).format(
        sev=severity,
        Sev=severity.capitalize(),
        sevly=phrases.ADVERB.get(severity, ""),
        side=side,
        Side=side.capitalize(),
        zone=finding.zone,
        place=_any(rng, phrases.PLACES[finding.zone]).format(side=side) if finding.zone else "",
        texture=_any(rng, phrases.TEXTURE[severity]) if severity in phrases.TEXTURE else "",
        mm=finding.size_mm,
    )


def _any(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
