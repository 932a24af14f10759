"""`python -m judges.serve --use NAME --port P`: any judge over HTTP, with the standard library alone.

`JudgeServer` can hold several judges, each under its own path; `launch/metrics_server.sh` makes use of that.

For judges whose packages clash with the trainer's, or that live on a node of their own: this package is all that their
environment needs (Python 3.10 or newer). The trainer reaches it by

    judges: [{use: http, args: {url: "http://HOST:P"}}]

What is said is in `judges/wire.py`. The log has times, sizes and types of errors; never report text.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from judges.base import Case, Judge, Score
from judges.border import border, is_unreachable, where
from judges.errors import JudgeError, JudgeFailed, UserError
from judges.event_loop import LoopThread
from judges.identity import Identity, identify
from judges.registry import load_judge
from judges.wire import PROTOCOL, decode_cases, encode_scores

MOST_BYTES = 256 * 2**20  # of one request


class ServedJudge:
    """A judge behind a port. Calls are made one after another unless the judge is said to be thread-safe.

    An async judge is awaited on one event loop for all calls, on which it keeps its connections.
    """

    def __init__(self, judge: Judge, identity: Identity, workers: int = 1, max_wait: float = 100.0) -> None:
        self.judge, self.identity, self.max_wait = judge, identity, max_wait
        self.calls = threading.BoundedSemaphore(workers)
        self.loop = LoopThread(f"judge {judge.name!r}")

    def score(self, cases: Sequence[Case]) -> list[Score]:
        """Raises TimeoutError when its turn does not come, JudgeError when the judge breaks its contract, and what the
        judge raises when it falls over."""
        if not cases:
            return []
        if not self.calls.acquire(timeout=self.max_wait):
            raise TimeoutError
        try:
            answer: Any = self.judge.score(list(cases))
            scores = self.loop.result(answer) if inspect.isawaitable(answer) else answer
        finally:
            self.calls.release()
        if not isinstance(scores, list) or len(scores) != len(cases) or not all(isinstance(s, Score) for s in scores):
            got = f"{len(scores)} values" if isinstance(scores, list) else f"a {type(scores).__name__}"
            raise JudgeError(
                f"judge {self.judge.name!r} returned {got} for {len(cases)} cases; expected as many Score."
            )
        return scores

    def describe(self) -> dict[str, Any]:
        """The answer to GET /judge."""
        granularity = getattr(self.judge, "granularity", "completion")
        told = {key: value for key, value in self.identity.as_dict().items() if key != "file"}
        return {"protocol": PROTOCOL, "granularity": granularity, **told}

    def close(self) -> None:
        """Run the judge's own `close`, if it has one, and end its loop; what `close` raises is logged."""
        if hasattr(self.judge, "close"):
            try:
                self.judge.close()
            except BaseException as problem:
                _log(f"judge {self.judge.name!r}: close() raised {where(problem)}")
        self.loop.close()


