"""The habits that the demo policy starts with: faults of style that reinforcement learning can mend.

It compares with prior studies that it has not seen. Report generators trained on real corpora do this, because
radiologists write with the prior beside them; optimising preferences against it is a published use (Banerjee et al.,
arXiv 2406.06496). And it leaves out half of what it sees, as a report does that leans on an earlier one. Only the texts
that it learns from have the habits. The reference reports that judges read do not.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from online_rl.data.study import Study
from online_rl.demo.phrases import COMPARISONS
from online_rl.demo.reader import read_finding, split_sentences

SHARE = 0.85  # of the reports without a comparison
OMITTED = 0.5  # of the sentences that state a finding
COMPARES = re.compile(r"\b(prior|previous|unchanged|stable|increased|decreased|improved|worsened|new|resolved)\b", re.I)


def with_comparison(study: Study) -> Study:
    """The study, a sentence about a prior at the end of its report unless it compares already; by hash of its id."""
    digest = hashlib.sha256(f"habit/{study.study_id}".encode()).digest()
    if COMPARES.search(study.reference) or digest[0] / 256 >= SHARE:
        return study
    return replace(study, reference=f"{study.reference.rstrip()} {COMPARISONS[digest[1] % len(COMPARISONS)]}")


def with_omissions(study: Study) -> Study:
    """The study without half of the sentences that state a finding in the demo's phrases, by hash of their place."""
    kept = []
    for number, sentence in enumerate(split_sentences(study.reference)):
        digest = hashlib.sha256(f"omit/{study.study_id}/{number}".encode()).digest()
        if digest[0] / 256 >= OMITTED or not read_finding(sentence.removesuffix(".")):
            kept.append(sentence)
    return replace(study, reference=" ".join(kept)) if kept else study
