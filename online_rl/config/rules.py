"""Rules between keys: each is a function whose name states it and whose answer is None or what to change.

`@rule(keys...)` names the keys that a rule reads, so that it is left out where one of them is itself unreadable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from judges.composite import parse_gate
from judges.length import make_rule
from judges.network import host_of, is_private, urls
from online_rl.data.layouts import LAYOUTS, PYTHON
from online_rl.errors import JudgeError

if TYPE_CHECKING:
    from online_rl.config.model import Config, GuardEntry

Check = Callable[["Config"], "str | None"]
RULES: list[tuple[tuple[str, ...], Check]] = []

# The image and the chat template take tokens too; fewer than this can't be a prompt.
LEAST_PROMPT_TOKENS = 16

# Arguments of vllm.LLM that have a key of their own; written twice they would drift apart.
OWNED_ENGINE_ARGS = {
    "model": "model.path",
    "tokenizer": "model.path",
    "revision": "model.revision",
    "dtype": "model.dtype",
    "trust_remote_code": "model.trust_remote_code",
    "max_model_len": "rollout.max_model_len",
    "max_num_seqs": "rollout.max_num_seqs",
    "gpu_memory_utilization": "rollout.gpu_memory_utilization",
    "tensor_parallel_size": "rollout.tensor_parallel_size",
    "seed": "run.seed",
}


def rule(*keys: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES.append((keys, check))
        return check

    return register


def broken_rules(cfg: Config, unreadable: tuple[str, ...] = ()) -> list[str]:
    """One paragraph per broken rule."""
    problems = []
    for keys, check in RULES:
        if any(_touches(bad, key) for bad in unreadable for key in keys):
            continue
        problem = check(cfg)
        if problem:
            problems.append(f"{problem} (rule: {check.__name__.replace('_', ' ')})")
    return problems


def _touches(bad: str, key: str) -> bool:
    """Is `bad` the key, something inside it, or the section around it?"""
    return bad == key or bad.startswith((key + ".", key + "[")) or key.startswith(bad + ".")


@rule("rollout.group_size")
def a_group_needs_two_candidates(cfg: Config) -> str | None:
    if cfg.rollout.group_size >= 2:
        return None
    return (
        f"rollout.group_size: found {cfg.rollout.group_size}, expected at least 2: candidates are compared within "
        "their group, and one alone has no advantage. Set it to 4 to 16."
    )


@rule("rollout.max_model_len", "rollout.max_completion_tokens")
def the_prompt_needs_room(cfg: Config) -> str | None:
    limit, completion = cfg.rollout.max_model_len, cfg.rollout.max_completion_tokens
    if limit > completion + LEAST_PROMPT_TOKENS:
        return None
    return (
        f"rollout.max_model_len: found {limit}, expected more than rollout.max_completion_tokens + "
        f"{LEAST_PROMPT_TOKENS} = {completion + LEAST_PROMPT_TOKENS}: prompt, image and completion share it. Raise it."
    )


@rule("rollout.engine_args")
def engine_arguments_have_one_place(cfg: Config) -> str | None:
    doubled = [key for key in cfg.rollout.engine_args if key in OWNED_ENGINE_ARGS]
    if not doubled:
        return None
    moves = ", ".join(f"{key} -> {OWNED_ENGINE_ARGS[key]}" for key in doubled)
    return f"rollout.engine_args: holds {', '.join(doubled)}, which have keys of their own. Move: {moves}."


@rule("rollout.tensor_parallel_size")
def one_engine_per_rank(cfg: Config) -> str | None:
    size = cfg.rollout.tensor_parallel_size
    if size == 1:
        return None
    return (
        f"rollout.tensor_parallel_size: found {size}, expected 1. Ranks that share an engine would need the same "
        "prompts, which is not built yet; choose a policy that one GPU can serve."
    )


@rule("data.reader", "data.path")
def real_data_needs_a_path(cfg: Config) -> str | None:
    if cfg.data.reader in ("demo", PYTHON) or cfg.data.path:
        return None
    kind = LAYOUTS[cfg.data.reader].kind
    return f"data.path: found nothing, expected the {kind} that data.reader={cfg.data.reader} reads. Set data.path."


@rule("data.reader", "data.path")
def the_demo_makes_its_own_data(cfg: Config) -> str | None:
    if cfg.data.reader != "demo" or not cfg.data.path:
        return None
    return (
        f"data.path: found {cfg.data.path!r} beside data.reader=demo, which would ignore it. Set data.reader to one of "
        f"{', '.join(name for name in LAYOUTS if name not in ('demo', PYTHON))}, or remove data.path."
    )


@rule("data.prompt")
def the_prompt_knows_one_placeholder(cfg: Config) -> str | None:
    unknown = sorted(set(re.findall(r"\{(\w+)\}", cfg.data.prompt)) - {"indication"})
    if not unknown:
        return None
    return f"data.prompt: found {{{unknown[0]}}}, expected no placeholder but {{indication}}. Correct the prompt."


@rule("judges")
def some_judge_decides(cfg: Config) -> str | None:
    if any(judge.weight for judge in cfg.judges):
        return None
    found = "an empty list" if not cfg.judges else "only judges of weight 0"
    return f"judges: found {found}, expected at least one with a weight other than 0, or nothing is rewarded."


@rule("judges", "guards")
def judges_have_names_of_their_own(cfg: Config) -> str | None:
    twice = [name for name, count in Counter(entry.label for _, entry in _entries(cfg)).items() if count > 1]
    if not twice:
        return None
    return f"judges: {twice[0]!r} names more than one judge; rewards/<name>/mean would mix them. Give each a `name`."


@rule("judges", "guards")
def gates_name_a_judge_and_a_number(cfg: Config) -> str | None:
    known = [entry.label for _, entry in _entries(cfg)]
    for position, judge in enumerate(cfg.judges):
        try:
            conditions = parse_gate(judge.only_if) if judge.only_if is not None else ()
        except JudgeError as problem:
            return f"judges[{position}].{problem}"
        for condition in conditions:
            if condition.judge not in known:
                return (
                    f"judges[{position}].only_if: found judge {condition.judge!r}, expected one of {', '.join(known)}. "
                    "Correct the name, or add it to `guards`."
                )
    return None


@rule("judges", "guards")
def length_rules_get_what_they_take(cfg: Config) -> str | None:
    for place, entry in _entries(cfg):
        if entry.length_control == "none":
            if entry.length_args:
                return (
                    f"{place}.length_args: found {sorted(entry.length_args)} beside length_control=none, which would "
                    "ignore them. Name the rule, or remove them."
                )
            continue
        try:
            make_rule(entry.length_control, entry.length_args)
        except JudgeError as problem:
            return f"{place}.{problem}"
    return None


@rule("scoring.call_timeout_s", "scoring.max_retries", "scoring.deadline_s")
def the_deadline_outlasts_a_call_and_its_retries(cfg: Config) -> str | None:
    longest = cfg.scoring.longest_call_s
    if cfg.scoring.deadline_s >= longest:
        return None
    return (
        f"scoring.deadline_s: found {cfg.scoring.deadline_s:g}, expected at least {longest:g}: scoring.call_timeout_s "
        "x (scoring.max_retries + 1) and the pauses between, or a judge that hangs once is never asked again. Raise "
        "it, or lower scoring.call_timeout_s."
    )


OWN_TIMEOUT_S = {"green": 50.0, "http": 60.0}  # defaults of the judges that wait for a server


@rule("judges", "scoring.call_timeout_s")
def a_judges_own_timeout_ends_first(cfg: Config) -> str | None:
    limit = cfg.scoring.call_timeout_s
    for place, judge in _entries(cfg):
        own = judge.args.get("timeout_s", OWN_TIMEOUT_S.get(judge.use))
        if isinstance(own, int | float) and own >= limit:
            return (
                f"{place}.args.timeout_s: found {own:g}, expected less than scoring.call_timeout_s={limit:g}"
                ", which would cut the judge off before it can say what is wrong. Lower it, or raise the other."
            )
    return None


@rule("scoring.deadline_s", "train.collective_timeout_s")
def the_watchdog_outlasts_every_deadline(cfg: Config) -> str | None:
    if cfg.train.collective_timeout_s > cfg.scoring.deadline_s:
        return None
    return (
        f"train.collective_timeout_s: found {cfg.train.collective_timeout_s:g}, expected more than scoring.deadline_s="
        f"{cfg.scoring.deadline_s:g}: other ranks wait while one still calls a judge. Raise it, or lower the deadline."
    )


@rule("monitor.samples", "monitor.samples_every", "monitor.protected")
def protected_data_leaves_no_samples(cfg: Config) -> str | None:
    for key in ("samples", "samples_every"):
        if cfg.monitor.protected and getattr(cfg.monitor, key):
            return (
                f"monitor.{key}: found {getattr(cfg.monitor, key)} beside monitor.protected=true, expected 0: samples "
                "hold images and report text. Set one of the two."
            )
    return None


@rule("judges", "guards", "monitor.protected", "scoring.allow_remote")
def reports_stay_in_the_own_network(cfg: Config) -> str | None:
    if cfg.scoring.allow_remote and not cfg.monitor.protected:
        return None
    for place, entry in _entries(cfg):
        for key, url in urls(entry.args):
            host = host_of(url)
            if is_private(host):
                continue
            if cfg.monitor.protected:
                return (
                    f"{place}.args.{key}: found host {host!r} beside monitor.protected=true, expected this machine or "
                    "a private network address: the judge is sent report text. Name a local judge server, or set "
                    "monitor.protected to false if the data may leave."
                )
            return (
                f"{place}.args.{key}: found host {host!r}, expected this machine or a private network address: the "
                "judge is sent report text. Name a local judge server, or set scoring.allow_remote=true if the data "
                "may leave."
            )
    return None


@rule("resume")
def resume_names_a_checkpoint(cfg: Config) -> str | None:
    if cfg.resume in ("never", "auto") or Path(cfg.resume).expanduser().is_dir():
        return None
    return (
        f"resume: found {cfg.resume!r}, expected never, auto, or the folder of a checkpoint; there is no such folder."
    )


def broken_world_rules(cfg: Config, world_size: int) -> list[str]:
    """One paragraph per number that does not fit `world_size` ranks."""
    rollout, train = cfg.rollout, cfg.train
    if world_size < 1:
        return [f"world size: found {world_size}, expected at least 1 rank."]
    if rollout.studies_per_step % world_size:
        return [
            f"rollout.studies_per_step: found {rollout.studies_per_step}, expected a multiple of the {world_size} "
            f"ranks (the nearest above is {-(-rollout.studies_per_step // world_size) * world_size})."
        ]
    algorithm = cfg.algorithm
    pairs = algorithm.compares_pairs
    units = rollout.studies_per_step // world_size * algorithm.units_per_study(rollout.group_size)
    if pairs and algorithm.online_dpo.pairing != "best_worst":
        return []  # how many pairs a group gives is known when it has been scored
    if units % train.updates_per_step:
        return [
            f"train.updates_per_step: found {train.updates_per_step}, expected a divisor of the {units} "
            f"{'pairs' if pairs else 'completions'} that each of {world_size} ranks has per step."
        ]
    return []


def doubtful(cfg: Config) -> list[str]:
    """Settings that run, and that one should know the cost of."""
    notes = []
    if cfg.rollout.top_p < 1:
        notes.append(f"rollout.top_p={cfg.rollout.top_p:g}: below 1 it biases the importance ratio.")
    if cfg.rollout.temperature != 1:
        notes.append(f"rollout.temperature={cfg.rollout.temperature:g}: the policy is trained at this temperature.")
    if "{indication}" not in cfg.data.prompt:
        notes.append("data.prompt has no {indication}: the policy will not see why the exam was ordered.")
    if cfg.data.max_eval_studies is not None and cfg.eval.studies > cfg.data.max_eval_studies:
        notes.append(
            f"eval.studies={cfg.eval.studies}: only data.max_eval_studies={cfg.data.max_eval_studies} are kept."
        )
    if cfg.scoring.multi_objective_aggregation == "normalize_then_sum" and len(cfg.judges) == 1:
        notes.append("scoring.multi_objective_aggregation=normalize_then_sum: with one judge it is a plain z-score.")
    if cfg.model.lora.dropout:
        notes.append(f"model.lora.dropout={cfg.model.lora.dropout:g}: gradients are not of the policy that sampled.")
    if cfg.model.trust_remote_code:
        notes.append("model.trust_remote_code=true: Python code from the model's folder will run.")
    return notes


def _entries(cfg: Config) -> list[tuple[str, GuardEntry]]:
    """Every judge and guard with its place in the configuration."""
    judges = [(f"judges[{i}]", entry) for i, entry in enumerate(cfg.judges)]
    return [*judges, *((f"guards[{i}]", entry) for i, entry in enumerate(cfg.guards))]
