"""Building a supervised run from its configuration, cheap checks first, and closing it with a model and a table."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from online_rl import checkpoint
from online_rl.algorithms.likelihood import Likelihood
from online_rl.build import draw, export_policy, how_to_show, open_monitor, read_data_and_join
from online_rl.config import Config, save_resolved
from online_rl.config.supervised import stage_config
from online_rl.data.sampler import StudySampler
from online_rl.data.studies import Studies
from online_rl.demo.prepare import prepare
from online_rl.given import Given
from online_rl.monitor.health import in_use
from online_rl.monitor.hparams import SUPERVISED_METRICS, supervised_hyperparameters
from online_rl.monitor.trackers import check_trackers
from online_rl.policy.load import read_policy
from online_rl.policy.memory import out_of_memory_explained
from online_rl.policy.model import banned_token_ids, pad_token_id
from online_rl.policy.supervised import SupervisedPolicy
from online_rl.provenance import Provenance, take_provenance, the_same_on_all_ranks
from online_rl.ranks import collectives
from online_rl.ranks.stop import StopRequest
from online_rl.ranks.watchdog import EARLIER, Watchdog
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.targets import TargetBuilder
from online_rl.run_lock import RunLock
from online_rl.supervised.held_out import HeldOut
from online_rl.supervised.lessons import Lessons
from online_rl.supervised.loop import Results, SupervisedLoop


def build(cfg: Config) -> SupervisedLoop:
    """Build every part of the run. What can be wrong is found out before a model is loaded.

    cfg  the configuration of both stages; `run.dir` is the folder of this one
    """
    with ExitStack() as undo:
        loop = _build(cfg, undo)
        undo.pop_all()
    return loop


def _build(cfg: Config, undo: ExitStack) -> SupervisedLoop:
    demo = prepare(cfg)
    studies = read_data_and_join(cfg, Given(), demo)
    cfg = stage_config(cfg, len(studies.train), int(os.environ.get("WORLD_SIZE", "1")))
    path = str(demo.policy or cfg.model.path)
    model_config, processor = read_policy(path, cfg)
    builder = PromptBuilder(processor, cfg, studies.quarantine)
    targets = TargetBuilder(builder, cfg)
    watchdog = Watchdog(cfg.train.collective_timeout_s * EARLIER)
    undo.callback(watchdog.close)
    with collectives.together():
        seen = take_provenance(cfg, None, studies.train, studies.eval, builder.render)
        lock = RunLock(Path(cfg.run.dir)) if collectives.rank() == 0 else None
    if lock:
        undo.callback(lock.close)
    found, messages = _claim_folder(cfg, studies, the_same_on_all_ranks(collectives.gather(seen)))

    # From here on a model is loaded.
    tokenizer = processor.tokenizer
    with out_of_memory_explained("loading the policy"):
        policy = SupervisedPolicy(
            path, cfg, Likelihood(cfg), banned_token_ids(model_config, tokenizer), pad_token_id(tokenizer)
        )
    monitor = open_monitor(
        cfg, found.step if found else 0, watchdog, messages, supervised_hyperparameters(cfg), SUPERVISED_METRICS
    )
    undo.callback(monitor.close)
    monitor.in_use = dataclasses.replace(in_use(cfg), truncated="mask")  # no hint about scores, which there are none of
    policy.warn = monitor.warn
    sampler = StudySampler(len(studies.train), cfg.rollout.studies_per_step, cfg.run.seed)
    lessons = Lessons(studies.train, sampler, targets)
    together = max(1, cfg.rollout.studies_per_step // collectives.world_size())
    held_out = HeldOut(studies.eval[: cfg.eval.studies], targets, policy, monitor, together)
    loop = SupervisedLoop(
        cfg=cfg,
        lessons=lessons,
        policy=policy,
        held_out=held_out,
        checkpoints=checkpoint.Checkpoints(cfg, policy, [lessons, held_out, seen]),
        monitor=monitor,
        stop=StopRequest(cfg.train.stop_after),
        watchdog=watchdog,
        lock=lock,
    )
    if found:
        loop.restore(found)
    return loop


def _claim_folder(cfg: Config, studies: Studies, seen: Provenance) -> tuple[checkpoint.Checkpoint | None, list[str]]:
    """Return the checkpoint to continue from, and messages for the console; the run folder is this run's."""
    main_rank, run_dir = collectives.rank() == 0, Path(cfg.run.dir)
    with collectives.together():
        if main_rank:
            checkpoint.claim_run_folder(cfg)
        check_trackers(cfg.monitor.trackers, run_dir, cfg.data.confidential)
    with collectives.together():
        studies.quarantine.write_to(run_dir, so_far=main_rank)
    warnings = [*cfg.notes, *(f"data: {doubt}" for doubt in studies.doubts)]
    found = checkpoint.find(cfg, warnings.append, seen)
    with collectives.together():
        if main_rank:
            if cfg.resume != "never":
                warnings += checkpoint.set_later_aside(found.step if found else 0, run_dir)
            save_resolved(cfg, run_dir)
    about = (
        f"supervised stage: {len(studies.train)} reference reports, {cfg.rollout.studies_per_step} per step, "
        f"{cfg.train.max_steps} steps"
    )
    return found, [about, *(f"warning: {message}" for message in warnings)]


def finish(loop: SupervisedLoop, before: dict[str, float], after: dict[str, float]) -> None:
    """Export the trained policy as a Hugging Face folder, print the table and what comes next, draw the curves."""
    from online_rl.pictures.final_table import final_table

    run_dir = loop.run_dir
    export_policy(loop.policy, loop.lessons.targets.builder.processor, run_dir / "model")
    loop.monitor.close()
    if collectives.rank():
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    if before:
        print(f"\n{final_table(before, after, len(loop.held_out.studies), width, 'reference reports')}\n")
    print(f"trained policy  {run_dir / 'model'}")
    draw(run_dir)
    print(how_to_show(run_dir))
    print(f"its reports     online-rl eval {shlex.quote(str(run_dir))} --against start")
    print(f"online stage    online-rl train --config CONFIG {shlex.quote(f'model.path=run:{run_dir}')}")


def train_supervised(cfg: Config) -> Results | None:
    """Run the stage, alone in this process or on every rank that the launcher has started.

    Returns the held-out metrics before and after; None if the run was stopped on request, saved. Raises what the
    command line prints, as `online_rl.train` does.
    """
    loop = build(cfg)
    try:
        results = loop.run()
        if results is None:
            saved = f"stopped at step {loop.step}, saved" if loop.step else "stopped before the first step"
            loop.monitor.note(f"{saved}; continue with resume=auto")
        else:
            finish(loop, *results)
        return results
    finally:
        loop.close()