class JudgeServer(ThreadingHTTPServer):
    """Judges behind a port, by name: one at /judge and /score, each of several at /NAME/judge and /NAME/score."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], served: Sequence[ServedJudge]) -> None:
        super().__init__(address, _Handler)
        self.served = {one.judge.name: one for one in served}

    def behind(self, path: str, end: str) -> ServedJudge | None:
        """The judge that a path such as /radgraph/score or, if it is the only one, /score means."""
        name = path.removesuffix(end).removeprefix("/")
        if not path.endswith(end):
            return None
        return next(iter(self.served.values())) if not name and len(self.served) == 1 else self.served.get(name)

    def run_until_stopped(self) -> None:
        """Serve until SIGTERM or Ctrl-C, then close the judges."""
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self.shutdown).start())
        paths = [f"/{name}" for name in self.served] if len(self.served) > 1 else [""]
        for path in paths:
            _log(f"listening on http://{self.server_address[0]!s}:{self.server_address[1]}{path}")
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self.serve_forever(poll_interval=0.1)
        finally:
            self.server_close()
            for one in self.served.values():
                one.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke; http.server would print a traceback."""
        _log(f"connection lost: {type(sys.exc_info()[1]).__name__}")


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"
    timeout = 600.0  # a client that stops in the middle of a request frees its thread

    def do_GET(self) -> None:
        one = self.server.behind(self.path, "/judge")
        if one is not None:
            return self._answer(200, one.describe())
        if self.path == "/judge":
            return self._answer(200, {"protocol": PROTOCOL, "judges": sorted(self.server.served)})
        self._answer(404, self._paths())

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            self.close_connection = True  # what follows on it is not a request
            return self._answer(413, {"error": f"expected a Content-Length of at most {MOST_BYTES} bytes"})
        body = self.rfile.read(int(length))
        one = self.server.behind(self.path, "/score")
        if one is None:
            return self._answer(404, self._paths())
        try:
            cases = decode_cases(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._answer(400, {"error": "the request is not a list of cases; see judges/wire.py"})
        started = time.perf_counter()
        status, answer = self._score(one, cases)
        name = f"{one.judge.name}: " if len(self.server.served) > 1 else ""
        _log(f"{name}{len(cases)} case(s), HTTP {status}, {time.perf_counter() - started:.3f} s")
        self._answer(status, answer)

    def _paths(self) -> dict[str, Any]:
        names = sorted(self.server.served)
        beginnings = f"; before them one of {', '.join(f'/{name}' for name in names)}" if len(names) > 1 else ""
        return {"error": f"there is GET /judge and POST /score{beginnings}"}

    def _score(self, one: ServedJudge, cases: list[Case]) -> tuple[int, dict[str, Any]]:
        try:
            scores = encode_scores(one.score(cases))
        except (JudgeFailed, TimeoutError) as problem:
            return 503, {"error": f"the judge could not be reached ({type(problem).__name__})"}
        except UserError as problem:
            return 422, {"error": str(problem)}
        except BaseException as problem:  # SystemExit as well: a judge's fault ends no server
            if is_unreachable(problem):
                return 503, {"error": f"the judge could not be reached ({type(problem).__name__})"}
            # The message may quote a report; where it was raised cannot.
            place = traceback.extract_tb(problem.__traceback__)[-1]
            _log(f"{type(problem).__name__} in {place.filename}:{place.lineno}")
            return 422, {"error": f"judge {one.judge.name!r} raised {where(problem)}."}
        identity = one.identity
        return 200, {"name": identity.name, "hash": identity.hash, "scores": scores}

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Not http.server's line per request: a path may hold anything."""


def _log(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the log is gone; serving continues
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="judges.serve", description="Serve a judge over HTTP.")
    parser.add_argument(
        "--use", required=True, help="built-in name, package.module:object, file.py:object, entry point"
    )
    parser.add_argument("--port", type=int, required=True, help="0 = a free one, printed")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 = reachable from outside")
    parser.add_argument("--name", default=None, help="the judge's name; default: taken from --use")
    parser.add_argument("--args", default="{}", metavar="JSON", help="keyword arguments of the judge")
    parser.add_argument("--conversational", action="store_true", help="as in the configuration")
    parser.add_argument("--workers", type=int, default=1, help="calls at once; more than 1 needs a thread-safe judge")
    parser.add_argument(
        "--max-wait",
        type=float,
        default=100.0,
        metavar="S",
        help="a call whose turn has not come after this many seconds is refused with 503 (default: %(default)g, less "
        "than the trainer's scoring.call_timeout_s, after which nobody waits for the answer)",
    )
    options = parser.parse_args(arguments)
    try:
        args = _json_object(options.args)
        judge = load_judge(options.use, args, name=options.name, conversational=options.conversational)
        identity = identify(judge, options.use, args)
        if hasattr(judge, "start"):
            with border(f"judge {judge.name!r}", "start()"):
                judge.start()
        served = ServedJudge(judge, identity, max(1, options.workers), options.max_wait)
        server = JudgeServer((options.host, options.port), [served])
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    _log(identity.line())
    server.run_until_stopped()
    return 0


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise JudgeError('--args: expected a JSON object, such as {"normal_weight": 0.25}.')
    return found


if __name__ == "__main__":
    sys.exit(main())
