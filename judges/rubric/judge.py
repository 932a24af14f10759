"""The judge `rubric`: a rubric put to an LLM behind any OpenAI-compatible server, and its answer read strictly.

The answer is asked for as JSON of the rubric's schema (structured outputs). One that cannot be read is asked for once
more, then it is unscorable: no repair, no default. Candidates of one study go to one server together, the rubric and
the reference report before them, so that a server with a prefix cache reads these once. Identical candidates are judged
once; scores are kept on disk, by everything that they depend on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from judges.base import Case, Score
from judges.errors import ConfigError
from judges.green.cache import cache_key
from judges.green.client import Client, Completion, Failure, Refused
from judges.green.neutralise import neutralise
from judges.questions import Question, Questions
from judges.rubric.rubric import UnreadableAnswer, load_rubric
from judges.text import one_line

READER = 1  # version of how answers become scores; a cache from another one is not read
AGAIN = "\n\nAnswer with one JSON object as asked for above, and nothing before or after it."
# Tags and braces are the prompt's and the answer's own; no report needs them. "<5 mm" stays.
_MARKUP = re.compile(r"</?\s*[a-zA-Z_][^<>]{0,40}>|[{}]")
_UNCONSTRAINED = (
    "judge %s: the server takes no response_format of type json_schema, so its answers are not held to the schema; "
    "they are read as strictly, and more of them may be unscorable."
)
_KEY = "It asks for a key: name the environment variable that holds it in args.api_key_env."
LOG = logging.getLogger(__name__)


class Rules(Protocol):
    """What asks a question and reads its answer: a Rubric, or something in its form such as `judges.crimson`."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def schema(self) -> dict[str, Any]: ...
    @property
    def empty(self) -> Score: ...
    def messages(self, reference: str, candidate: str, indication: str) -> list[dict[str, str]]: ...
    def score(self, text: str) -> Score: ...


@dataclass
class _Question(Question):
    """The turns of the prompt."""

    messages: list[dict[str, str]]


