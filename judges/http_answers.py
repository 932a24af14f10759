"""What every client of a judge server reads of an answer: no more bytes than an answer can have, and Retry-After."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

MOST_BYTES = 32 * 2**20  # of one answer, unpacked: thousands of analyses


class TooLarge(ValueError):
    """An answer has more than MOST_BYTES; the rest was not read."""

    def __init__(self) -> None:
        super().__init__(f"the answer is larger than {MOST_BYTES // 2**20} MiB")


@dataclass(frozen=True)
class Answer:
    """What a server answered: HTTP status, headers, and the whole body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def retry_after_s(self) -> float:
        return retry_after_s(self.headers)


def ask(client: Any, method: str, url: str, **keywords: Any) -> Answer:
    """One request by `client`, an httpx.Client or httpx itself. Raises TooLarge, and what httpx raises."""
    with client.stream(method, url, **keywords) as response:
        content = bytearray()
        for piece in response.iter_bytes():
            _add(content, piece)
    return Answer(response.status_code, response.headers, bytes(content))


async def ask_async(client: Any, method: str, url: str, **keywords: Any) -> Answer:
    """The same by an httpx.AsyncClient."""
    async with client.stream(method, url, **keywords) as response:
        content = bytearray()
        async for piece in response.aiter_bytes():
            _add(content, piece)
    return Answer(response.status_code, response.headers, bytes(content))


def retry_after_s(headers: Any, now: float | None = None) -> float:
    """Seconds that a server asks to be left alone (RFC 9110, Retry-After: a number or a date); 0 if it does not say.

    now  seconds since 1970; None is the clock's

    >>> retry_after_s({"Retry-After": "7"})
    7.0
    """
    try:
        text = str(headers.get("Retry-After") or headers.get("retry-after") or "").strip()
    except AttributeError:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _add(content: bytearray, piece: bytes) -> None:
    content += piece
    if len(content) > MOST_BYTES:
        raise TooLarge
