"""An OpenAI-compatible server that is no LLM: real sockets, answers as told, and one that answers by the rules."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from judges.base import Case
from judges.findings import FindingsJudge

COUNTS = (
    "matched_findings",
    "false_finding",
    "missing_finding",
    "wrong_location",
    "wrong_severity",
    "false_comparison",
    "omitted_comparison",
)


def counts(**given: int) -> str:
    """An answer to `error_count`."""
    return json.dumps(dict.fromkeys(COUNTS, 0) | given)


def by_the_rules(body: dict[str, Any]) -> str:
    """Count as the `findings` judge does, from the question alone."""
    text = body["messages"][-1]["content"]
    reference, candidate = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1] for tag in ("reference", "candidate"))
    [score] = FindingsJudge().score([Case("s", candidate, reference)])
    return counts(**{name: int(score.parts.get(name, 0)) for name in COUNTS})


@dataclass
class Chat:
    """`answer(body)` gives the text, an int for a bare HTTP status, or (text, finish_reason)."""

    answer: Callable[[dict[str, Any]], Any] = by_the_rules
    model: str = "llm"
    takes_schema: bool = True
    trial_status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        if path == "/v1/models":
            return self.trial_status, json.dumps({"data": [{"id": self.model}]}).encode()
        assert path == "/v1/chat/completions" and body is not None and body["model"] == self.model
        if "response_format" in body and not self.takes_schema:
            return 400, b"{}"
        if body["max_tokens"] == 1:  # the judge tries at its start
            return 200, self._completion("{", "length")
        with self.lock:
            self.bodies.append(body)
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
        try:
            answer = self.answer(body)
        finally:
            with self.lock:
                self.busy -= 1
        if isinstance(answer, int):
            return answer, b"{}"
        return 200, self._completion(*(answer if isinstance(answer, tuple) else (answer, "stop")))

    @staticmethod
    def _completion(text: str, reason: str) -> bytes:
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9}}).encode()
