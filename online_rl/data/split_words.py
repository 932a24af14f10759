"""What data sets call their splits."""

from __future__ import annotations

SPLITS = {
    "train": ("train", "training"),
    "eval": ("eval", "evaluation", "validate", "validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


def split_named(name: str) -> str | None:
    """The split that a name begins with, as in `test_reviewed` and `eval-00000`; None if it is none."""
    return next((split for word, split in SPLIT_OF.items() if name.lower().startswith(word)), None)
