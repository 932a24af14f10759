"""A rubric: prompt, schema of the answer, and the formula from answer to value, read from a YAML file.

    name       in messages
    system     the system message
    prompt     Jinja template of the user message with {{ reference }}, {{ candidate }} and {{ indication }}; the
               candidate last, so that servers read the beginning once per study
    schema     JSON schema of the answer, an object
    value      expression over the answer's fields and the constants: a finite number, higher is better
    parts      name -> expression, further numbers for curves and gates
    constants  names for the expressions; `items | weigh(weights)` looks up each item's `severity`
    empty      the answer that a candidate stands for which says nothing; the server is not asked

Expressions are Jinja's, in its sandbox: arithmetic, filters such as `sum` and `length`, no code of the file's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import yaml
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import SandboxedEnvironment

from judges.base import MOST_VALUE, Score
from judges.errors import ConfigError

SHIPPED = ("error_count", "severity")
KEYS = {"name", "system", "prompt", "schema", "value", "parts", "constants", "empty"}
NEEDED = ("prompt", "schema", "value", "empty")
TEXTS = ("reference", "candidate", "indication")

Expression = Callable[..., Any]


class UnreadableAnswer(ValueError):
    """An answer that the rubric does not allow. The message holds no report text."""


@dataclass(frozen=True)
class Rubric:
    """fingerprint  hash of the file's content: with another one scores mean something else"""

    name: str
    system: str
    schema: dict[str, Any]
    fingerprint: str
    empty: Score
    _prompt: jinja2.Template
    _value: Expression
    _parts: dict[str, Expression]
    _constants: dict[str, Any]

    def messages(self, reference: str, candidate: str, indication: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        text = self._prompt.render(reference=reference, candidate=candidate, indication=indication)
        return [*system, {"role": "user", "content": text}]

    def score(self, text: str) -> Score:
        """The score that an answer states. Raises UnreadableAnswer; nothing is repaired or guessed."""
        return self.score_of(read_answer(text, self.schema))

    def score_of(self, answer: Mapping[str, Any]) -> Score:
        """The score of an answer that fits the schema. Raises UnreadableAnswer if a formula has no finite value."""
        names = {**self._constants, **answer}
        value = _number("value", self._value, names)
        return Score(value, parts={name: _number(name, part, names) for name, part in self._parts.items()})


def load_rubric(file: str) -> Rubric:
    """A rubric that comes with the package, by its name, or a file. Raises ConfigError naming file and key."""
    path = Path(str(files("judges.rubric") / f"{file}.yaml")) if file in SHIPPED else Path(os.path.expanduser(file))
    try:
        content = path.read_bytes()
        data = yaml.safe_load(content)
    except OSError as problem:
        raise ConfigError(
            f"judge rubric: rubric is {file!r}, which cannot be read ({problem.strerror}, looked from {Path.cwd()}). "
            f"Expected a YAML file, or one of {', '.join(SHIPPED)}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"judge rubric: {path}: not YAML ({' '.join(str(problem).split())}).") from None
    return make_rubric(data, str(path), hashlib.sha256(content).hexdigest())


def make_rubric(data: Any, origin: str, fingerprint: str = "") -> Rubric:
    """The rubric that the YAML content `data` describes. Raises ConfigError with `origin` and the key at fault."""
    if not isinstance(data, dict):
        raise ConfigError(f"judge rubric: {origin}: found {type(data).__name__}, expected keys {sorted(KEYS)}.")
    unknown, missing = sorted(set(data) - KEYS, key=str), [key for key in NEEDED if key not in data]
    if unknown or missing:
        found = [*(f"unknown key {key!r}" for key in unknown), *(f"no {key!r}" for key in missing)]
        raise ConfigError(f"judge rubric: {origin}: {', '.join(found)}; its keys are {', '.join(sorted(KEYS))}.")
    for key, kind in {"prompt": str, "system": str, "schema": dict, "parts": dict, "constants": dict}.items():
        if not isinstance(data.get(key, kind()), kind):
            raise ConfigError(f"judge rubric: {origin}: {key} is no {kind.__name__}. Correct it.")
    schema = _schema(data["schema"], origin)
    constants = data.get("constants", {})
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["weigh"] = weigh
    known = {*schema.get("properties", {}), *constants}

    def expression(key: str, text: Any) -> Expression:
        _check_names(environment, f"{{{{ {text} }}}}", known, f"{origin}: {key}")
        return environment.compile_expression(str(text), undefined_to_none=False)

    _check_names(environment, data["prompt"], set(TEXTS), f"{origin}: prompt")
    for needed in TEXTS[:2]:
        if needed not in find_undeclared_variables(environment.parse(data["prompt"])):
            raise ConfigError(f"judge rubric: {origin}: prompt lacks {{{{ {needed} }}}}, so the LLM would not see it.")
    values = expression("value", data["value"]), {k: expression(k, v) for k, v in data.get("parts", {}).items()}
    name = str(data.get("name", Path(origin).stem))
    prompt = environment.from_string(data["prompt"])
    shape = (name, str(data.get("system", "")), schema, fingerprint)
    rubric = Rubric(*shape, Score.unscorable("not known yet"), prompt, *values, constants)
    try:
        empty = rubric.score_of(_valid(data["empty"], schema))
    except UnreadableAnswer as problem:
        raise ConfigError(f"judge rubric: {origin}: empty: {problem}. It must be an answer with a value.") from None
    return Rubric(*shape, empty, prompt, *values, constants)


def read_answer(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of an answer, if it is one and fits the schema. Raises UnreadableAnswer.

    Prose around it, code fences, half an object, NaN, keys given twice: none of them is an answer.
    """
    try:
        found = json.loads(text.strip(), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except RecursionError:
        raise UnreadableAnswer("the answer is nested too deeply") from None
    except UnreadableAnswer:
        raise
    except ValueError:
        raise UnreadableAnswer("the answer is not one JSON value") from None
    return _valid(found, schema)


def weigh(items: Sequence[Mapping[str, Any]], weights: Mapping[str, float], key: str = "severity") -> list[float]:
    """The weight of each item by its `key`. Raises UnreadableAnswer for one that the rubric lacks."""
    try:
        return [float(weights[item[key]]) for item in items]
    except (KeyError, TypeError):
        raise UnreadableAnswer(f"the answer has a {key} that the rubric lacks") from None


def _valid(found: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise UnreadableAnswer(f"the answer is a JSON {type(found).__name__}, not an object")
    problem = next(jsonschema.Draft202012Validator(schema).iter_errors(found), None)
    if problem is not None:  # its message quotes the answer, and so perhaps a report
        place = ".".join("[]" if isinstance(step, int) else str(step) for step in problem.schema_path)
        raise UnreadableAnswer(f"the answer does not fit the schema at {place}")
    return found


def _number(name: str, expression: Expression, names: Mapping[str, Any]) -> float:
    try:
        found = expression(**names)
        if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= MOST_VALUE:  # nor NaN
            raise UnreadableAnswer(f"{name} of the answer is no finite number of at most {MOST_VALUE:g}")
        return float(found)
    except ZeroDivisionError:
        raise UnreadableAnswer(f"{name} of the answer divides by 0") from None
    except (OverflowError, TypeError, jinja2.TemplateError):
        raise UnreadableAnswer(f"{name} of the answer cannot be computed") from None


def _schema(schema: dict[str, Any], origin: str) -> dict[str, Any]:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as problem:
        raise ConfigError(f"judge rubric: {origin}: schema: {problem.message}.") from None
    if schema.get("type") != "object":
        raise ConfigError(f"judge rubric: {origin}: schema: type is {schema.get('type')!r}, expected 'object'.")
    return schema


def _check_names(environment: SandboxedEnvironment, template: str, known: set[str], place: str) -> None:
    try:
        used = find_undeclared_variables(environment.parse(template))
    except jinja2.TemplateSyntaxError as problem:
        raise ConfigError(f"judge rubric: {place}: {problem.message}.") from None
    except jinja2.TemplateAssertionError as problem:
        raise ConfigError(f"judge rubric: {place}: {problem.message}.") from None
    unknown = sorted(used - known)
    if unknown:
        names = ", ".join(sorted(known))
        raise ConfigError(f"judge rubric: {place}: {', '.join(unknown)} is not known; expected {names}.")


def _no_constant(word: str) -> float:
    raise UnreadableAnswer(f"the answer holds {word}")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableAnswer("the answer gives a key twice")
    return found
