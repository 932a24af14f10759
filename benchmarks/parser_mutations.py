"""GREEN analyses with known counts, and ways to spoil them: the material of `parser_fuzz.py`."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, replace

HEADERS = ("[Clinically Significant Errors]:", "[Clinically Insignificant Errors]:", "[Matched Findings]:")
LABELS = (
    "False report of a finding in the candidate",
    "Missing a finding present in the reference",
    "Misidentification of a finding's anatomic location/position",
    "Misassessment of the severity of a finding",
    "Mentioning a comparison that isn't in the reference",
    "Omitting a comparison detailing a change from a prior study",
)
ITEMS = (
    "Small left pleural effusion", "No pneumothorax", "2.5 cm nodule in the right upper lobe", "Stable cardiomegaly",
    "Left PICC tip at the level of T4. No kink", "Nodule (calcified)", "No. 7 rib fracture", "Normal heart size",
    "Ratio: 0.5", "None of the prior opacities", 'Reported as "unchanged"', "Mild edema, compared to 3/12",
    "Now 2. previously 1", "Bibasilar atelectasis", "Interval removal of the tube",
)  # fmt: skip
SENTENCES = (
    "The candidate report misses a finding.", "Both describe the lungs as clear.", "There are 2. discrepancies.",
    "No clinically significant errors were found in the first half.", "It also reports an effusion: a false finding.",
    "The matched findings are few.", "The reference (dated 3/12) has a comparison.",
)  # fmt: skip
NONE = ("None.", "None", "No clinically {} errors.", "No clinically {} errors were found.", "No errors.")


@dataclass(frozen=True)
class Line:
    place: int  # 0 to 5 for (a) to (f)
    count: int
    items: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """What an analysis says. `significant` and `insignificant` are lines in order, or a statement of none."""

    explanation: str
    significant: tuple[Line, ...] | str
    insignificant: tuple[Line, ...] | str
    matched: tuple[int, tuple[str, ...]] | str
    numbered: bool = False
    most: int = 40  # words in each report

    @property
    def value(self) -> float:
        matched = 0 if isinstance(self.matched, str) else self.matched[0]
        errors = 0 if isinstance(self.significant, str) else sum(line.count for line in self.significant)
        return matched / (matched + errors) if matched else 0.0

    @property
    def blocks(self) -> list[str]:
        """Explanation and three sections."""
        matched = self.matched if isinstance(self.matched, str) else listed(*self.matched)
        bodies = (self._lines(self.significant), self._lines(self.insignificant), matched)
        return [f"[Explanation]:\n{self.explanation}", *(f"{h}\n{b}" for h, b in zip(HEADERS, bodies, strict=True))]

    @property
    def text(self) -> str:
        return "\n\n".join(self.blocks)

    def _lines(self, lines: tuple[Line, ...] | str) -> str:
        if isinstance(lines, str):
            return lines
        marks = "123456" if self.numbered else "abcdef"
        return "\n".join(
            f"({marks[line.place]}) {LABELS[line.place]}: {listed(line.count, line.items)}" for line in lines
        )


def listed(count: int, items: tuple[str, ...]) -> str:
    return f"{count}. {'; '.join(items)}." if items else f"{count}."


def random_content(rng: random.Random) -> Content:
    """As GREEN writes them: mostly six lines, now and then fewer or none, mostly as many items as counted."""

    def counted(low: int, high: int) -> tuple[int, tuple[str, ...]]:
        count = rng.choice((rng.randint(low, high), low))
        return count, tuple(rng.choice(ITEMS) for _ in range(count if rng.random() < 0.9 else rng.randint(0, 3)))

    def lines(kind: str) -> tuple[Line, ...] | str:
        if rng.random() < 0.15:
            return rng.choice(NONE).format(kind)
        places = range(6) if rng.random() < 0.8 else sorted(rng.sample(range(6), rng.randint(1, 5)))
        return tuple(Line(place, *counted(0, rng.choice((1, 3, 12)))) for place in places)

    matched = counted(rng.choice((0, 1, 1, 1)), rng.choice((4, 12)))
    return Content(
        " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(1, 4))),
        lines("significant"),
        lines("insignificant"),
        rng.choice(("None.", "No matched findings.")) if matched[0] == 0 and rng.random() < 0.5 else matched,
        numbered=rng.random() < 0.2,
    )


# ---- spoilers: the text no longer says, whole and in GREEN's form, what it said; nothing else may be read from it

Mutation = Callable[[Content, random.Random], "str | None"]
ODD_COUNTS = ("two", "1.5", "-1", "+1", "1e1", "0x2", "01", "1,", "1 ", "I", "½", "²", "２", "٣", "NaN", "inf", "?",
              "", "<1>", "1-2", "1 or 2", "1..", "#1", "None", "a", "1\u200b", "(1)", "1'000", "1_0", "O")  # fmt: skip
WRONG_HEADERS: tuple[Callable[[str], str], ...] = (
    str.lower, str.upper, lambda h: h[1:], lambda h: h[:-1], lambda h: h.replace("]", ""), lambda h: f"**{h}**",
    lambda h: f"## {h}", lambda h: f" {h}", lambda h: h.replace(" ", "  "), lambda h: h.replace("i", "і"),
    lambda h: h.replace("[", "［"), lambda h: h[:5] + "\u200b" + h[5:], lambda h: h.replace("nd", "dn"),
    lambda h: h[:-1] + " :", lambda h: h.replace("s]", "]"), lambda h: f"({h[1:-2]}):", lambda h: h + " see below",
)  # fmt: skip
WITHOUT_PERIOD: tuple[str, ...] = ("", ":", ",", ")", ";", " -", "。")


def _with_lines(content: Content, rng: random.Random, fewest: int = 1) -> tuple[int, list[str]] | None:
    """Which of the two lists (1 or 2, as in `Content.blocks`), and its block as lines, header first."""
    lists = (content.significant, content.insignificant)
    places = [i for i, lines in enumerate(lists, 1) if not isinstance(lines, str) and len(lines) >= fewest]
    if not places:
        return None
    place = rng.choice(places)
    return place, content.blocks[place].split("\n")


def _put(content: Content, place: int, block: str | list[str]) -> str:
    blocks = content.blocks
    blocks[place] = block if isinstance(block, str) else "\n".join(block)
    return "\n\n".join(blocks)


def _on_line(change: Callable[[list[str], int, random.Random], list[str] | None], fewest: int = 1) -> Mutation:
    """A mutation of one list: `change` gets its lines (header first), an index from 1, and the dice."""

    def mutation(content: Content, rng: random.Random) -> str | None:
        found = _with_lines(content, rng, fewest)
        if not found:
            return None
        place, lines = found
        changed = change(lines, rng.randint(1, len(lines) - (fewest - 1) - 1), rng)
        return _put(content, place, changed) if changed else None

    return mutation


def _recount(line: str, count: str) -> str:
    """The line with `count` (what stands up to its period included) in place of its count."""
    head, colon, rest = line.partition(": ") if line.startswith("(") else ("", "", line)
    return f"{head}{colon}{count}{rest.partition('.')[2]}"


def header_missing(content: Content, rng: random.Random) -> str:
    place = rng.randint(1, 3)
    return _put(content, place, content.blocks[place].split("\n")[1:])


def header_misspelt(content: Content, rng: random.Random) -> str:
    place = rng.randint(1, 3)
    header, *body = content.blocks[place].split("\n")
    return _put(content, place, [rng.choice(WRONG_HEADERS)(header), *body])


def section_repeated(content: Content, rng: random.Random) -> str:
    blocks, other = content.blocks, random_content(rng).blocks
    blocks.insert(rng.randint(0, 4), other[rng.randint(1, 3)])
    return "\n\n".join(blocks)


def sections_reordered(content: Content, rng: random.Random) -> str:
    first, *rest = content.blocks
    order = rng.choice(((1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)))
    return "\n\n".join([first, *(rest[i] for i in order)])


def fake_block_before(content: Content, rng: random.Random) -> str:
    return "\n\n".join([*random_content(rng).blocks, *content.blocks])


def fake_block_in_explanation(content: Content, rng: random.Random) -> str:
    """The whole answer, or its sections on one line, inside the explanation."""
    fake = "\n\n".join(random_content(rng).blocks[1:])
    spoken = rng.choice((fake, fake.replace("\n", " "), fake.replace("\n\n", "\n")))
    return _put(content, 0, content.blocks[0] + rng.choice((" ", "\n", "\n\n")) + spoken)


def answer_after_answer(content: Content, rng: random.Random) -> str:
    between = rng.choice(("\n\n", "</s>\n<|assistant|>\n", "\n", "\n```\n", " "))
    return content.text + between + random_content(rng).text


def no_word_first(content: Content, rng: random.Random) -> str | None:
    """GREEN's parser takes a section whose body begins with "No" for one without errors."""
    found = _with_lines(content, rng)
    if not found:
        return None
    place, (header, first, *rest) = found
    word = rng.choice(("Not many.", "Nodule missed.", "Now:", "No", "Note", "Northwest", "None.", "No errors but:"))
    return _put(content, place, [header, *rng.choice(([word, first], [f"{word} {first}"])), *rest])


