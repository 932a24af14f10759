"""`HttpJudge`: a judge in another process or on another machine, behind `python -m judges.serve`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from judges.base import Case, Score
from judges.errors import CheckpointError, ConfigError, JudgeError
from judges.http_answers import TooLarge, ask
from judges.wire import PROTOCOL, decode_score, encode_cases

START_PATIENCE_S = 30.0  # a server that was started together with the run may still be loading its judge


class HttpJudge:
    """Asks the judge server at `url`.

    url                  where the server listens, such as http://localhost:8100
    judge, version, hash what the server must be; each is checked if it is given (a hash by its first letters)
    timeout_s            seconds that one call may take to connect, and between two pieces of its answer

    Out of reach, too slow, 429 and 5xx: the cases failed, and are asked again within the trainer's budget, no sooner
    than the server's Retry-After says. Any other
    4xx: JudgeError, since asking again would not help. An answer that cannot be read is unscorable. Proxies of the
    environment are not used and redirects not followed: reports go to the address that was named and nowhere else.
    """

    name = "http"
    how_to_start = "python -m judges.serve --use NAME --port PORT"

    def __init__(
        self,
        url: str,
        judge: str | None = None,
        version: str | None = None,
        hash: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        import httpx

        if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
            raise JudgeError(f"judge http: args.url is {url!r}, expected http://HOST:PORT of a judge server.")
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as problem:
            raise JudgeError(f"judge http: args.url is {url!r} ({problem}), expected http://HOST:PORT.") from None
        if not address.host or (address.port or 0) > 65535:
            raise JudgeError(f"judge http: args.url is {url!r}, expected http://HOST:PORT with a port up to 65535.")
        self.url = url.rstrip("/")
        self.expected = {"name": judge, "version": version, "hash": hash}
        self._client = httpx.Client(timeout=timeout_s, trust_env=False, follow_redirects=False)
        self._unreachable = httpx.RequestError  # an answer that cannot be decoded as well
        self._served: dict[str, str] = {}
        self._resumed: Mapping[str, Any] = {}
        self._counts = {"requests": 0.0, "unreadable_answers": 0.0}
        self._lock = threading.Lock()

    @property
    def addresses(self) -> list[str]:
        """Where report text goes."""
        return [self.url]

    def start(self) -> None:
        """Check that the server is there and serves what is expected. Raises ConfigError."""
        found = self._who_is_there()
        if isinstance(found.get("judges"), list):  # of a server with several judges, each has a path of its own
            wanted = self.expected["name"]
            if wanted not in found["judges"]:
                raise ConfigError(
                    f"judge {self.name!r}: {self.url} serves {', '.join(map(str, found['judges']))}; args.judge is "
                    f"{wanted!r}, expected one of these. Correct args.judge, or look at what the server said at its "
                    "start about judges that are not there."
                )
            self.url = f"{self.url}/{wanted}"
            found = self._who_is_there()
        self._check(found)

    def _who_is_there(self) -> dict[str, Any]:
        """The answer of GET /judge, waiting for a server that is still loading. Raises ConfigError."""
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            try:
                answer = ask(self._client, "GET", f"{self.url}/judge")
                if answer.status < 500:
                    break
                problem = f"answers HTTP {answer.status}"
            except self._unreachable as error:
                problem = f"cannot be reached ({type(error).__name__})"
            except TooLarge as error:
                raise ConfigError(f"judge {self.name!r}: {self.url}/judge: {error}. Correct args.url.") from None
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"judge {self.name!r}: {self.url} {problem}, expected a judge server. Start it with "
                    f"{self.how_to_start}, or correct args.url."
                )
            time.sleep(0.5)
        if answer.status != 200:
            raise ConfigError(
                f"judge {self.name!r}: {self.url}/judge answers HTTP {answer.status}, expected 200 of a judge "
                f"server ({self.how_to_start}). Correct args.url."
            )
        return _object(answer.content)

    def _check(self, served: dict[str, Any]) -> None:
        if served.get("protocol") != PROTOCOL or not all(isinstance(served.get(k), str) for k in self.expected):
            raise ConfigError(
                f"judge {self.name!r}: {self.url} answers, but not as a judge server of protocol {PROTOCOL}. Correct "
                "args.url, or start the server from the same version of this package."
            )
        for key, wanted in self.expected.items():
            found = served[key]
            if wanted is not None and (not found.startswith(wanted) if key == "hash" else found != wanted):
                raise ConfigError(
                    f"judge {self.name!r}: {self.url} serves {key} {found!r}, expected {wanted!r}. Start the right "
                    f"server, or correct args.{'judge' if key == 'name' else key}."
                )
        if self._resumed.get("hash", served["hash"]) != served["hash"]:
            raise CheckpointError(
                f"judge {self.name!r}: {self.url} serves hash {served['hash'][:16]!r}; the run was trained with "
                f"{self._resumed['hash'][:16]!r}. Serve the judge as it was, continue with this one by "
                "resume_allow=[judges], or start another run."
            )
        self._served = {key: str(served[key]) for key in (*self.expected, "use") if key in served}
        if served.get("granularity") == "group":
            self.granularity = "group"

    def score(self, cases: Sequence[Case]) -> list[Score]:
        body = encode_cases(cases)
        self._count("requests")
        try:
            kind = {"Content-Type": "application/json"}
            answer = ask(self._client, "POST", f"{self.url}/score", content=body, headers=kind)
        except self._unreachable as error:
            return [Score.failed(f"{self.url}: {type(error).__name__}") for _ in cases]
        except TooLarge as error:
            self._count("unreadable_answers")
            return [Score.unscorable(str(error)) for _ in cases]
        status = answer.status
        if status == 429 or status >= 500:
            return [Score.failed(f"{self.url}: HTTP {status}", answer.retry_after_s) for _ in cases]
        if status != 200:
            said = _object(answer.content).get("error") if status == 422 else None
            raise JudgeError(
                f"judge {self.name!r}: {self.url} answers HTTP {status}: "
                f"{said if isinstance(said, str) else 'asking again would not help; look at the server’s log'}"
            )
        return self._read(answer.content, len(cases))

    def _read(self, content: bytes, count: int) -> list[Score]:
        answer = _object(content)
        served = answer.get("hash")
        if self._served and isinstance(served, str) and served != self._served["hash"]:
            raise JudgeError(
                f"judge {self.name!r}: {self.url} now serves hash {served[:16]!r}, not {self._served['hash'][:16]!r} "
                "as at the start of the run: rewards would change their meaning. Serve the judge as it was."
            )
        items = answer.get("scores")
        if not isinstance(items, list) or len(items) != count:
            self._count("unreadable_answers")
            return [Score.unscorable("the server's answer cannot be read") for _ in range(count)]
        return [decode_score(item) for item in items]

    def drain_metrics(self) -> dict[str, float]:
        """Calls, and answers that could not be read, since the last time."""
        with self._lock:
            counts, self._counts = self._counts, dict.fromkeys(self._counts, 0.0)
        return counts

    def state_dict(self) -> dict[str, str]:
        return dict(self._served)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on only with the judge that the run was trained with; checked at once, or when the judge starts."""
        self._resumed = dict(state)
        if self._served:
            self._check({"protocol": PROTOCOL, **self._served})

    def close(self) -> None:
        self._client.close()

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1.0


def _object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`; an empty one for anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