class RubricJudge:
    """The value that a rubric's formula makes of an LLM's answer.

    url, urls    OpenAI-compatible servers of the model (vLLM, SGLang, llama.cpp, Ollama ...); several share the load
    model        name under which they serve it
    rubric       error_count, severity, a file (docs/judges.md), or in Python an object in the form of Rules
    max_tokens   of an answer; one that is cut is unscorable
    in_flight    requests that one server has at once
    timeout_s    of one request
    start_s      how long a server may take to be there at the start
    api_key_env  name of the environment variable with the server's key; None: it needs none
    body         further fields of every request, such as {chat_template_kwargs: {enable_thinking: false}}
    cache        whether scores are kept on disk; in `cache_dir`, by default ~/.cache/online-rl/judges

    A candidate that says nothing has the value of the rubric's `empty`, without a call.
    """

    granularity = "group"

    def __init__(
        self,
        url: str | None = None,
        urls: Sequence[str] | None = None,
        model: str = "",
        rubric: str | Rules = "error_count",
        max_tokens: int = 1024,
        in_flight: int = 64,
        timeout_s: float = 50.0,
        start_s: float = 30.0,
        api_key_env: str | None = None,
        body: dict[str, Any] | None = None,
        cache: bool = True,
        cache_dir: str | Path | None = None,
    ) -> None:
        if isinstance(urls, str) or bool(url) == bool(urls):
            raise ConfigError(f"judge rubric: found url {url!r} and urls {urls!r}; give one url, or a list of urls.")
        if not model:
            raise ConfigError("judge rubric: found no model; give the name under which the server serves it.")
        if in_flight < 1 or max_tokens < 1:
            raise ConfigError(f"judge rubric: in_flight is {in_flight}, max_tokens {max_tokens}; expected 1 or more.")
        self.name = "rubric"
        self.model = model
        self.rubric: Rules = load_rubric(rubric) if isinstance(rubric, str) else rubric
        self.fingerprint = self.rubric.fingerprint
        self.max_tokens, self.body, self.start_s = max_tokens, dict(body or {}), start_s
        self._client = Client(
            [url] if url else list(urls or ()),
            timeout_s,
            endpoint="chat/completions",
            headers=_authorization(api_key_env),
            in_flight=in_flight,
            refusals=(400, 413, 422),  # of one case, once a dry request was taken
            remedies={401: _KEY, 403: _KEY},
            start_it="your server's own command (docs/judges.md)",
        )
        self._constrained = True
        self._questions: Questions[_Question] = Questions(cache, cache_dir)
        self._starting = threading.Lock()
        self._started = False

    @property
    def addresses(self) -> list[str]:
        """Where report text goes."""
        return [server.url for server in self._client.servers]

    def start(self) -> None:
        """Reach the servers, see that they serve the model and take such a request. Raises ConfigError."""
        with self._starting:
            if self._started:
                return
            self._client.check(self.model, self.start_s)
            messages = self.rubric.messages("The lungs are clear.", "The lungs are clear.", "")
            trial = {**self._request(messages), "max_tokens": 1}
            if not self._client.accepts(trial):
                self._constrained = False
                trial = {**self._request(messages), "max_tokens": 1}
                if not self._client.accepts(trial):
                    urls = ", ".join(self.addresses)
                    raise ConfigError(
                        f"judge {self.name}: {urls} refused a chat completion with HTTP 400, with a schema for the "
                        "answer and without. Look at its log; args.body must hold only what it knows, and its model "
                        "needs a chat template."
                    )
                LOG.warning(_UNCONSTRAINED, self.name)
            self._questions.open()
            self._started = True

    async def score(self, cases: Sequence[Case]) -> list[Score]:
        if not self._started:
            await asyncio.to_thread(self.start)
        return await self._questions.scores(cases, self._question, self._ask)

    def _question(self, case: Case) -> Score | _Question:
        candidate, hits = _cleaned(case.candidate)
        self._questions.numbers["injection_hits"] += hits
        reference, indication = _cleaned(case.reference)[0], _cleaned(case.indication)[0]
        if not any(map(str.isalnum, reference)):
            return Score.unscorable("the reference report is empty")
        if not any(map(str.isalnum, candidate)):
            return self.rubric.empty
        messages = self.rubric.messages(reference, candidate, indication)
        key = cache_key(
            reader=READER,
            rubric=self.fingerprint,
            model=self.model,
            request=self._request(messages),
        )
        return _Question(reference, candidate, key, messages)

    def _request(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        request = {"messages": messages, "max_tokens": self.max_tokens, "temperature": 0.0, "seed": 0, **self.body}
        if self._constrained:
            schema = {"name": "answer", "strict": True, "schema": self.rubric.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    async def _ask(self, group: list[_Question]) -> None:
        """Ask for the scores of one study's candidates, and once more for what cannot be read."""
        again = await self._ask_once(group, "")
        if again:
            self._questions.numbers["repeated_questions"] += len(again)
            await self._ask_once(again, AGAIN)

    async def _ask_once(self, group: list[_Question], reminder: str) -> list[_Question]:
        """One request per question; returns those whose answer could not be read. `reminder` ends the prompt."""
        bodies = []
        for question in group:
            *before, last = question.messages
            bodies.append(self._request([*before, {**last, "content": last["content"] + reminder}]))
        unread = []
        for question, answer in zip(group, await self._client.complete(bodies), strict=True):
            if isinstance(answer, Failure):
                question.score = Score.failed(answer.reason, answer.retry_after_s)
            elif isinstance(answer, Refused):  # longer than the model's context, most likely
                question.score = Score.unscorable(answer.reason)
            else:
                self._questions.numbers["prompt_tokens"] += answer.prompt_tokens
                self._questions.numbers["answers"] += 1
                question.score = self._read(answer)
                if question.score.value is None:
                    unread.append(question)
        return unread

    def _read(self, answer: Completion) -> Score:
        if answer.finish_reason == "length":
            return Score.unscorable(f"the answer was cut at max_tokens={self.max_tokens}")
        try:
            return self.rubric.score(answer.text)
        except UnreadableAnswer as problem:
            return Score.unscorable(str(problem))

    def drain_metrics(self) -> dict[str, float]:
        """Numbers since the last call, of this rank: requests, failovers, cache_hits, duplicates_saved, ..."""
        return self._questions.drain(self._client, "repeated_questions")

    def close(self) -> None:
        with self._starting:
            self._client.close()
            self._questions.close()
            self._started = False


def _authorization(variable: str | None) -> dict[str, str]:
    if variable is None:
        return {}
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"judge rubric: args.api_key_env names {variable}, which is not set. Set it, or remove it.")
    return {"Authorization": f"Bearer {key}"}


def _cleaned(text: str) -> tuple[str, int]:
    """One line without what could speak as the judge, the user or the prompt; and how many such places there were."""
    found, hits = neutralise(one_line(text))
    plain, marks = _MARKUP.subn(" ", found)
    return plain, hits + marks
