"""`radeval:METRIC` in a trainer's configuration: the `http` judge for a metric of `launch/metrics_server.sh`.

judges: [{use: "radeval:radgraph", args: {url: "http://localhost:8100"}}]
"""

from __future__ import annotations

from typing import Any

from judges.errors import JudgeError
from judges.radeval.metrics import METRICS
from judges.remote import HttpJudge


class RadEvalClient(HttpJudge):
    """Asks the metric server at `url` for one metric, which a subclass names; the arguments are the `http` judge's."""

    metric = ""

    def __init__(
        self, url: str | None = None, version: str | None = None, hash: str | None = None, timeout_s: float = 100.0
    ) -> None:
        self.name = self.metric
        self.how_to_start = f"bash launch/metrics_server.sh {self.metric}"
        if url is None:
            raise JudgeError(
                f"judge radeval:{self.metric}: args.url is missing, expected the address of a metric server, such as "
                f"http://localhost:8100. Start one with {self.how_to_start}."
            )
        super().__init__(url, self.metric, version, hash, timeout_s)


def __getattr__(name: str) -> Any:
    """The client of the metric `name`."""
    if name not in METRICS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(METRICS)}.")
    return type(name, (RadEvalClient,), {"metric": name, "__module__": __name__, "__doc__": RadEvalClient.__doc__})
