"""`python -m judges.serve --use NAME --port P`: any judge over HTTP, with the standard library alone.

For judges whose packages clash with the trainer's, or that live on a node of their own: this package is all that their
environment needs (Python 3.10 or newer). The trainer reaches it by

    judges: [{use: http, args: {url: "http://HOST:P"}}]

What is said is in `judges/wire.py`. The log has times, sizes and types of errors; never report text.
"""

from __future__ import annotations

import argparse
import asyncio
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
from judges.identity import Identity, identify
from judges.registry import load_judge
from judges.wire import PROTOCOL, decode_cases, encode_scores

MOST_BYTES = 256 * 2**20  # of one request


class JudgeServer(ThreadingHTTPServer):
    """One judge behind a port. Calls are made one after another unless the judge is said to be thread-safe."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], judge: Judge, identity: Identity, workers: int = 1, max_wait: float = 100.0
    ) -> None:
        super().__init__(address, _Handler)
        self.judge, self.identity, self.max_wait = judge, identity, max_wait
        self.calls = threading.BoundedSemaphore(workers)

    def score(self, cases: Sequence[Case]) -> list[Score]:
        """Raises TimeoutError when its turn does not come, JudgeError when the judge breaks its contract, and what the
        judge raises when it falls over."""
        if not cases:
            return []
        if not self.calls.acquire(timeout=self.max_wait):
            raise TimeoutError
        try:
            answer: Any = self.judge.score(list(cases))
            scores = asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer
        finally:
            self.calls.release()
        if not isinstance(scores, list) or len(scores) != len(cases) or not all(isinstance(s, Score) for s in scores):
            got = f"{len(scores)} values" if isinstance(scores, list) else f"a {type(scores).__name__}"
            raise JudgeError(
                f"judge {self.judge.name!r} returned {got} for {len(cases)} cases; expected as many Score."
            )
        return scores

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke; http.server would print a traceback."""
        _log(f"connection lost: {type(sys.exc_info()[1]).__name__}")


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"
    timeout = 600.0  # a client that stops in the middle of a request frees its thread

    def do_GET(self) -> None:
        if self.path != "/judge":
            return self._answer(404, {"error": "there is GET /judge and POST /score"})
        granularity = getattr(self.server.judge, "granularity", "completion")
        told = {key: value for key, value in self.server.identity.as_dict().items() if key != "file"}
        self._answer(200, {"protocol": PROTOCOL, "granularity": granularity, **told})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            self.close_connection = True  # what follows on it is not a request
            return self._answer(413, {"error": f"expected a Content-Length of at most {MOST_BYTES} bytes"})
        body = self.rfile.read(int(length))
        if self.path != "/score":
            return self._answer(404, {"error": "there is GET /judge and POST /score"})
        try:
            cases = decode_cases(body)
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._answer(400, {"error": "the request is not a list of cases; see judges/wire.py"})
        started = time.perf_counter()
        status, answer = self._score(cases)
        _log(f"{len(cases)} case(s), HTTP {status}, {time.perf_counter() - started:.3f} s")
        self._answer(status, answer)

    def _score(self, cases: list[Case]) -> tuple[int, dict[str, Any]]:
        try:
            scores = encode_scores(self.server.score(cases))
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
            return 422, {"error": f"judge {self.server.judge.name!r} raised {where(problem)}."}
        identity = self.server.identity
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


async def _awaited(answer: Any) -> Any:
    return await answer


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
        server = JudgeServer((options.host, options.port), judge, identity, max(1, options.workers), options.max_wait)
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    _log(identity.line())
    _log(f"listening on http://{options.host}:{server.server_address[1]}")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        if hasattr(judge, "close"):
            _close(judge)
    return 0


def _close(judge: Judge) -> None:
    try:
        judge.close()  # type: ignore[attr-defined]
    except BaseException as problem:
        _log(f"judge {judge.name!r}: close() raised {where(problem)}")


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
