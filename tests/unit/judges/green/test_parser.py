"""The GREEN parser reads what GREEN writes, agrees with GREEN's parser there, and refuses everything else."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judges.green import UnreadableAnalysis, analysis_regex, decided, decided_at, parse_analysis
from judges.green.grammar import EXPLANATION, HEADERS
from judges.green.grammar import LABELS as GRAMMAR_LABELS
from judges.green.parser import bounds
from judges.green.server import STOPS
from tests.unit.judges.green.analyses import ANALYSES, LABELS

GOOD = """[Explanation]:
The candidate report misses an effusion.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 0.
(b) Missing a finding present in the reference: 1. Small left effusion.
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 2. Mild edema; Large nodule.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: 0.

[Clinically Insignificant Errors]:
None.

[Matched Findings]:
3. No pneumothorax; Normal heart size; PICC line."""  # 3 / (3 + 1 + 2) = 0.5
LIST = GOOD[GOOD.index("(a)") : GOOD.index("\n\n[Clinically Insig")]
SIGNIFICANT, INSIGNIFICANT = "[Clinically Significant Errors]:", "[Clinically Insignificant Errors]:"
MATCHED = "[Matched Findings]:"


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text to spoil"
    return text.replace(old, new)


@pytest.fixture(scope="module")
def green_score():
    """GREEN's own parser, without a model."""
    module = pytest.importorskip("green_score.green", reason="green-score is absent (requirements/green.txt)")
    green = module.GREEN.__new__(module.GREEN)
    green.categories = [SIGNIFICANT[1:-2], INSIGNIFICANT[1:-2], MATCHED[1:-2]]
    green.sub_categories = [f"({letter}) {label}" for letter, label in LABELS.items()]
    return green


def test_an_analysis_is_read():
    analysis = parse_analysis(GOOD)
    assert analysis.significant == {"a": 0, "b": 1, "c": 0, "d": 2, "e": 0, "f": 0}
    assert analysis.insignificant == dict.fromkeys("abcdef", 0)
    assert analysis.matched == 3
    assert analysis.green == 0.5  # 3 / (3 + 1 + 2)
    assert analysis.items["significant (d)"] == ("Mild edema", "Large nodule.")
    assert analysis.disagreeing == ()


def test_nothing_matched_is_zero_with_or_without_errors():
    nothing = changed("3. No pneumothorax; Normal heart size; PICC line.", "None.")
    assert parse_analysis(nothing).green == 0.0
    errors = nothing[nothing.index("(a)") : nothing.index("\n\n[Clinically Insig")]
    assert parse_analysis(nothing.replace(errors, "No clinically significant errors.")).green == 0.0


@settings(max_examples=10_000, database=None, suppress_health_check=list(HealthCheck))
@given(ANALYSES)
def test_ten_thousand_well_formed_analyses_are_read_as_written(written):
    analysis = parse_analysis(written.text)
    assert (analysis.significant, analysis.insignificant) == (written.significant, written.insignificant)
    assert (analysis.matched, analysis.green) == (written.matched, written.green)


def test_it_agrees_with_green_score_on_ten_thousand_analyses(green_score):
    @settings(max_examples=10_000, database=None, suppress_health_check=list(HealthCheck))
    @given(ANALYSES)
    def agrees(written):
        analysis = parse_analysis(written.text)
        assert analysis.green == green_score.compute_green(written.text)
        assert [*analysis.significant.values(), analysis.matched] == green_score.compute_error_count(written.text)

    agrees()


