"""The corpus of sentences, read by the benchmark that measures it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def corpus(root) -> ModuleType:
    """benchmarks/findings_sentences.py"""
    sys.path.insert(0, str(root / "benchmarks"))  # as when the script is started
    try:
        return importlib.import_module("findings_sentences")
    finally:
        sys.path.pop(0)
