"""GREEN (Ostmeier et al., Findings of EMNLP 2024) as a judge: prompt, answer, and what lies between.

Imported by `judges.registry` when a configuration names it; imports the rest of `judges` alone.
"""

from judges.green.grammar import CATEGORIES, analysis_regex
from judges.green.neutralise import neutralise
from judges.green.parser import Analysis, UnreadableAnalysis, decided, decided_at, parse_analysis

__all__ = [
    "CATEGORIES",
    "Analysis",
    "UnreadableAnalysis",
    "analysis_regex",
    "decided",
    "decided_at",
    "neutralise",
    "parse_analysis",
]
