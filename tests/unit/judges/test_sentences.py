"""The hand-made corpus of sentences and small reports, and how much of it the findings judge reads right."""

from __future__ import annotations

from collections import Counter


def test_the_corpus_is_large_enough_and_mostly_of_forms_that_nobody_quoted(corpus):
    rows = corpus.read_corpus()
    assert len(rows) >= 400 and min(Counter(row["kind"] for row in rows).values()) >= 30
    assert sum(row["quoted"] for row in rows) <= len(rows) / 2
    assert len({(row["text"], row.get("changed")) for row in rows}) >= len(rows) - 5


def test_nearly_all_of_it_is_read_right(corpus):
    counts = corpus.shares(corpus.read_corpus())
    right, total = (sum(column) for column in zip(*counts.values(), strict=True))
    assert right >= 0.97 * total, corpus.table(counts)
    assert all(right >= 0.9 * total for right, total in counts.values()), corpus.table(counts)


def test_most_of_the_sentences_written_after_the_rules_are_read_right(corpus):
    rows = corpus.read_corpus(corpus.CORPUS.with_name("findings_heldout.jsonl"))
    right, total = (sum(column) for column in zip(*corpus.shares(rows).values(), strict=True))
    assert total >= 90 and right >= 0.9 * total
