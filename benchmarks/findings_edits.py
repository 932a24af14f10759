"""Does the findings judge see one edit for what it is? Real reports, one edit each, the truth known by construction.

    python benchmarks/findings_edits.py [--json FILE]

Reads the Indiana University reports from `$ONLINE_RL_SHARED/data/iu-xray` (default: `../shared`). The reference is the
report as written, the candidate the same report with one edit. The edits are made with the word lists of this file,
not with the judge's lexicon or parser. A harmful edit counts as caught when its own error category grows and no other
does; a harmless one (order, synonyms, case, spacing) when the score stays the same, both against the report itself
and against another report. Speed is measured on one core.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import machine

from judges.base import Case
from judges.findings import FindingsJudge

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GOAL_CAUGHT, GOAL_HARMLESS, GOAL_SPEED = 0.95, 0.02, 300

# finding -> everything that reports call it, so that "occurs once" means the finding and not the word
TERMS = {
    "pleural effusion": r"(?:pleural )?effusions?|pleural fluid|costophrenic[^.]*?blunt\w*|blunt\w*[^.]*?costophrenic",
    "pneumothorax": r"pneumothora\w+",
    "consolidation": r"consolidati\w+|air ?space|infiltrat\w+|pneumonia|opacit\w+|opacification|alveolar|densit\w+",
    "atelectasis": r"atelecta\w+|volume loss|collapse\w*",
    "pulmonary edema": r"edema|congesti\w+|heart failure|chf|fluid overload|engorge\w+|vascular prominence",
    "cardiomegaly": r"cardiomegaly|enlarge\w*|borderline",
    "nodule": r"nodul\w+|mass(?:es)?|lesions?",
    "granuloma": r"granulom\w+|calcifi\w+|calcific",
    "rib fracture": r"fractur\w+|deformit\w+",
    "hiatal hernia": r"hernia",
    "scoliosis": r"scolio\w+|dextro\w+|levo\w+|curvature",
    "emphysema": r"emphysem\w+|copd|hyperinflat\w+|hyperexpan\w+|hyper\w+|bull\w+|obstructive|flatten\w+|retrosternal",
    "scarring": r"scar\w*|fibro\w+",
    "hemidiaphragm elevation": r"elevat\w+|eventration",
}
PATTERNS = {term: re.compile(rf"\b(?:{words})\b", re.I) for term, words in TERMS.items()}
SIDED = ("pleural effusion", "pneumothorax", "consolidation", "atelectasis", "nodule", "granuloma", "rib fracture",
         "scarring", "hemidiaphragm elevation")  # fmt: skip
NEGATED = re.compile(
    r"\b(?:no|not|without|free|negative|clear|resolved|removed|removal|resolution|absent|rather)\b", re.I
)
DOUBT = re.compile(r"\b(?:may|possib\w+|probab\w+|could|versus|vs|question\w*|suspic\w+|exclude\w*|suggest\w*|likely|"
                   r"or|concern\w*|represent\w*|either|consistent|compatible)\b", re.I)  # fmt: skip
COMPARED = re.compile(
    r"\b(?:stable|unchanged|chang\w+|again|prior|previous\w*|compar\w+|interval|new|newly|since|increas\w+|decreas\w+|"
    r"improv\w+|worse\w*|persist\w*|remain\w*|redemonstrat\w+|similar|develop\w+|resol\w+|progress\w+|larger|smaller|"
    r"recent|former\w*|old|last|still|less|more|prominent|diminish\w+|enlarging|stably|clearing)\b",
    re.I,
)
SWAPPED_SEVERITY = {"small": "large", "mild": "severe", "mildly": "severely", "minimal": "marked", "trace": "large",
                    "moderate": "minimal", "large": "small", "severe": "mild", "severely": "mildly", "tiny": "large",
                    "marked": "mild", "markedly": "mildly", "slight": "marked", "moderately": "minimally"}  # fmt: skip
SEVERITY = re.compile(rf"\b(?:{'|'.join(SWAPPED_SEVERITY)})\b", re.I)
ADDED = {
    "pleural effusion": "There is a moderate right pleural effusion.",
    "pneumothorax": "Small left apical pneumothorax.",
    "consolidation": "There is consolidation in the right lower lobe.",
    "atelectasis": "Mild bibasilar atelectasis is noted.",
    "pulmonary edema": "Mild pulmonary edema.",
    "cardiomegaly": "The heart is moderately enlarged.",
    "nodule": "A 9 mm nodule projects over the left upper lobe.",
    "rib fracture": "There is an acute fracture of the right seventh rib.",
    "hiatal hernia": "Large hiatal hernia.",
    "scoliosis": "There is scoliosis of the thoracic spine.",
    "emphysema": "The lungs are hyperinflated, consistent with emphysema.",
    "scarring": "Linear scarring in the left upper lobe.",
}
SYNONYMS = [
    (r"\bpleural effusion\b", "pleural fluid"),
    (r"\bcardiomegaly\b", "enlargement of the cardiac silhouette"),
    (r"\bheart size is normal\b", "the heart is normal in size"),
    (r"\bheart size normal\b", "the heart is not enlarged"),
    (r"\bnormal heart size(?=\.)", "the heart size is within normal limits"),
    (r"\bwithin normal limits\b", "normal"),
    (r"\bunremarkable\b", "normal"),
    (r"\bthe lungs are clear(?=\.)", "clear lungs"),
    (r"\bfocal airspace disease\b", "airspace consolidation"),
    (r"\bairspace opacit(?:y|ies)\b", "airspace disease"),
    (r"\bthere is no\b", "no evidence of"),
    (r"\bno evidence of\b", "there is no"),
    (r"\bnegative for\b", "no"),
    (r"\bhyperexpanded\b", "hyperinflated"),
    (r"\btortuosity of the (?:thoracic )?aorta\b", "tortuous aorta"),
    (r"\bbibasilar\b", "bilateral basilar"),
    (r"\bseen\b", "identified"),
    (r"\bbony\b", "osseous"),
    (r"\bsmall\b(?! to)", "tiny"),
    (r"\bsevere\b", "marked"),
    (r"\bunchanged\b", "stable"),
    (r"\bdegenerative changes of\b", "spondylosis of"),
    (r"\bpulmonary vasculature\b", "pulmonary vascularity"),
    (r"\binfiltrates?\b", "consolidation"),
    (r"\bpicc\b", "PICC line"),
    (r"\bhiatal hernia\b", "hiatus hernia"),
    (r"\bscarring\b", "scar"),
]

Sentences = list[str]
Edit = Callable[[Sentences, random.Random], Sentences | None]


def split(report: str) -> Sentences:
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=\S)", report) if re.search(r"\w", s)]


def terms_in(text: str) -> list[str]:
    return [term for term, pattern in PATTERNS.items() if pattern.search(text)]


def positive(sentences: Sentences) -> list[tuple[int, str]]:
    """(index, finding) of plain positive sentences with one finding that no other sentence speaks of."""
    plain = []
    for i, sentence in enumerate(sentences):
        found = terms_in(sentence)
        if len(found) != 1 or NEGATED.search(sentence) or DOUBT.search(sentence) or COMPARED.search(sentence):
            continue
        following = sentences[i + 1] if i + 1 < len(sentences) else ""
        if re.match(r"(?:this|these|it|they|findings?|the appearance)\b", following, re.I):
            continue  # the next sentence speaks of this one
        if not any(PATTERNS[found[0]].search(s) for j, s in enumerate(sentences) if j != i):
            plain.append((i, found[0]))
    return plain


def replaced(sentences: Sentences, i: int, new: str | None) -> Sentences:
    return sentences[:i] + ([new] if new else []) + sentences[i + 1 :]


def absent_to_present(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """ "No pleural effusion or pneumothorax." -> "There is pleural effusion. No pneumothorax." """
    choices = []
    for i, sentence in enumerate(sentences):
        match = re.fullmatch(
            r"(?:there (?:is|are) )?no (?:evidence of )?(?:focal |acute |definite |large )*"
            r"([\w ]+?)(?:,? or ([\w ]+?))?(?: (?:is|are) (?:seen|identified|noted))?\.",
            sentence,
            re.I,
        )
        if match is None or COMPARED.search(sentence):
            continue
        first, second = match.groups()
        found = terms_in(first)
        if len(found) != 1 or (second and PATTERNS[found[0]].search(second)):
            continue
        if not any(PATTERNS[found[0]].search(s) and not NEGATED.search(s) for s in sentences):
            choices.append((i, first, second))
    if not choices:
        return None
    i, first, second = rng.choice(choices)
    return replaced(sentences, i, f"There is {first}." + (f" No {second}." if second else ""))


def present_to_absent(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    if not choices:
        return None
    i, term = rng.choice(choices)
    match = PATTERNS[term].search(sentences[i])
    assert match is not None
    named = "cardiomegaly" if term == "cardiomegaly" else "emphysema" if term == "emphysema" else match.group(0)
    if term in ("hemidiaphragm elevation", "granuloma", "rib fracture"):
        named = term
    return replaced(sentences, i, f"No {named}.")


def side_swapped(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = []
    for i, term in positive(sentences):
        sides = re.findall(r"\b(left|right)\b", sentences[i], re.I)
        both = re.search(r"\b(?:bilateral\w*|both|bi\w+)\b", sentences[i], re.I)
        device = re.search(
            r"\b(?:atri\w+|ventric\w+|clip\w*|catheter|spine|quadrant|breast|shoulder)\b", sentences[i], re.I
        )
        if term in SIDED and len(sides) == 1 and not both and not device:
            choices.append(i)
    if not choices:
        return None
    i = rng.choice(choices)
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
    return replaced(sentences, i, re.sub(r"\b(left|right)\b", lambda m: swap[m[0]], sentences[i], flags=re.I))


def severity_changed(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = [i for i, _ in positive(sentences) if len(SEVERITY.findall(sentences[i])) == 1]
    choices = [i for i in choices if not re.search(r"\b(?:to|sized|degenerative|spine)\b", sentences[i], re.I)]
    if not choices:
        return None
    i = rng.choice(choices)
    return replaced(sentences, i, SEVERITY.sub(lambda m: SWAPPED_SEVERITY[m[0].lower()], sentences[i]))


def finding_removed(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    return replaced(sentences, rng.choice(choices)[0], None) if choices and len(sentences) > 1 else None


def finding_added(sentences: Sentences, rng: random.Random) -> Sentences | None:
    free = [t for t in ADDED if not any(PATTERNS[t].search(s) and not NEGATED.search(s) for s in sentences)]
    if not free:
        return None
    at = rng.randrange(len(sentences) + 1)
    if at < len(sentences) and re.match(r"(?:this|these|it|they)\b", sentences[at], re.I):
        at = len(sentences)
    return sentences[:at] + [ADDED[rng.choice(free)]] + sentences[at:]


def comparison_added(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    if not choices or any(COMPARED.search(s) for s in sentences):
        return None
    i, _ = rng.choice(choices)
    tail = rng.choice([", unchanged from the prior examination.", ", stable compared with the prior study.",
                       ", which has worsened since the previous radiograph.", ". This has improved."])  # fmt: skip
    return replaced(sentences, i, sentences[i].rstrip(". ") + tail)


def comparison_omitted(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = []
    for i, sentence in enumerate(sentences):
        compared = COMPARED.findall(sentence)
        if len(compared) != 1 or compared[0].lower() not in ("stable", "unchanged") or NEGATED.search(sentence):
            continue
        if re.search(r"\b(?:stable|unchanged) (?=\w)(?!in\b|from\b|since\b|and\b|with\b|when\b|as\b)", sentence, re.I):
            without = re.sub(r"\b(?:stable|unchanged) ", "", sentence, flags=re.I)
            if terms_in(without) or re.search(r"enlarged|tortuous|degenerative|normal", without, re.I):
                choices.append((i, without))
    if not choices:
        return None
    i, without = rng.choice(choices)
    return replaced(sentences, i, without)


def reordered(sentences: Sentences, rng: random.Random) -> Sentences | None:
    blocks: list[Sentences] = []
    for sentence in sentences:  # "These are unchanged." stays behind its sentence
        follows = re.match(
            r"(?:this|these|it|they|findings?|the appearance|appearance|there has|both)\b", sentence, re.I
        )
        follows = follows or (COMPARED.search(sentence) and not terms_in(sentence))
        if blocks and (follows or not blocks[-1][-1].endswith((".", "!", "?"))):
            blocks[-1].append(sentence)
        else:
            blocks.append([sentence])
    if len(blocks) < 2:
        return None
    rng.shuffle(blocks)
    return [
        sentence if sentence.endswith((".", "!", "?")) else sentence + "." for block in blocks for sentence in block
    ]


def synonyms(sentences: Sentences, rng: random.Random) -> Sentences | None:
    text = " ".join(sentences)
    usable = [(p, new) for p, new in SYNONYMS if re.search(p, text, re.I)]
    if not usable:
        return None
    pattern, new = rng.choice(usable)
    return split(re.sub(pattern, new, text, flags=re.I))


def case(sentences: Sentences, rng: random.Random) -> Sentences | None:
    change = rng.choice([str.upper, str.lower, str.title])
    return [change(sentence) for sentence in sentences]


def spacing(sentences: Sentences, rng: random.Random) -> Sentences | None:
    space = rng.choice(["  ", "\n", "\u00a0", " \u200b", "\r\n", "\t"])
    return [sentence.replace(" ", space) for sentence in sentences]


HARMFUL: dict[str, tuple[Edit, str]] = {
    "negation flipped: absent to present": (absent_to_present, "false_finding"),
    "negation flipped: present to absent": (present_to_absent, "missing_finding"),
    "side swapped": (side_swapped, "wrong_location"),
    "severity changed": (severity_changed, "wrong_severity"),
    "finding removed": (finding_removed, "missing_finding"),
    "finding added": (finding_added, "false_finding"),
    "comparison added": (comparison_added, "false_comparison"),
    "comparison omitted": (comparison_omitted, "omitted_comparison"),
}
HARMLESS: dict[str, Edit] = {"sentences reordered": reordered, "synonyms": synonyms, "case": case, "spacing": spacing}
CATEGORIES = (
    "false_finding",
    "missing_finding",
    "wrong_location",
    "wrong_severity",
    "false_comparison",
    "omitted_comparison",
)


def read_reports(section: str = "findings", fewest_words: int = 5) -> list[str]:
    shared = Path(os.environ.get("ONLINE_RL_SHARED", ROOT.parent / "shared"))
    path = shared / "data" / "iu-xray" / "indiana_reports.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; set ONLINE_RL_SHARED to the folder that holds data/iu-xray.")
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row[section].strip() for row in csv.DictReader(file)]
    return [text for text in texts if len(text.split()) >= fewest_words]


def run_harmful(judge: FindingsJudge, reports: list[str], edit: Edit, category: str, seed: int, most: int) -> dict:
    rng = random.Random(seed)
    caught = lowered = 0
    missed: list[dict] = []
    total = 0
    for report in rng.sample(reports, len(reports)):
        sentences = split(report)
        edited = edit(sentences, rng)
        if edited is None or total == most:
            continue
        total += 1
        score = judge.score([Case("edit", " ".join(edited), report)])[0]
        wrong = {name for name in CATEGORIES if score.parts.get(name)}
        caught += wrong == {category}
        lowered += score.value is not None and score.value < 1
        if wrong != {category}:
            missed.append(
                {"reference": report, "candidate": " ".join(edited), "wrong": sorted(wrong), "detail": score.detail}
            )
    return {
        "category": category,
        "edits": total,
        "right_category_only": caught,
        "score_lowered": lowered,
        "missed": missed,
    }


def run_harmless(judge: FindingsJudge, reports: list[str], edit: Edit, seed: int, most: int) -> dict:
    rng = random.Random(seed)
    changed: list[dict] = []
    total = 0
    for i, report in enumerate(rng.sample(reports, len(reports))):
        edited = edit(split(report), rng)
        if edited is None or total == most:
            continue
        total += 1
        reference = report if i % 2 else rng.choice(reports)
        before, after = judge.score([Case("a", report, reference), Case("b", " ".join(edited), reference)])
        if before.value != after.value:
            changed.append({"reference": reference, "before": report, "after": " ".join(edited),
                            "details": [before.detail, after.detail]})  # fmt: skip
    return {"edits": total, "score_changed": len(changed), "missed": changed}


def measure_speed(reports: list[str], group: int = 8, studies: int = 200, repeats: int = 7) -> dict:
    rng = random.Random(0)
    cases = [
        Case(str(i), rng.choice(reports), reference)
        for i, reference in enumerate(rng.sample(reports, studies))
        for _ in range(group)
    ]
    rates = []
    for _ in range(repeats):
        judge = FindingsJudge()  # empty cache of references each time
        started = time.process_time()
        judge.score(cases)
        rates.append(len(cases) / (time.process_time() - started))
    return {"pairs_per_second": round(statistics.median(rates)), "lowest": round(min(rates)),
            "highest": round(max(rates)),
            "pairs": len(cases), "group": group, "repeats": repeats}  # fmt: skip


def table(result: dict) -> str:
    rows = ["| one edit | should be | edits | in that category alone | score lowered |", "|---|---|---|---|---|"]
    for name, row in result["harmful"].items():
        n = max(row["edits"], 1)
        rows.append(f"| {name} | {row['category']} | {row['edits']} | {row['right_category_only'] / n:.1%} | "
                    f"{row['score_lowered'] / n:.1%} |")  # fmt: skip
    rows.append(
        f"| **all** | goal {GOAL_CAUGHT:.0%} | {result['edits']} | **{result['caught']:.1%}** | "
        f"{result['lowered']:.1%} |"
    )
    rows += ["", "| harmless edit | edits | score changed |", "|---|---|---|"]
    for name, row in result["harmless"].items():
        rows.append(f"| {name} | {row['edits']} | {row['score_changed'] / max(row['edits'], 1):.1%} |")
    rows.append(
        f"| **all** (goal at most {GOAL_HARMLESS:.0%}) | {result['harmless_edits']} | **{result['changed']:.1%}** |"
    )
    second = result["impressions"]
    rows += ["", f"The lexicon was written with these findings sections at hand. On the impression sections of the "
             f"same collection ({second['reports']} of them): {second['caught']:.1%} of {second['edits']} single "
             f"edits in their category alone, {second['changed']:.1%} of {second['harmless_edits']} harmless ones "
             "change the score."]  # fmt: skip
    speed = result["speed"]
    rows += ["", f"{speed['pairs_per_second']} pairs per second on one core (median of {speed['repeats']} passes over "
             f"{speed['pairs']} pairs in groups of {speed['group']}, {speed['lowest']} to {speed['highest']}; goal "
             f"{GOAL_SPEED})."]  # fmt: skip
    return "\n".join(rows)


def evaluate(reports: list[str], most: int, misses_to: Path | None = None) -> dict:
    judge = FindingsJudge()
    harmful = {
        name: run_harmful(judge, reports, edit, category, seed, most)
        for seed, (name, (edit, category)) in enumerate(HARMFUL.items())
    }
    harmless = {
        name: run_harmless(judge, reports, edit, 100 + seed, most) for seed, (name, edit) in enumerate(HARMLESS.items())
    }
    misses = {name: row.pop("missed") for name, row in (harmful | harmless).items()}  # report text: not in the results
    if misses_to:
        misses_to.write_text(json.dumps(misses, indent=1), encoding="utf-8")
    edits = sum(row["edits"] for row in harmful.values())
    calm = sum(row["edits"] for row in harmless.values())
    return {
        "harmful": harmful,
        "edits": edits,
        "caught": sum(row["right_category_only"] for row in harmful.values()) / edits,
        "lowered": sum(row["score_lowered"] for row in harmful.values()) / edits,
        "harmless": harmless,
        "harmless_edits": calm,
        "changed": sum(row["score_changed"] for row in harmless.values()) / calm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "findings_edits.json", help="where the numbers go")
    parser.add_argument("--most", type=int, default=600, help="edits of each kind")
    parser.add_argument("--misses", type=Path, help="write the misses (report text) to this file, to look at")
    options = parser.parse_args()
    reports, impressions = read_reports(), read_reports("impression", fewest_words=8)
    result = {
        "command": "python benchmarks/findings_edits.py",
        "machine": machine(),
        "reports": len(reports),
        **evaluate(reports, options.most, options.misses),
        "speed": measure_speed(reports),
        "impressions": {"reports": len(impressions), **evaluate(impressions, options.most)},
    }
    text = table(result)
    where = result["machine"]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    options.json.with_suffix(".md").write_text(
        f"# The findings judge under single edits\n\n`{result['command']}`, {len(reports)} reports (IU X-ray), on "
        f"{where['cpu']}, {where['cores']} cores, Python {where['python']}.\n\n{text}\n",
        encoding="utf-8",
    )
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