def test_it_agrees_with_green_score_on_the_published_analyses():
    """The 221 analyses in GREEN's repository, 134 shapes: counts, labels and punctuation kept, findings as "x".

    From tests/test_repro.py, and tests/responses_test.csv and results_GREEN-*.csv of its history; `green` is what
    `green_score` 0.0.12 computes. Five have a line twice; of these it counts one, and we refuse.
    """
    with Path(__file__).with_name("official_analyses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    readable = 0
    for row in rows:
        text = row["shape"].replace("|", "\n").replace("[S]", SIGNIFICANT).replace("[I]", INSIGNIFICANT)
        text = text.replace("[M]", MATCHED)
        for letter, label in LABELS.items():
            text = text.replace(f"({letter}) *:", f"({letter}) {label}:")
        if row["readable"] == "1":
            readable += int(row["times"])
            assert parse_analysis(text).green == pytest.approx(float(row["green"]), abs=1e-5)
        else:
            with pytest.raises(UnreadableAnalysis, match="doubled"):
                parse_analysis(text)
    assert (readable, sum(int(row["times"]) for row in rows)) == (216, 221)


FAKE = f"{SIGNIFICANT}\nNone.\n\n{INSIGNIFICANT}\nNone.\n\n{MATCHED}\n9. Everything.\n\n"
FOOLS_GREEN_SCORE = {  # FACTS: true score 0.5
    "header missing": changed(SIGNIFICANT + "\n", ""),
    "header misspelt": changed(SIGNIFICANT, "[Clinicaly Significant Errors]:"),
    "header in lower case": changed(SIGNIFICANT, SIGNIFICANT.lower()),
    "begins with Not many": changed("(a) False", "Not many errors.\n(a) False"),
    "begins with Nodule": changed("(a) False", "Nodule: see below.\n(a) False"),
    "a count without a period": changed("2. Mild edema", "2 Mild edema"),
    "all counts without a period": GOOD.replace("1. S", "1 S").replace("2. M", "2 M"),
    "a fake block before": changed("[Explanation]:\n", "[Explanation]:\n" + FAKE),
    "a fake block at the start": FAKE + GOOD,
    "a fake block on one line": changed("effusion.\n\n", "effusion. " + FAKE.replace("\n", " ") + "\n\n"),
    "a blank line inside": changed("(c) Mis", "\n(c) Mis"),
    "a blank line with spaces inside": changed("(d) Mis", "  \n(d) Mis"),
    "an absurd count": changed("3. No pneumothorax", "99999. No pneumothorax"),
}
ZERO_FOR_GREEN_SCORE = {
    "empty": "",
    "only blanks": " \n\n ",
    "refused": "I'm sorry, but I can't compare these reports.",
    "only the explanation": "[Explanation]:\nThe candidate report misses an effusion.",
    "the prompt's own template": "[Explanation]:\n<Explanation>\n\n[Clinically Significant Errors]:\n(a) <Error Type>: "
    "<The number of errors>. <Error 1>; <Error 2>\n\n[Clinically Insignificant Errors]:\n(a) <Error Type>: <The number "
    "of errors>. <Error 1>\n\n[Matched Findings]:\n<The number of matched findings>. <Finding 1>; <Finding 2>",
}
NOT_GREENS_FORM = {
    "a section twice": GOOD + "\n\n" + MATCHED + "\n5. Everything.",
    "matched findings first": f"{MATCHED}\n3. x; y; z.\n\n" + GOOD[: GOOD.index(MATCHED)],
    "insignificant before significant": f"{INSIGNIFICANT}\nNone.\n\n{SIGNIFICANT}\n{LIST}\n\n{MATCHED}\n3. x; y; z.",
    "a line twice": changed("(c) Mis", "(b) Missing a finding present in the reference: 0.\n(c) Mis"),
    "lines out of order": f"{SIGNIFICANT}\n(b) {LABELS['b']}: 1. x\n(a) {LABELS['a']}: 0.\n\n{INSIGNIFICANT}\nNone.\n\n"
    f"{MATCHED}\n1. x",
    "letters and numbers mixed": changed("(c) Mis", "(3) Mis"),
    "an unknown letter": changed("(c) Mis", "(g) Mis"),
    "the label of another category": changed(LABELS["d"], LABELS["b"]).replace(LABELS["b"], LABELS["d"], 1),
    "no label": changed("(d) Misassessment of the severity of a finding: ", "(d) "),
    "two lines joined": changed("effusion.\n(c)", "effusion. (c)"),
    "a second count on the line": changed("1. Small", "0. Missing a finding: 1. Small"),
    "an empty list": changed(LIST, ""),
    "an empty matched section": GOOD[: GOOD.index("3. No")],
    "None and lines": changed("(a) False", "None.\n(a) False"),
    "none of the other kind": changed("]:\nNone.", "]:\nNo clinically significant errors."),
    "not a plain statement of none": changed("]:\nNone.", "]:\nNone, except for the edema."),
    "no blank line between sections": changed(f"\n\n{INSIGNIFICANT}", f"\n{INSIGNIFICANT}"),
    "matched over two lines": changed("Normal heart size;", "Normal heart size;\n"),
    "something after the third section": GOOD + "\n\nOverall a good report.",
    "a number word": changed("2. Mild", "two. Mild"),
    "a decimal": changed("2. Mild", "2.5 Mild"),
    "a negative count": changed("2. Mild", "-2. Mild"),
    "a leading zero": changed("2. Mild", "02. Mild"),
    "Arabic digits": changed("2. Mild", "٢. Mild"),
    "NaN": changed("3. No pneumothorax", "NaN. No pneumothorax"),
    "two spaces before the count": changed(": 2. Mild", ":  2. Mild"),
    "a chat turn": changed("effusion.\n\n", "effusion.</s>\n<|assistant|>\n\n"),
    "a code fence": f"```\n{GOOD}\n```",
    "bold headers": GOOD.replace("[", "**[").replace("]:", "]:**"),
    "a look-alike letter in a header": changed(MATCHED, "[Mаtched Findings]:"),
    "a zero-width space in a header": changed(MATCHED, "[Matched\u200b Findings]:"),
    "a control character": changed("2. Mild", "2. \x1bMild"),
    "a line of a list in the explanation": changed("effusion.\n\n", f"effusion.\n(a) {LABELS['a']}: 0.\n\n"),
    "a header among the items": changed("Mild edema", "Mild edema [Matched Findings]: none"),
    "a header without brackets": changed("effusion.\n\n", "effusion.\nMatched findings: all of them.\n\n"),
    "very long": GOOD + " x" * 20_000,
}  # fmt: skip
UNREADABLE = FOOLS_GREEN_SCORE | ZERO_FOR_GREEN_SCORE | NOT_GREENS_FORM


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_everything_else_is_refused_without_quoting_it(text):
    with pytest.raises(UnreadableAnalysis) as refusal:
        parse_analysis(text)
    assert not any(word in str(refusal.value) for word in ("effusion", "edema", "pneumothorax", "Everything"))


def test_the_variants_do_fool_green_score(green_score):
    """Otherwise the list above would prove nothing."""
    assert green_score.compute_green(GOOD) == 0.5
    for name, text in FOOLS_GREEN_SCORE.items():
        if name != "a fake block on one line":  # which it reads as zero errors of zero matches
            assert green_score.compute_green(text) > 0.5, name
    assert all(green_score.compute_green(text) == 0 for text in ZERO_FOR_GREEN_SCORE.values())


@settings(max_examples=100)
@given(ANALYSES)
def test_every_truncation_before_the_matched_count_is_refused(written):
    start = written.text.index(MATCHED) + len(MATCHED) + 1
    counted = written.text[start].isdigit()
    end = start + (len(str(written.matched)) if counted else 2)  # "No"; from "None" on it says what it means
    for length in range(end + 1):
        with pytest.raises(UnreadableAnalysis):
            parse_analysis(written.text[:length])


@settings(max_examples=200)
@given(ANALYSES)
def test_the_score_is_decided_right_after_the_matched_count(written):
    text = written.text.rstrip().removesuffix("</s>") + "\n"  # generation goes on after it
    full = parse_analysis(text)
    place = decided_at(text)
    assert place is not None and parse_analysis(text[:place]).green == full.green
    assert text.index(MATCHED) < place <= len(text) - 1
    assert not decided(text[:place])  # "1." may still become "1.5", which is refused
    assert all(decided_at(text[:end]) == place for end in range(place + 1, len(text) + 1))


def test_an_undecided_answer_is_not_stopped():
    for text in (GOOD[: GOOD.index(MATCHED)], GOOD[: GOOD.index("3. No")] + "12", f"{MATCHED} 3. x"):
        assert not decided(text)


THREE = "3. No pneumothorax; Normal heart size; PICC line."


@pytest.mark.parametrize(
    "line",
    [
        "1. No pneumothorax. 2. Normal heart size. 3. PICC line.",
        "1. No pneumothorax; 2. Normal heart size; 3. PICC line",
        "1. no pneumothorax 2. normal heart size",
        "1. No pneumothorax, 2) normal heart size, 3) PICC line.",
        "1. 1. No pneumothorax 2. Normal heart size",
        "1. No pneumothorax; 2: Normal heart size.",
        "1. No pneumothorax 2 - Normal heart size 3 - PICC line",
        "1. PICC line, tip at rib 2. 2.Normal heart size.",
        "2. No pneumothorax. 3. Normal heart size.",
        "2. 1. No pneumothorax. 2. Normal heart size. 3. PICC line.",
        "0. 1. No pneumothorax.",
    ],
)
def test_items_numbered_on_the_line_of_their_count_are_not_one_item(line):
    """Read as a count of 1, such a line would lower the matches, and on a line of errors raise the score."""
    in_errors = changed("2. Mild edema; Large nodule.", line)
    for text in (changed(THREE, line), in_errors):
        with pytest.raises(UnreadableAnalysis, match="its items are numbered up to [123]$"):
            parse_analysis(text)


def test_items_numbered_behind_their_count_are_counted():
    for listed in ("1. No pneumothorax. 2. Normal heart size. 3. PICC line.", "1) No pneumothorax; 2) Heart; 3) PICC"):
        analysis = parse_analysis(changed(THREE, f"3. {listed}"))
        assert (analysis.matched, analysis.disagreeing) == (3, ())


@pytest.mark.parametrize("item", ["Now 2. before 1", "Nodule of 2.5 cm", "Stage 2. No change", "Tip at T2. No kink"])
def test_a_number_within_one_item_is_no_second_item(item):
    assert parse_analysis(changed(THREE, f"1. {item}.")).matched == 1


def test_a_list_that_begins_with_one_is_decoded_to_the_end_of_its_line():
    """Stopped after "1." it would be a count of 1."""
    text = changed(THREE, "1. No pneumothorax. 2. Normal heart size.")
    start = text.index(MATCHED)
    assert not any(decided(text[:end]) for end in range(start, len(text) + 1))
    assert decided_at(text + "\n") == len(text)
    assert not any(stop in text for stop in STOPS)
    assert any(stop in GOOD for stop in STOPS)


def test_counts_are_bounded_by_the_words_of_the_reports():
    reference, candidate = "No pneumothorax, normal heart size.", "Effusion."  # 5 words and 1
    assert bounds(reference, candidate) == {"a": 1, "b": 5, "c": 1, "d": 1, "e": 1, "f": 5, "matched": 1}
    one = GOOD.replace("2. Mild edema; Large nodule", "0").replace("3. No pneumothorax; Normal heart size;", "1.")
    assert parse_analysis(one, reference, candidate).green == 0.5  # 1 / (1 + 1)
    with pytest.raises(UnreadableAnalysis, match="matched findings: the count is 2; the reports allow 1"):
        parse_analysis(one.replace("1. PICC", "2. PICC"), reference, candidate)
    with pytest.raises(UnreadableAnalysis, match="allow 300"):
        parse_analysis(changed("3. No pneumothorax", "301. No pneumothorax"))
    assert bounds("word " * 400, "word " * 400)["matched"] == 300  # GREEN reads no more


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("1. Small left effusion.", "2. Small left effusion.", "significant (b)"),
        ("(c) Misidentification of a finding's anatomic location/position: 0.",
         "(c) Misidentification of a finding's anatomic location/position: 0. Left, not right.", "significant (c)"),
        ("3. No pneumothorax; Normal heart size;", "4. No pneumothorax; Normal heart size;", "matched findings"),
    ],
)  # fmt: skip
def test_a_count_that_disagrees_with_its_items_is_kept_and_named(old, new, named):
    analysis = parse_analysis(changed(old, new))
    assert analysis.disagreeing == (named,)
    counts = {
        **{f"significant ({k})": v for k, v in analysis.significant.items()},
        "matched findings": analysis.matched,
    }
    assert counts[named] == int(new.split(": ")[-1].split(".")[0])


