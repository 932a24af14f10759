"""Sampling seeds that depend on what is sampled, never on which rank samples it or in which order."""

import hashlib

SEED_SPACE = 2**31


def group_seed(run_seed: int, step: int, study_id: str, group_size: int, resampled: int = 0) -> int:
    """Seed of candidate 0; candidate i samples with this plus i (vLLM numbers the members of a group that way).

    resampled  the round of `algorithm.resample_rounds`, or 0: a study that comes again in a step gets other reports
    The result leaves room for `group_size` successors below 2**31.
    """
    place = f"{step}.{resampled}" if resampled else f"{step}"
    digest = hashlib.sha256(f"{run_seed}/{place}/{study_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % (SEED_SPACE - group_size)