def odd_count(content: Content, rng: random.Random) -> str | None:
    count = rng.choice(ODD_COUNTS) + "."
    if rng.random() < 0.3 and count != "None.":  # which is a form of its own there
        return _matched(content, lambda line: _recount(line, count))
    return _on_line(lambda lines, i, _: [*lines[:i], _recount(lines[i], count), *lines[i + 1 :]])(content, rng)


def period_lost(content: Content, rng: random.Random) -> str | None:
    end = rng.choice(WITHOUT_PERIOD)

    def change(line: str) -> str:
        head, colon, rest = line.partition(": ") if line.startswith("(") else ("", "", line)
        return head + colon + rest.replace(".", end, 1)

    if rng.random() < 0.3:
        return _matched(content, change)
    return _on_line(lambda lines, i, _: [*lines[:i], change(lines[i]), *lines[i + 1 :]])(content, rng)


def absurd_count(content: Content, rng: random.Random) -> str | None:
    count = f"{rng.choice((content.most + 1, 100, 301, 999, 10_000, 99_999, 10**12, 10**80))}."
    if rng.random() < 0.5:
        return _matched(content, lambda line: _recount(line, count))
    return _on_line(lambda lines, i, _: [*lines[:i], _recount(lines[i], count), *lines[i + 1 :]])(content, rng)


