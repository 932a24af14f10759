"""The habit that the demo policy is warm-started with: it compares with prior studies that it has not seen.

Report generators trained on real corpora do this, because radiologists write with the prior beside them; optimising
preferences against it is a published use (Banerjee et al., arXiv 2406.06496). Only the texts of the warm start have
it. The reference reports that judges read do not, so the demo has a fault for reinforcement learning to find.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from online_rl.data.study import Study

SHARE = 0.85  # of the reports without a comparison
SENTENCES = (
    "No significant change compared to the prior study.",
    "Stable appearance since the prior study.",
    "Findings are unchanged compared to the prior study.",
)
COMPARES = re.compile(r"\b(prior|previous|unchanged|stable|increased|decreased|improved|worsened|new|resolved)\b", re.I)


def with_habit(study: Study) -> Study:
    """The study, a sentence about a prior at the end of its report unless it compares already; by hash of its id."""
    digest = hashlib.sha256(f"habit/{study.study_id}".encode()).digest()
    if COMPARES.search(study.reference) or digest[0] / 256 >= SHARE:
        return study
    return replace(study, reference=f"{study.reference.rstrip()} {SENTENCES[digest[1] % len(SENTENCES)]}")
