"""The judge `green`: a GREEN model behind vLLM, asked as GREEN's own code asks it, read by a parser that fails closed.

Candidates of one study go to one server together, so that criteria and reference report are read once per group.
Identical ones are judged once; what was scored before, in this run or another, comes from the cache on disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from judges.base import Case, Score
from judges.errors import ConfigError
from judges.green import sleeping
from judges.green.cache import cache_key
from judges.green.client import Client, Completion, Failure, Refused, share_of_rank
from judges.green.grammar import CATEGORIES, analysis_regex
from judges.green.neutralise import neutralise
from judges.green.overlong import RULES as OVERLONG
from judges.green.overlong import unread_words
from judges.green.parser import UnreadableAnalysis, bounds, decided_at, parse_analysis
from judges.green.place import chosen, own_servers
from judges.green.prompt import MAX_TOKENS, PromptTokenizer, model_identity
from judges.green.server import DEFAULT_MODEL, STOPS
from judges.questions import Question, Questions
from judges.text import one_line

Mode = Literal["score_only", "full"]
Constrain = Literal["retry", "always", "never"]
LEAST_ANSWER = 64  # tokens; with less room the prompt is refused rather than the answer cut
MOST_FINDINGS = 25  # highest count that a constrained answer may state
READER = 4  # version of how answers become scores; a cache from another one is not read
_COUNTS = ["matched_findings", *CATEGORIES.values(), *(f"insignificant_{name}" for name in CATEGORIES.values())]
# A candidate that says nothing matches nothing, and misses at least one finding.
_EMPTY = dict.fromkeys([*_COUNTS, "overlong", "constrained", "count_disagrees"], 0.0) | {"missing_finding": 1.0}

_TRY = {"prompt": [1], "max_tokens": 1, "temperature": 0.0}
_TRY_CONSTRAINED = {**_TRY, "max_tokens": 8, "structured_outputs": {"regex": "7"}}
_FEW_STOPS = (
    "judge %s: the server takes no long list of stop strings, so answers are decoded to their ends: same scores, but "
    "more slowly. Start it with launch/judge_server.sh, or with a higher VLLM_MAX_STOP_STRINGS."
)
_UNCONSTRAINED = (
    "judge %s: the server does not hold its answers to a regex (structured_outputs, vLLM 0.11 or newer), so an answer "
    "that cannot be read is unscorable at once instead of being asked for once more."
)
LOG = logging.getLogger(__name__)


@dataclass
class _Question(Question):
    """The prompt as token ids."""

    ids: list[int]


class GreenJudge:
    """GREEN = matched / (matched + significant errors), by a GREEN model; lowest 0, highest 1.

    url, urls     vLLM OpenAI servers of the model; several share the load. None: one is started for this node
    model         name on the hub or folder; the servers must serve it, and its tokenizer is read from there
    revision      branch, tag or commit on the hub
    analysis      score_only: decoding stops at the matched count. full: the whole text, in `Score.detail`. Same scores
    constrain     structured outputs hold the answer to the format: in a second request where the first answer could not
                  be read (retry), in each request (always), or not at all (never)
    item_characters  of a constrained answer: the longest list behind a count; the explanation may be five times as long
    overlong      candidates beyond the 300 words that GREEN reads: ignore, penalise or unscorable
    max_tokens    of an answer; None: what the prompt leaves of 2048
    timeout_s     of one request, from the moment at which it is admitted
    in_flight     requests that one server works on at once, of all ranks that ask it; None: 128, shared 64
    start_s       how long a server may take to load its model at the start
    cache         whether scores are kept on disk; in `cache_dir`, by default ~/.cache/online-rl/judges
    place         own_gpus, shared or url (judges/green/place.py). shared: the servers' GPUs train as well, `sleep`
                  frees their memory, and the next score wakes them
    server        of servers started here: {gpu: "6,7", dtype: float16, ngram: false, extra: [vLLM arguments]}

    A candidate that says nothing has value 0 without a call. Parts: `matched_findings`, the significant errors under
    the findings judge's names, the insignificant ones as `insignificant_<name>`, and the flags `overlong`,
    `constrained` (structured outputs were used) and `count_disagrees`.
    """

    granularity = "group"

    def __init__(
        self,
        url: str | None = None,
        urls: Sequence[str] | None = None,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        analysis: Mode = "score_only",
        constrain: Constrain = "retry",
        item_characters: int = 120,
        overlong: str = "ignore",
        max_tokens: int | None = None,
        timeout_s: float = 50.0,
        start_s: float = 600.0,
        cache: bool = True,
        cache_dir: str | Path | None = None,
        place: str | None = None,
        server: dict[str, Any] | None = None,
        in_flight: int | None = None,
        share_gpu: bool | None = None,  # its name of 0.1
    ) -> None:
        _one_of("analysis", analysis, get_args(Mode))
        _one_of("constrain", constrain, get_args(Constrain))
        _one_of("overlong", overlong, tuple(OVERLONG))
        if url and urls:
            raise ConfigError(f"judge green: found url {url!r} and {len(urls)} urls; give one of the two.")
        if isinstance(urls, str):
            raise ConfigError(f"judge green: urls is {urls!r}, expected a list; a single one is `url`.")
        addresses = [url] if url else list(urls or ())
        place = chosen(place, addresses, server or {}, share_gpu)
        if max_tokens is not None and max_tokens < LEAST_ANSWER:
            raise ConfigError(f"judge green: max_tokens is {max_tokens}, expected at least {LEAST_ANSWER}.")
        if in_flight is not None and in_flight < 1:
            raise ConfigError(f"judge green: in_flight is {in_flight}, expected at least 1.")
        self.name = "green"
        folder = Path(os.path.expanduser(model))
        self.model = str(folder.resolve()) if folder.is_dir() else model
        self.revision = revision
        self.analysis, self.constrain, self.overlong = analysis, constrain, overlong
        self.item_characters = item_characters
        self.max_tokens, self.timeout_s, self.start_s = max_tokens, timeout_s, start_s
        self.addresses = addresses  # where report text goes, but for servers started here
        # What is known of how the model is served: 4-bit weights answer otherwise than float16.
        self._served = {name: (server or {}).get(name) for name in ("dtype", "extra")}
        self._own = [] if addresses else own_servers(self.model, revision, place, server or {})
        self._questions: Questions[_Question] = Questions(cache, cache_dir)
        self._starting = threading.Lock()
        self._started = False
        self.sleeps = place == "shared"
        most = in_flight or (64 if self.sleeps else 128)
        self._one_per_rank = self.sleeps and any(own.gpu is not None for own in self._own)
        self._in_flight = most if self._one_per_rank else share_of_rank(most, own=not addresses)
        self._switching = threading.Lock()
        self._asleep = False

    def start(self) -> None:
        """Read the tokenizer, reach the servers or start one, see that they serve the model. Raises ConfigError."""
        with self._starting:
            if self._started:
                return
            self._tokenizer = PromptTokenizer(self.model, self.revision)
            self._identity = model_identity(self.model, self.revision)
            try:
                if self._own:
                    self._client = Client([own.start() for own in self._own], self.timeout_s, self._in_flight)
                    self._client.check(self.model, self.start_s, self._own_are_alive)
                else:
                    self._client = Client(self.addresses, self.timeout_s, self._in_flight)
                    self._client.check(self.model, min(self.start_s, 30.0))
                if self.sleeps:
                    self._client.check_sleep_mode()
                self._stops = STOPS if self.analysis == "score_only" else []
                if not self._client.accepts({**_TRY, "stop": self._stops}):
                    LOG.warning(_FEW_STOPS, self.name)
                    self._stops = []
                self._check_constrained()
            except BaseException:
                self._let_go()
                raise
            self._limit = min(MAX_TOKENS, self._client.max_model_len or MAX_TOKENS)
            self._questions.open()
            self._started = True

    def _check_constrained(self) -> None:
        """See that structured outputs work before they are needed. Raises ConfigError where each answer needs them."""
        if self.constrain == "never" or self._client.accepts(_TRY_CONSTRAINED, text="7"):
            return
        if self.constrain == "always":
            raise ConfigError(
                f"judge {self.name}: constrain is always, and the server does not hold its answers to a regex. Serve "
                "the model with launch/judge_server.sh, or set constrain=never."
            )
        LOG.warning(_UNCONSTRAINED, self.name)
        self.constrain = "never"

    async def score(self, cases: Sequence[Case]) -> list[Score]:
        if not self._started:
            await asyncio.to_thread(self.start)
        if self._asleep:
            await asyncio.to_thread(self.wake)
        scores = await self._questions.scores(cases, self._question, self._ask)
        return [self._overlong(case, score) for case, score in zip(cases, scores, strict=True)]

    def _question(self, case: Case) -> Score | _Question:
        reference = one_line(case.reference)
        candidate, hits = neutralise(one_line(case.candidate))
        self._questions.numbers["injection_hits"] += hits
        if not _says_something(reference):
            return Score.unscorable("the reference report is empty")
        if not _says_something(candidate):
            return Score(0.0, parts=_EMPTY)  # GREEN is 0 where nothing matches
        ids = self._tokenizer.ids(reference, candidate)
        if self._room(ids) < LEAST_ANSWER:
            return Score.unscorable(f"the prompt takes {len(ids)} of the model's {self._limit} tokens")
        key = cache_key(
            reader=READER,
            model=self._identity,
            served=self._served,
            prompt=ids,
            analysis=self.analysis,
            constrain=[self.constrain, self.item_characters],
            max_tokens=self._room(ids),
            sampling="greedy",
        )
        return _Question(reference, candidate, key, ids)

    def _room(self, ids: list[int]) -> int:
        return min(self.max_tokens or MAX_TOKENS, self._limit - len(ids))

    async def _ask(self, group: list[_Question]) -> None:
        """Ask for the scores of one study's candidates, again and constrained where an answer cannot be read."""
        again = await self._ask_once(group, self.constrain == "always", last=self.constrain != "retry")
        if again:
            self._questions.numbers["constrained_retries"] += len(again)
            await self._ask_once(again, True, last=True)

    async def _ask_once(self, group: list[_Question], constrained: bool, last: bool) -> list[_Question]:
        """One request per question; returns those whose answer could not be read, unless this was the last try."""
        answers = await self._client.complete([self._body(question, constrained) for question in group])
        unread = []
        for question, answer in zip(group, answers, strict=True):
            assert not isinstance(answer, Refused), "no status concerns one request alone here"
            if isinstance(answer, Failure):
                question.score = Score.failed(answer.reason, answer.retry_after_s)
                continue
            self._questions.numbers["prompt_tokens"] += answer.prompt_tokens
            self._questions.numbers["answers"] += 1
            try:
                question.score = self._read(question, answer, constrained)
            except UnreadableAnalysis as problem:
                question.score = Score.unscorable(str(problem))
                unread.append(question)
        return [] if last else unread

    def _body(self, question: _Question, constrained: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"prompt": question.ids, "max_tokens": self._room(question.ids), "temperature": 0.0}
        if self._stops:
            body |= {"stop": self._stops, "include_stop_str_in_output": True}
        if constrained:
            # The regex of the full text in both modes: a shorter one could lead to other counts.
            sizes = bounds(question.reference, question.candidate)
            most = {name: min(MOST_FINDINGS, size) for name, size in sizes.items()}
            body["structured_outputs"] = {"regex": analysis_regex(5 * self.item_characters, self.item_characters, most)}
        return body

    def _read(self, question: _Question, answer: Completion, constrained: bool) -> Score:
        """The score that the generated tokens, up to the matched count, state. Raises UnreadableAnalysis."""
        end = decided_at(answer.text)
        if end is None and answer.finish_reason == "length":
            raise UnreadableAnalysis("the answer was cut before its score was decided")
        found = parse_analysis(answer.text[:end], question.reference, question.candidate)
        parts = {"matched_findings": float(found.matched)}
        parts |= {CATEGORIES[letter]: float(count) for letter, count in found.significant.items()}
        parts |= {f"insignificant_{CATEGORIES[letter]}": float(count) for letter, count in found.insignificant.items()}
        parts |= {"constrained": float(constrained), "count_disagrees": float(bool(found.disagreeing))}
        return Score(found.green, parts=parts, detail=answer.text if self.analysis == "full" else "")

    def _overlong(self, case: Case, score: Score) -> Score:
        """Apply the rule for what lies beyond the words that GREEN reads."""
        unread = unread_words(case.candidate)
        self._questions.numbers["overlong_candidates"] += unread > 0
        if score.value is None:
            return score
        value = OVERLONG[self.overlong](score.value, len(case.candidate.split()))
        if value is None:
            return Score.unscorable(f"the candidate has {unread} words more than GREEN reads", overlong=1.0)
        return score.with_value(value, overlong=float(unread > 0))

    def drain_metrics(self) -> dict[str, float]:
        """Numbers since the last call, of this rank: requests, failovers, cache_hits, duplicates_saved, ..."""
        return self._questions.drain(self._client if self._started else None, "constrained_retries")

    def sleep(self) -> None:
        """Free the GPU for training; returns when it is free. For every rank to call when all have their scores.

        A rank with a server of its own asks that one; of others the first rank of a node does, and the rest wait.
        Raises JudgeFailed if a server stays awake.
        """
        if not self.sleeps or not self._started:
            return
        with self._switching:
            if not self._asleep:
                sleeping.put_to_sleep([server.url for server in self._client.servers], self._acts())
                self._asleep = True

    def wake(self) -> None:
        """Bring the servers back from `sleep`; returns when they are awake. For every rank to call.

        As for `sleep`. Raises JudgeFailed if a server stays asleep.
        """
        with self._switching:
            if self._asleep:
                sleeping.wake([server.url for server in self._client.servers], self._acts())
                self._asleep = False

    def close(self) -> None:
        """Let go of the servers; one that was started here ends with its last user."""
        with self._starting:
            if self._started:
                self._client.close()
            self._questions.close()
            self._let_go()
            self._started = False

    def _acts(self) -> bool:
        """Whether this rank tells its servers to sleep and wake."""
        return self._one_per_rank or os.environ.get("LOCAL_RANK", "0") == "0"

    def _own_are_alive(self) -> None:
        for own in self._own:
            own.alive()

    def _let_go(self) -> None:
        for own in self._own:
            own.close()


def _one_of(key: str, value: str, expected: tuple[str, ...]) -> None:
    if value not in expected:
        raise ConfigError(f"judge green: {key} is {value!r}, expected {', '.join(expected)}.")


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)