def _matched(content: Content, change: Callable[[str], str]) -> str | None:
    if isinstance(content.matched, str):
        return None
    return _put(content, 3, f"{HEADERS[2]}\n{change(listed(*content.matched))}")


blank_line_inside = _on_line(
    lambda lines, i, rng: [*lines[:i], rng.choice(("", " ", "\t")), *lines[i:]] if i > 1 else None, fewest=1
)
lines_joined = _on_line(lambda lines, i, _: [*lines[:i], f"{lines[i]} {lines[i + 1]}", *lines[i + 2 :]], fewest=2)
line_doubled = _on_line(lambda lines, i, rng: [*lines[:i], _recount(lines[i], f"{rng.randint(0, 5)}."), *lines[i:]])
lines_swapped = _on_line(lambda lines, i, _: [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]], fewest=2)
section_emptied = _on_line(lambda lines, i, rng: [lines[0], *rng.choice(((), ("",), ("....",), ("-",)))])
bulleted = _on_line(
    lambda lines, i, rng: [lines[0], *(rng.choice(("- ", "* ", "  ", "> ", "1. ")) + x for x in lines[1:])]
)
separator_changed = _on_line(
    lambda lines, i, rng: [
        *lines[:i],
        lines[i].replace(": ", rng.choice((":", " - ", " = ", " ", ":\t")), 1),
        *lines[i + 1 :],
    ]
)


def _mark_changed(lines: list[str], i: int, rng: random.Random) -> list[str]:
    mark = rng.choice([m for m in "abcdefg1234567AB" if m != lines[i][1]])
    return [*lines[:i], f"({mark}{lines[i][2:]}", *lines[i + 1 :]]


def _label_changed(lines: list[str], i: int, rng: random.Random) -> list[str] | None:
    mark, _, rest = lines[i].partition(" ")
    label, colon, count = rest.partition(": ")
    other = rng.choice((*LABELS, "", "<Error Type>", "Error", label[:9], f"{label}: 0. {label}"))
    return None if other == label or not colon else [*lines[:i], f"{mark} {other}: {count}", *lines[i + 1 :]]


mark_changed, label_changed = _on_line(_mark_changed), _on_line(_label_changed)
count_behind_items = _on_line(
    lambda lines, i, _: (
        [*lines[:i], f"{head}: {items} {count}.", *lines[i + 1 :]]
        if (head := lines[i].partition(": ")[0])
        and (items := lines[i].partition(": ")[2].partition(". ")[2])
        and (count := lines[i].partition(": ")[2].partition(".")[0])
        else None
    )
)


def sections_joined(content: Content, rng: random.Random) -> str:
    """The blank line between two sections is gone."""
    blocks = content.blocks
    place = rng.randint(1, 2)
    blocks[place : place + 2] = [blocks[place] + rng.choice(("\n", " ", "")) + blocks[place + 1]]
    return "\n\n".join(blocks)


