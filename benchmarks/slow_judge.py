"""A judge that is busy elsewhere: it answers `seconds` after it was asked, and computes nothing here."""

from __future__ import annotations

import asyncio
import zlib

from judges import Case, Score


class Slow:
    name = "slow"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    async def score(self, cases: list[Case]) -> list[Score]:
        await asyncio.sleep(self.seconds)
        return [Score(zlib.crc32(case.candidate.encode()) % 1000 / 1000) for case in cases]  # groups have a spread
