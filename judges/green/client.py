"""Asking OpenAI servers for completions, the least-loaded first; and what each failure means. `green` asks vLLM with
token ids, `rubric` any such server with messages.

| what happens                                         | what comes back                                             |
|------------------------------------------------------|-------------------------------------------------------------|
| refused or broken connection, time-out, 429, 5xx     | `Failure`, once no other server could answer; ask again later |
| any other 4xx                                        | JudgeError: asking again cannot mend it                      |
| at the check at start: absent, another model, 4xx    | ConfigError                                                  |
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from judges.errors import ConfigError, JudgeError
from judges.http_answers import Answer, TooLarge, ask, ask_async

PAUSE_S = 10.0  # a server that could not be reached is passed over for so long while another one answers
CONNECT_S = 5.0


@dataclass(frozen=True)
class Completion:
    """What a server generated; `finish_reason` is "stop" if it ended by itself, "length" if it was cut."""

    text: str
    ids: tuple[int, ...]
    finish_reason: str
    prompt_tokens: int


@dataclass(frozen=True)
class Failure:
    """A server could not answer now. `reason` holds no report text; `retry_after_s` is 0 if it does not say."""

    reason: str
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class Refused:
    """A server takes no such request, as one that is longer than its context. `reason` holds no report text."""

    reason: str


@dataclass
class Server:
    """One URL, what it serves, and how much it has to do."""

    url: str
    model: str = ""
    max_model_len: int = 0
    in_flight: int = 0
    down_until: float = 0.0


@dataclass
class Client:
    """Completions from one or several servers of one model.

    timeout_s      seconds that one request may take once it has been admitted
    in_flight      requests that this process sends to one server at once; further ones wait here for their turn
    endpoint       completions (token ids) or chat/completions (messages)
    headers        of every request
    refusals       statuses that concern one request alone: it comes back as `Refused`
    remedies       status -> what to do, beside the usual ones
    start_it       how a server is started, for messages
    """

    urls: Sequence[str]
    timeout_s: float = 120.0
    in_flight: int = 128
    endpoint: str = "completions"
    headers: dict[str, str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    remedies: dict[int, str] = field(default_factory=dict)
    start_it: str = "launch/judge_server.sh"
    requests: int = 0
    failovers: int = 0
    servers: list[Server] = field(init=False)
    _pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = field(
        init=False, default_factory=weakref.WeakKeyDictionary
    )
    _turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = field(
        init=False, default_factory=weakref.WeakKeyDictionary
    )

    def __post_init__(self) -> None:
        self.servers = [Server(url.rstrip("/").removesuffix("/v1")) for url in self.urls]

    def check(self, model: str, wait_s: float = 30.0, alive: Callable[[], None] = lambda: None) -> None:
        """Find out, before anything is trained, that every server is there and serves `model`.

        A server that refuses connections may still be loading: it is asked again for `wait_s` seconds, and `alive` is
        called in between, which may raise. Raises ConfigError.
        """
        deadline = time.monotonic() + wait_s
        for server in self.servers:
            served = self._served(server, deadline, wait_s, alive)
            names = [str(entry.get("id")) for entry in served]
            matching = [e for e in served if _is(model, str(e.get("id"))) or _is(model, str(e.get("root")))]
            if not matching:
                raise ConfigError(
                    f"judge server {server.url} serves {', '.join(map(repr, names)) or 'nothing'}, expected {model!r}. "
                    f"Correct the judge's args (url, model), or start the server of that model with {self.start_it}."
                )
            server.model = str(matching[0]["id"])
            server.max_model_len = int(matching[0].get("max_model_len") or 0)

    def _served(
        self, server: Server, deadline: float, wait_s: float, alive: Callable[[], None]
    ) -> list[dict[str, Any]]:
        while True:
            try:
                if (httpx.URL(server.url).port or 0) > 65535:
                    raise httpx.InvalidURL("no such port")
                url = f"{server.url}/v1/models"
                answer = ask(httpx, "GET", url, headers=self.headers, timeout=CONNECT_S, trust_env=False)
                problem = f"HTTP {answer.status}"
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise ConfigError(f"judge url: {server.url!r}, expected one like http://localhost:8000.") from None
            except (httpx.RequestError, TooLarge) as error:
                answer, problem = None, type(error).__name__
            if answer is not None and answer.status == 200:
                return _models(server, answer)
            if answer is not None and 400 <= answer.status < 500 and answer.status != 429:
                raise ConfigError(
                    f"judge server {server.url} answered {problem} to GET /v1/models, expected the list of models that "
                    "vLLM's OpenAI server gives. "
                    f"{self.remedies.get(answer.status, 'Check the url, and what stands in between.')}"
                )
            alive()
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"judge server {server.url} could not be reached within {wait_s:g} s ({problem}). Start it with "
                    f"{self.start_it}, or correct the judge's url; without a url `green` starts one itself."
                )
            time.sleep(0.25)

    def accepts(self, body: dict[str, Any], text: str | None = None) -> bool:
        """Whether every server takes such a request, and answers `text` if one is given.

        False if one answers 400 or something else. Raises ConfigError at another 4xx.
        """
        for server in self.servers:
            try:
                answer = ask(
                    httpx,
                    "POST",
                    f"{server.url}/v1/{self.endpoint}",
                    json={"model": server.model, **body},
                    headers=self.headers,
                    timeout=self.timeout_s,
                    trust_env=False,
                )
            except (httpx.RequestError, TooLarge):
                continue  # the first score meets it too, and is counted as a failure
            status = answer.status
            if status == 400 or (status == 200 and text is not None and _text(answer) != text):
                return False
            if 400 <= status < 500 and status != 429:
                raise ConfigError(
                    f"judge server {server.url} refused a completion with HTTP {status}. {self._remedy(status)}"
                )
        return True

    def check_sleep_mode(self) -> None:
        """Raises ConfigError where a server was started without it."""
        for server in self.servers:
            try:
                status = httpx.get(f"{server.url}/is_sleeping", timeout=CONNECT_S, trust_env=False).status_code
            except httpx.RequestError as problem:
                raise ConfigError(f"judge server {server.url} cannot be reached ({type(problem).__name__}).") from None
            if status != 200:
                raise ConfigError(
                    f"judge server {server.url} answered HTTP {status} to GET /is_sleeping, expected sleep mode. "
                    "Start it with launch/judge_server.sh --share-gpu, or leave place=shared out."
                )

    @property
    def max_model_len(self) -> int:
        """The smallest context of the servers; 0 if none reports one."""
        return min((s.max_model_len for s in self.servers if s.max_model_len), default=0)

    async def complete(self, bodies: Sequence[dict[str, Any]]) -> list[Completion | Failure | Refused]:
        """Answers in order. The requests go to one server, because they share the beginning of their prompts.

        What that server could not answer goes to the next one. Raises JudgeError if one is refused (4xx).
        """
        answers: list[Completion | Failure | Refused] = [Failure("not asked")] * len(bodies)
        open_ones = list(range(len(bodies)))
        tried: list[Server] = []
        while open_ones and len(tried) < len(self.servers):
            server = self._least_loaded(tried)
            self.failovers += len(open_ones) if tried else 0
            tried.append(server)
            server.in_flight += len(open_ones)
            try:
                found = await all_or_first_error([self._ask(server, bodies[i]) for i in open_ones])
            finally:
                server.in_flight -= len(open_ones)
            for i, answer in zip(open_ones, found, strict=True):
                answers[i] = answer
            open_ones = [i for i in open_ones if isinstance(answers[i], Failure)]
        return answers

    def _least_loaded(self, tried: list[Server]) -> Server:
        now = time.monotonic()
        return min((s for s in self.servers if s not in tried), key=lambda s: (s.down_until > now, s.in_flight))

    async def _ask(self, server: Server, body: dict[str, Any]) -> Completion | Failure | Refused:
        turns = self._turns.setdefault(asyncio.get_running_loop(), {})
        async with turns.setdefault(server.url, asyncio.Semaphore(self.in_flight)):  # the clock starts behind it
            return await self._ask_at_once(server, body)

    async def _ask_at_once(self, server: Server, body: dict[str, Any]) -> Completion | Failure | Refused:
        self.requests += 1
        url, content = f"{server.url}/v1/{self.endpoint}", {"model": server.model, **body}
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await ask_async(self._pool(), "POST", url, json=content, headers=self.headers)
        except TimeoutError:
            server.down_until = time.monotonic() + PAUSE_S
            return Failure(f"{server.url} gave no answer within {self.timeout_s:g} s")
        except httpx.RequestError as problem:
            server.down_until = time.monotonic() + PAUSE_S
            return Failure(f"{server.url}: {type(problem).__name__}")
        except TooLarge as problem:
            return Failure(f"{server.url}: {problem}")
        status = answer.status
        if status == 429 or status >= 500:
            if answer.retry_after_s:
                server.down_until = time.monotonic() + answer.retry_after_s
            return Failure(f"{server.url} answered HTTP {status}", answer.retry_after_s)
        if status in self.refusals:
            return Refused(f"{server.url} answered HTTP {status}")
        if status != 200:
            raise JudgeError(
                f"judge server {server.url} refused a completion with HTTP {status}, which asking again cannot mend. "
                f"{self._remedy(status)}"
            )
        try:
            return _completion(json.loads(answer.content))
        except (ValueError, RecursionError, KeyError, TypeError, IndexError):
            return Failure(f"{server.url} answered something that is not a completion")

    def _remedy(self, status: int) -> str:
        return self.remedies.get(status) or _REMEDIES.get(status, _LOOK)

    def drain(self, numbers: Counter[str]) -> None:
        """Add the requests and failovers since the last call to `numbers`."""
        numbers["requests"] += self.requests
        numbers["failovers"] += self.failovers
        self.requests = self.failovers = 0

    def _pool(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._forget_closed_loops()
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
            timeout = httpx.Timeout(None, connect=CONNECT_S)
            self._pools[loop] = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        return self._pools[loop]

    def _forget_closed_loops(self) -> None:
        """A pool refers to its loop, so both would stay for good although the loop is only a weak key."""
        for loop in [loop for loop in list(self._pools) if loop.is_closed()]:
            self._pools.pop(loop, None)
            self._turns.pop(loop, None)

    def close(self) -> None:
        """Forget the connections; each closes with its event loop."""
        for loop, pool in list(self._pools.items()):
            if loop.is_running():
                with contextlib.suppress(RuntimeError):
                    asyncio.run_coroutine_threadsafe(pool.aclose(), loop)
        self._pools.clear()
        self._turns.clear()


_LOOK = "See its log."
_REMEDIES = {
    400: "Its model's context or its vLLM does not fit this judge; see its log.",
    401: "It asks for a key; reach it without one.",
    403: "It asks for a key; reach it without one.",
    404: "It does not serve this model, or is not vLLM's OpenAI server.",
}


def share_of_rank(total: int, own: bool) -> int:
    """A rank's share of the requests that a server works on at once; at least 1.

    own  the server is this node's alone; otherwise the ranks of all nodes ask it

    The variables are the launchers' (deepspeed, torchrun).
    """
    everywhere = os.environ.get("WORLD_SIZE", "1")
    here = os.environ.get("LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE") or everywhere
    return max(1, total // max(1, int(here if own else everywhere)))


async def all_or_first_error(calls: list[Any]) -> list[Any]:
    """Results in order; an exception cancels the calls that still run, so that none works for nobody."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _models(server: Server, answer: Answer) -> list[dict[str, Any]]:
    try:
        return [dict(entry) for entry in json.loads(answer.content)["data"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ConfigError(
            f"judge server {server.url}: GET /v1/models gave no list of models; expected vLLM's OpenAI server."
        ) from None


def _text(answer: Answer) -> str | None:
    try:
        return _completion(json.loads(answer.content)).text
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return None


def _completion(answer: dict[str, Any]) -> Completion:
    choice = answer["choices"][0]
    text, reason = choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"]
    if not isinstance(text, str) or not isinstance(reason, str):
        raise TypeError
    usage = answer.get("usage") or {}
    return Completion(text, tuple(choice.get("token_ids") or ()), reason, int(usage.get("prompt_tokens", 0)))


def _is(model: str, served: str) -> bool:
    """Whether two names mean the same model: equal, or paths of one folder."""
    return model == served or (Path(model).is_dir() and Path(model).resolve() == Path(served).resolve())
