"""A small HTTP server in vLLM's place: real sockets, answers and failures as told, a record of what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LABELS = (
    "False report of a finding in the candidate",
    "Missing a finding present in the reference",
    "Misidentification of a finding's anatomic location/position",
    "Misassessment of the severity of a finding",
    "Mentioning a comparison that isn't in the reference",
    "Omitting a comparison detailing a change from a prior study",
)


def analysis(matched: int, missing: int = 0, tail: str = "Clear lungs.") -> str:
    """An answer as GREEN writes it: `missing` significant errors (b), one insignificant error (a)."""

    def lines(counts: dict[str, int]) -> str:
        return "".join(f"({x}) {label}: {counts.get(x, 0)}.\n" for x, label in zip("abcdef", LABELS, strict=True))

    return (
        "\n[Explanation]:\nThe reports agree in part.\n\n"
        f"[Clinically Significant Errors]:\n{lines({'b': missing})}\n"
        f"[Clinically Insignificant Errors]:\n{lines({'a': 1})}\n"
        f"[Matched Findings]:\n{matched}. {tail}"
    )


@dataclass
class Stub:
    """`answer(body)` gives (text, finish_reason), an int for a bare HTTP status, or raw bytes to send as the body."""

    model: str
    answer: Callable[[dict[str, Any]], Any] = lambda body: (analysis(3, 1), "stop")
    models_status: int = 200
    max_model_len: int = 2048
    bodies: list[dict[str, Any]] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)
    switch_status: int = 200
    switches_that_fail: int = 0  # so many are answered with 200 and change nothing, as vLLM's may
    switch_s: float = 0.0
    asleep: bool = False
    running: int = 0
    most_running: int = 0
    try_status: int = 0
    most_stops: int = 1000
    constrains: bool = True
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        if path == "/v1/models":
            entry = {"id": self.model, "root": self.model, "max_model_len": self.max_model_len}
            return self.models_status, json.dumps({"data": [entry]}).encode()
        if path == "/is_sleeping":
            return self.switch_status, json.dumps({"is_sleeping": self.asleep}).encode()
        if path != "/v1/completions":
            self.switches.append(path)
            time.sleep(self.switch_s)
            self.switches_that_fail -= 1
            if self.switches_that_fail < 0:
                self.asleep = path.startswith("/sleep")
            return self.switch_status, b""
        assert body is not None
        if body["prompt"] == [1]:  # the judge tries, at its start, whether such requests are taken
            refused = len(body.get("stop", ())) > self.most_stops
            choice = {"text": "7" if self.constrains else "an", "finish_reason": "stop"}
            return self.try_status or (400 if refused else 200), json.dumps({"choices": [choice]}).encode()
        with self.lock:
            self.bodies.append(body)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            answer = self.answer(body)
        finally:
            with self.lock:
                self.running -= 1
        if isinstance(answer, int):
            return answer, b"{}"
        if isinstance(answer, bytes):
            return 200, answer
        text, reason = answer
        for stop in body.get("stop", ()):  # vLLM's: cut behind the stop string that ends first
            if stop in text:
                text = text[: text.index(stop) + len(stop)]
        choice = {"text": text, "finish_reason": reason}
        return 200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"])}}).encode()


@contextmanager
def serving(stub: Stub, port: int = 0) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            stub.headers = dict(self.headers)
            self._send(*stub.reply(self.path, None))

        def do_POST(self) -> None:
            stub.headers = dict(self.headers)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "null")
            self._send(*stub.reply(self.path, body))

        def _send(self, status: int, content: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the caller gave up waiting

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hang(seconds: float = 2.0) -> Callable[[dict[str, Any]], Any]:
    def answer(body: dict[str, Any]) -> Any:
        time.sleep(seconds)
        return analysis(3, 1), "stop"

    return answer