@pytest.mark.parametrize(
    "options",
    [{}, {"score_only": True}, {"explanation_characters": 1, "item_characters": 1, "most": 1}, {"most": 299}],
    ids=str,
)
def test_every_match_of_the_regex_is_read(options):
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(analysis_regex(**options), fullmatch=True))
    def readable(text):
        analysis = parse_analysis(text)
        counts = [*analysis.significant.values(), *analysis.insignificant.values(), analysis.matched]
        assert max(counts) <= options.get("most", 99)

    readable()


@pytest.mark.parametrize("items", ["1.", "1. Small effusion", "No edema. 2. Nodule", "Edema 2 - nodule", "4.5. Nodule"])
def test_the_regex_has_no_room_for_numbered_items_whose_count_would_be_in_doubt(items):
    none = "".join(f"({letter}) {label}: 0.\n" for letter, label in GRAMMAR_LABELS.items())
    answer = f"{EXPLANATION}\nSame.\n\n{HEADERS[0]}\n{none}\n{HEADERS[1]}\n{none}\n{HEADERS[2]}\n1. "
    assert re.fullmatch(analysis_regex(), f"{answer}A 4.5 cm nodule, right-sided. No edema.")
    assert not re.fullmatch(analysis_regex(), answer + items)


def test_the_regex_accepts_an_analysis_and_every_count_up_to_its_limit():
    for most in (1, 9, 10, 19, 25, 99, 100, 205):
        whole = re.compile(analysis_regex(most=most, score_only=True))
        head = GOOD[: GOOD.index("3. No")].replace("]:\nNone.", "]:\n" + LIST)
        head = head.replace("2. Mild edema; Large nodule", "1. Mild edema").replace("effusion.\n\n", "effusion.\n\n")
        head = head.replace(";", ",")
        accepted = [count for count in range(300) if whole.fullmatch(f"{head}{count}.")]
        assert accepted == list(range(most + 1))
    with pytest.raises(ValueError, match="most 0"):
        analysis_regex(most=0)


def test_a_line_may_have_a_limit_of_its_own():
    limits = {"a": 1, "b": 12, "c": 0, "d": 1, "e": 1, "f": 12, "matched": 1}
    pattern = analysis_regex(40, 20, limits, score_only=True)
    errors = {letter: f"({letter}) {label}: 0.\n" for letter, label in GRAMMAR_LABELS.items()}

    def answer(**changed: str) -> str:
        lines = "".join((errors | {k: f"({k}) {GRAMMAR_LABELS[k]}: {v}\n" for k, v in changed.items()}).values())
        none = "".join(errors.values())
        return f"{EXPLANATION}\nSame.\n\n{HEADERS[0]}\n{lines}\n{HEADERS[1]}\n{none}\n{HEADERS[2]}\n1."

    assert re.fullmatch(pattern, answer(b="12. many"))
    assert not re.fullmatch(pattern, answer(a="2. two")) and not re.fullmatch(pattern, answer(c="1. one"))