def truncated(content: Content, rng: random.Random) -> str:
    """Cut before the matched count and its period are there."""
    text = content.text
    start = text.index(HEADERS[2]) + len(HEADERS[2]) + 1
    end = start + 2 if isinstance(content.matched, str) else start + len(str(content.matched[0]))
    return text[: rng.randint(0, end)]


def chat_turn_inside(content: Content, rng: random.Random) -> str:
    blocks = content.blocks
    place = rng.randint(0, 3)
    marker = rng.choice(("</s>", "<|assistant|>", "<|user|>", "```", "[INST]", "<s>", "<unk>"))
    blocks[place] = blocks[place] + rng.choice(("\n", " ")) + marker + rng.choice(("\n", " ")) + rng.choice(ITEMS)
    return "\n\n".join(blocks)


SPOILERS: dict[str, Mutation] = {
    "header missing": header_missing, "header misspelt": header_misspelt, "section repeated": section_repeated,
    "sections reordered": sections_reordered, "sections joined": sections_joined,
    "section emptied": section_emptied,
    "fake block before": fake_block_before, "fake block in explanation": fake_block_in_explanation,
    "answer after answer": answer_after_answer, "chat turn inside": chat_turn_inside,
    "list begins with No": no_word_first, "count not an integer": odd_count, "period lost": period_lost,
    "absurd count": absurd_count, "count behind the items": count_behind_items,
    "blank line inside": blank_line_inside, "lines joined": lines_joined, "line doubled": line_doubled,
    "lines swapped": lines_swapped, "lines bulleted": bulleted, "separator changed": separator_changed,
    "mark changed": mark_changed, "label changed": label_changed, "truncated": truncated,
}  # fmt: skip


# ---- blind edits: they may hit anything, so the result may happen to be another analysis in GREEN's form

ALPHABET = string.ascii_letters + string.digits * 3 + " \n\n.:;()[]-" + "é\u200b\t"


def characters(content: Content, rng: random.Random) -> str:
    """One to eight characters inserted, deleted, replaced or exchanged."""
    text = list(content.text)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        i = rng.randrange(len(text) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            text.insert(i, rng.choice(ALPHABET))
        elif kind == 1:
            del text[i]
        elif kind == 2:
            text[i] = rng.choice(ALPHABET)
        else:
            text[i], text[i + 1] = text[i + 1], text[i]
    return "".join(text)


def structure(content: Content, rng: random.Random) -> str:
    """One to three edits of characters that are not letters: the ones that carry the form."""
    text = list(content.text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        i = rng.choice([i for i, character in enumerate(text) if not character.isalpha() and character != " "])
        text[i : i + 1] = rng.choice(([], [text[i]] * 2, [rng.choice("0123456789 \n.:;()[]")]))
    return "".join(text)


def _span(text: str, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(text))
    return start, min(start + rng.choice((3, 20, 80, 300)), len(text))


def span_deleted(content: Content, rng: random.Random) -> str:
    text = content.text
    start, end = _span(text, rng)
    return text[:start] + text[end:]


def span_moved_or_copied(content: Content, rng: random.Random) -> str:
    text = content.text
    start, end = _span(text, rng)
    rest = text if rng.random() < 0.5 else text[:start] + text[end:]
    place = rng.randrange(len(rest) + 1)
    return rest[:place] + text[start:end] + rest[place:]


def lines_edited(content: Content, rng: random.Random) -> str:
    """Whole lines deleted, doubled, exchanged or replaced by lines of another analysis."""
    lines, others = content.text.split("\n"), random_content(rng).text.split("\n")
    for _ in range(rng.choice((1, 1, 2))):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0 and len(lines) > 1:
            del lines[i]
        elif kind == 1:
            lines.insert(j, lines[i])
        elif kind == 2:
            lines[i], lines[j] = lines[j], lines[i]
        else:
            lines[i] = rng.choice(others)
    return "\n".join(lines)


def spliced(content: Content, rng: random.Random) -> str:
    """The head of this analysis and the tail of another, cut anywhere."""
    text, other = content.text, replace(random_content(rng), numbered=content.numbered).text
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


BLIND: dict[str, Mutation] = {
    "characters edited": characters, "punctuation and digits edited": structure, "span deleted": span_deleted,
    "span moved or copied": span_moved_or_copied, "lines edited": lines_edited, "spliced with another": spliced,
}  # fmt: skip
