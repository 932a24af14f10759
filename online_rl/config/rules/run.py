"""Rules between the keys of sampling, data and the run as a whole, the number of ranks included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from online_rl.config.rules.rule import rule
from online_rl.data.columns import COLUMNS, SECTIONS, role_of
from online_rl.data.layouts import LAYOUTS, PYTHON, kind_of
from online_rl.data.prompt import is_function, markup, placeholders
from online_rl.data.where import problem_of
from online_rl.paths import code_file, is_inside

if TYPE_CHECKING:
    from online_rl.config.model import Config

# The image and the chat template take tokens too; fewer than this can't be a prompt.
LEAST_PROMPT_TOKENS = 16

# Files and folders that a run makes in run.dir, whatever is there.
WRITTEN_BY_A_RUN = (
    *("checkpoints", "model", "samples", "tensorboard", "plots"),
    *("metrics.jsonl", "config.resolved.yaml", "quarantine.jsonl"),
)

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


@rule("data.reader", "data.path")
def real_data_needs_a_path(cfg: Config) -> str | None:
    if cfg.data.reader in ("demo", PYTHON) or cfg.data.path:
        return None
    kind = kind_of(cfg.data.reader)
    return f"data.path: found nothing, expected the {kind} that data.reader={cfg.data.reader} reads. Set data.path."


@rule("data.reader", "data.path")
def the_demo_makes_its_own_data(cfg: Config) -> str | None:
    if cfg.data.reader != "demo" or not cfg.data.path:
        return None
    return (
        f"data.path: found {cfg.data.path!r} beside data.reader=demo, which would ignore it. Set data.reader to one of "
        f"{', '.join(name for name in LAYOUTS if name not in ('demo', PYTHON))}, or remove data.path."
    )


@rule("data.reader", "data.args")
def built_in_readers_take_their_own_arguments(cfg: Config) -> str | None:
    if cfg.data.reader not in LAYOUTS:
        return None
    takes = LAYOUTS[cfg.data.reader].args
    unknown = sorted(set(cfg.data.args) - set(takes))
    if not unknown:
        return None
    return (
        f"data.args: found {unknown} beside data.reader={cfg.data.reader}, expected "
        f"{'none but ' + ', '.join(takes) if takes else 'nothing: they are for readers from outside'}. Remove them."
    )


@rule("data.columns")
def columns_are_named_by_role(cfg: Config) -> str | None:
    first: dict[str, str] = {}
    for word in cfg.data.columns:
        if not role_of(word):
            roles = ", ".join((*COLUMNS, "reference"))
            return (
                f"data.columns: found the role {word!r}, expected one of {roles}; the column's own name stands behind "
                "it, as in {image: xray_file}."
            )
        for role in role_of(word):
            if (other := first.setdefault(role, word)) != word:
                return f"data.columns: found {other!r} and {word!r}, expected one name for {role}. Remove one of them."
    return None


@rule("data.where")
def conditions_on_studies_can_be_read(cfg: Config) -> str | None:
    return problem_of(cfg.data.where)


@rule("data.section", "data.report_format")
def both_sections_have_a_place_in_the_format(cfg: Config) -> str | None:
    lacking = [f"{{{name}}}" for name in SECTIONS if f"{{{name}}}" not in cfg.data.report_format]
    if cfg.data.section != "both" or not lacking:
        return None
    return f"data.report_format: found no {' and no '.join(lacking)}, expected both {{findings}} and {{impression}}."


@rule("data.prompt", "data.system_prompt")
def a_template_holds_no_markup(cfg: Config) -> str | None:
    for key, text in (("data.prompt", cfg.data.prompt), ("data.system_prompt", cfg.data.system_prompt or "")):
        if found := markup(text):
            return (
                f"{key}: found {found!r}, which the policy's chat template or processor writes itself; expected plain "
                "text. Remove it: images come first, and turns are added."
            )
    return None


@rule("data.prompt", "data.prior")
def a_prior_report_has_a_place_in_the_prompt(cfg: Config) -> str | None:
    shown = is_function(cfg.data.prompt) or "prior_report" in placeholders(cfg.data.prompt)
    wanted = cfg.data.prior in ("report", "both")
    if shown == wanted or is_function(cfg.data.prompt):
        return None
    if wanted:
        return (
            f"data.prior: found {cfg.data.prior}, but data.prompt has no {{prior_report}}; expected it there, such as "
            "Prior report: {prior_report|none}."
        )
    return (
        f"data.prompt: found {{prior_report}} beside data.prior={cfg.data.prior}, expected report or both. Set "
        "data.prior=report."
    )


@rule("rollout.reasoning_tags")
def reasoning_has_a_beginning_and_an_end(cfg: Config) -> str | None:
    tags = cfg.rollout.reasoning_tags
    if not tags or (len(tags) == 2 and all(tags) and tags[0] != tags[1]):
        return None
    return f"rollout.reasoning_tags: found {tags}, expected two different texts, such as [<think>, </think>], or []."


@rule(
    "run.dir",
    "model.path",
    "ref_model.path",
    "data.path",
    "data.image_root",
    "demo.reports",
    "demo.cache",
    "judges",
    "guards",
)
def what_is_read_is_not_written(cfg: Config) -> str | None:
    run = Path(cfg.run.dir)
    reads = {
        "model.path": cfg.model.path if Path(cfg.model.path).exists() else None,  # else a name on the hub
        "ref_model.path": ref if (ref := cfg.ref_model.path) and Path(ref).exists() else None,
        "data.path": cfg.data.path,
        "data.image_root": cfg.data.image_root,
        "demo.reports": cfg.demo.reports,
        "demo.cache": cfg.demo.cache,
    }
    uses = [*(f"judges[{i}]" for i in range(len(cfg.judges))), *(f"guards[{i}]" for i in range(len(cfg.guards)))]
    entries = zip(uses, [*cfg.judges, *cfg.guards], strict=True)
    reads |= {f"{place}.use": str(file) for place, entry in entries if (file := code_file(entry.use))}
    for key, path in reads.items():
        for name in WRITTEN_BY_A_RUN:
            if path and is_inside(Path(path), run / name):
                return (
                    f"{key}: found {path!r}, which lies where the run writes {run / name}, and would be lost. Choose "
                    "another run.dir, or move it."
                )
    return None


@rule("resume")
def resume_names_a_checkpoint(cfg: Config) -> str | None:
    if cfg.resume in ("never", "auto") or Path(cfg.resume).is_dir():
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
    sharing = rollout.tensor_parallel_size
    if world_size % sharing:
        return [
            f"rollout.tensor_parallel_size: found {sharing}, expected a divisor of the {world_size} ranks: that many "
            "share one engine."
        ]
    algorithm = cfg.algorithm
    pairs = algorithm.compares_pairs
    units = rollout.studies_per_step // world_size * algorithm.units_per_study(rollout.group_size)
    if not algorithm.is_built_in or (pairs and algorithm.preference.pairing != "best_worst"):
        return []  # how many units a group gives is known when it has been scored
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
    if not is_function(cfg.data.prompt) and "indication" not in placeholders(cfg.data.prompt):
        notes.append("data.prompt has no {indication}: the policy will not see why the exam was ordered.")
    if cfg.data.sampling == "stratified":
        notes.append(
            "data.sampling=stratified: findings are more frequent in training than in the data, which teaches to call "
            "them too often. Compare findings/precision and findings/none_share in evaluations."
        )
    if cfg.scoring.multi_objective_aggregation == "normalize_then_sum" and len(cfg.judges) == 1:
        notes.append("scoring.multi_objective_aggregation=normalize_then_sum: with one judge it is a plain z-score.")
    if cfg.model.lora.dropout:
        notes.append(f"model.lora.dropout={cfg.model.lora.dropout:g}: gradients are not of the policy that sampled.")
    if cfg.model.trust_remote_code:
        notes.append("model.trust_remote_code=true: Python code from the model's folder will run.")
    return notes
