"""Reading a case for the judges that count findings: both reports parsed, and compared.

The candidates of a group share a reference, and the judges of a blend share the candidates, so neither is parsed twice.
"""

from __future__ import annotations

import functools

from judges.base import Case
from judges.findings.compare import Comparative, compare
from judges.findings.parse import Report, parse

NOT_READ = "the reference states nothing that the findings judge understands"  # why a case is unscorable
CACHED_CANDIDATES = 2048  # of the last calls, for the next judge of a blend

_parse_candidate = functools.lru_cache(maxsize=CACHED_CANDIDATES)(parse)


class CaseReader:
    """Parses and compares cases; `cached_references` parsed references are kept."""

    def __init__(self, cached_references: int) -> None:
        self._parse_reference = functools.lru_cache(maxsize=cached_references)(parse)

    def read(self, case: Case) -> tuple[Report, Comparative] | None:
        """The reference, and what the comparison says; None if the reference states nothing that is understood.

        Such a reference is not a normal one: no candidate could be right about it.
        """
        reference = self._parse_reference(case.reference)
        if not reference.findings:
            return None
        return reference, compare(_parse_candidate(case.candidate), reference)


def forget_candidates() -> None:
    """Parse every candidate anew, as a benchmark of speed must."""
    _parse_candidate.cache_clear()
