"""Rules between the keys of judges, guards and their calls, and what report text may leave this machine."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from judges import transform
from judges.composite import parse_gate
from judges.length import make_rule
from judges.network import host_of, is_private, urls
from judges.registry import check_built_in
from online_rl.config.rules.rule import rule
from online_rl.errors import JudgeError

if TYPE_CHECKING:
    from online_rl.config.model import Config, JudgeSpec

OWN_TIMEOUT_S = {"green": 50.0, "http": 60.0, "rubric": 50.0}  # defaults of the judges that wait for a server


@rule("judges")
def some_judge_decides(cfg: Config) -> str | None:
    if any(judge.weight for judge in cfg.judges):
        return None
    found = "an empty list" if not cfg.judges else "only judges of weight 0"
    return f"judges: found {found}, expected at least one with a weight other than 0, or nothing is rewarded."


@rule("judges", "guards")
def judges_have_names_of_their_own(cfg: Config) -> str | None:
    twice = [name for name, count in Counter(entry.label for _, entry in entries(cfg)).items() if count > 1]
    if not twice:
        return None
    return f"judges: {twice[0]!r} names more than one judge; rewards/<name>/mean would mix them. Give each a `name`."


@rule("judges", "guards")
def gates_name_a_judge_and_a_number(cfg: Config) -> str | None:
    known = [entry.label for _, entry in entries(cfg)]
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
def arguments_are_those_of_the_judge(cfg: Config) -> str | None:
    for place, entry in entries(cfg):
        try:
            check_built_in(entry.use, entry.args)
        except JudgeError as problem:
            return f"{place}: {problem}"
    return None


@rule("judges", "guards")
def transforms_are_known(cfg: Config) -> str | None:
    for place, entry in entries(cfg):
        try:
            transform.check(entry.transform)
        except JudgeError as problem:
            return f"{place}.{problem}"
    return None


@rule("judges", "guards")
def length_rules_get_what_they_take(cfg: Config) -> str | None:
    for place, entry in entries(cfg):
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


@rule("scoring.call_timeout_s", "scoring.outage_s", "scoring.max_retries", "scoring.deadline_s")
def the_deadline_outlasts_a_call_and_its_retries(cfg: Config) -> str | None:
    longest = cfg.scoring.longest_call_s
    if cfg.scoring.deadline_s >= longest:
        return None
    if cfg.scoring.max_retries is None:
        what, other = "scoring.call_timeout_s x 2 and scoring.outage_s", "scoring.outage_s"
    else:
        what, other = "scoring.call_timeout_s x (scoring.max_retries + 1) and the pauses between", "scoring.max_retries"
    return (
        f"scoring.deadline_s: found {cfg.scoring.deadline_s:g}, expected at least {longest:g}: {what}, or a judge that "
        f"hangs once is never asked again. Raise it, or lower scoring.call_timeout_s or {other}."
    )


@rule("judges", "scoring.call_timeout_s")
def a_judges_own_timeout_ends_first(cfg: Config) -> str | None:
    limit = cfg.scoring.call_timeout_s
    for place, judge in entries(cfg):
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


@rule("monitor.trackers", "data.confidential")
def confidential_data_opens_no_tracker_with_a_socket(cfg: Config) -> str | None:
    found = [name for name in cfg.monitor.trackers if name in ("wandb", "trackio")]
    if not cfg.data.confidential or not found:
        return None
    return (
        f"monitor.trackers: found {found[0]} beside data.confidential=true, expected tensorboard or mlflow, which "
        "write files: it talks to a process or a service over a socket, offline too. Leave it out."
    )


@rule("monitor.trackers", "monitor.tensorboard")
def tensorboard_is_on_or_off(cfg: Config) -> str | None:
    if cfg.monitor.tensorboard or "tensorboard" not in cfg.monitor.trackers:
        return None
    return "monitor.trackers: found tensorboard beside monitor.tensorboard=false. Change one of the two."


@rule("judges", "guards", "data.confidential", "scoring.allow_remote")
def reports_stay_in_the_own_network(cfg: Config) -> str | None:
    if cfg.scoring.allow_remote and not cfg.data.confidential:
        return None
    for place, entry in entries(cfg):
        for key, url in urls(entry.args):
            host = host_of(url)
            if is_private(host):
                continue
            if cfg.data.confidential:
                return (
                    f"{place}.args.{key}: found host {host!r} beside data.confidential=true, expected this machine or "
                    "a private network address: the judge is sent report text. Name a local judge server, or set "
                    "data.confidential to false if the data may leave."
                )
            return (
                f"{place}.args.{key}: found host {host!r}, expected this machine or a private network address: the "
                "judge is sent report text. Name a local judge server, or set scoring.allow_remote=true if the data "
                "may leave."
            )
    return None


def entries(cfg: Config) -> list[tuple[str, JudgeSpec]]:
    """Every judge and guard with its place in the configuration."""
    judges = [(f"judges[{i}]", entry) for i, entry in enumerate(cfg.judges)]
    return [*judges, *((f"guards[{i}]", entry) for i, entry in enumerate(cfg.guards))]
