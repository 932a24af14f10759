"""Building a run from its configuration, cheap checks first, and closing it with pictures and a table."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from online_rl import checkpoint
from online_rl.algorithms import make_algorithm
from online_rl.collect import Collector
from online_rl.config import Config, load_config, save_resolved
from online_rl.config.load import Overrides, Source
from online_rl.data.in_memory import studies_in_memory
from online_rl.data.readers import read_studies
from online_rl.data.studies import Studies
from online_rl.data.weighted_sampler import make_sampler
from online_rl.demo.prepare import Demo, prepare
from online_rl.demo.reader import read_report
from online_rl.environment import prepare_environment
from online_rl.evaluate import Evaluation, Evaluator
from online_rl.given import Given
from online_rl.loop import Loop
from online_rl.monitor import Monitor
from online_rl.monitor.alarms import Alarms
from online_rl.monitor.health import in_use
from online_rl.monitor.hparams import final_metrics, hyperparameters
from online_rl.monitor.trackers import Tracker, check_trackers, open_trackers
from online_rl.policy import lora
from online_rl.policy.deepspeed import init_ranks, torchs_own_linear
from online_rl.policy.engine import Policy
from online_rl.policy.load import read_policy
from online_rl.policy.memory import out_of_memory_explained
from online_rl.policy.model import banned_token_ids, pad_token_id
from online_rl.policy.other_ref_model import read_ref_model
from online_rl.price_check import PriceCheck
from online_rl.provenance import Provenance, take_provenance, the_same_on_all_ranks
from online_rl.ranks import collectives
from online_rl.ranks.launch import several_machines
from online_rl.ranks.stop import StopRequest
from online_rl.ranks.watchdog import EARLIER, Watchdog
from online_rl.rollout.engine import RolloutEngine
from online_rl.rollout.parity import Parity
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.sync import WeightSync, weights_to_send
from online_rl.room import refuse_too_large
from online_rl.run_lock import RunLock
from online_rl.scoring import Scorer
from online_rl.scoring.setup import (
    count_tokens_with,
    describe_judges,
    dry_call,
    load_judges,
    make_blend,
    refuse_late_adapting,
)
from online_rl.scoring.tryout import references_that_judges_cannot_score
from online_rl.teacher_forcing import teacher_forcing
from online_rl.truth.lost import told
from online_rl.vqa.exam import draw_questions, make_exam


def build(config: Source, overrides: Overrides = (), given: Given | None = None) -> Loop:
    """Build every part of the run. What can be wrong is found out before a model is loaded.

    given  judges, studies and a callback that a caller in Python hands over
    """
    prepare_environment()
    cfg = load_config(config, overrides)
    with ExitStack() as undo:  # a judge that has started something is closed if the rest cannot be built
        loop = _build(cfg, given or Given(), undo)
        undo.pop_all()
    return loop


def _build(cfg: Config, given: Given, undo: ExitStack) -> Loop:
    cfg.check_world(int(os.environ.get("WORLD_SIZE", "1")))
    judges, guards = load_judges(cfg, given.judges)
    refuse_late_adapting([*(judge for judge, _ in judges), *guards], cfg)
    algorithm = make_algorithm(cfg)
    demo = prepare(cfg)
    studies = read_data_and_join(cfg, given, demo)
    path = str(demo.policy or cfg.model.path)
    with collectives.together():
        model_config, processor = read_policy(path, cfg)
    ref_path = read_ref_model(cfg, model_config, processor)
    watchdog = Watchdog(cfg.train.collective_timeout_s * EARLIER)
    undo.callback(watchdog.close)
    scorer = Scorer(judges, cfg, guards, make_blend(cfg))
    undo.callback(scorer.close)
    builder = PromptBuilder(processor, cfg, studies.quarantine)
    with collectives.together():
        unasked: list[str] = []
        questions = draw_questions(cfg, demo.world, unasked.append)
        loaded = [judge for judge, _ in scorer.judges]
        seen = take_provenance(cfg, loaded, studies.train, studies.eval, builder.render)
    with collectives.together():
        lock = RunLock(Path(cfg.run.dir)) if collectives.rank() == 0 else None
    if lock:
        undo.callback(lock.close)
    seen = the_same_on_all_ranks(collectives.gather(seen))
    found, messages = _claim_folder_and_try_judges(cfg, scorer, studies, seen)
    messages = [*describe_judges(cfg, judges, guards), *(f"warning: {message}" for message in [*unasked, *messages])]

    refuse_too_large(model_config, cfg, collectives.world_size())

    # From here on models are loaded.
    tokenizer = processor.tokenizer
    count_tokens_with(tokenizer, [judge for judge, _ in scorer.judges])
    sampler = make_sampler(cfg, studies.train)
    messages += sampler.notes()
    banned = banned_token_ids(model_config, tokenizer)
    with out_of_memory_explained("loading the policy"):
        policy = Policy(path, cfg, algorithm, banned, pad_token_id(tokenizer), ref_path)
    with torchs_own_linear():
        engine = RolloutEngine(path, cfg, processor, banned)
    unseen = engine.locate(weights_to_send(policy, engine)) if cfg.rollout.verify_sync_every else []
    if unseen:
        messages.append(f"warning: {_cannot_compare(unseen)}")
    monitor = open_monitor(
        cfg, found.step if found else 0, watchdog, messages, hyperparameters(cfg), final_metrics(cfg)
    )
    undo.callback(monitor.close)
    scorer.calls.tell(monitor.say)
    monitor.on_step = given.on_step
    policy.warn = monitor.warn
    collector = Collector(cfg, studies.train, sampler, builder, engine, scorer, algorithm, policy)
    parity = Parity(unseen, half_precision=cfg.model.dtype != "float32", stale=bool(cfg.scoring.behind))
    weights = WeightSync(engine, policy, parity)
    alarms = Alarms()
    drawn = cfg.data.reader == "demo" and cfg.demo.reports is None and given.studies is None
    reader = read_report if drawn else None  # the demo's sentences alone are known to it
    forcing = teacher_forcing(engine, builder, cfg)
    evaluator = Evaluator(cfg, studies.eval, builder, engine, scorer, monitor, alarms, reader, forcing)
    evaluator.exam = make_exam(cfg, questions, engine, processor)
    loop = Loop(
        cfg=cfg,
        collector=collector,
        algorithm=algorithm,
        policy=policy,
        weights=weights,
        evaluator=evaluator,
        checkpoints=checkpoint.Checkpoints(cfg, policy, [collector, weights, evaluator, alarms, seen]),
        monitor=monitor,
        stop=StopRequest(cfg.train.stop_after),
        watchdog=watchdog,
        lock=lock,
        prices=PriceCheck(cfg, studies.train, studies.eval, builder, engine, scorer, monitor),
    )
    if found:
        loop.restore(found)
    return loop


def read_data_and_join(cfg: Config, given: Given, demo: Demo) -> Studies:
    """Read the studies and join the other ranks, in the order in which wrong data is reported soonest.

    All ranks of one machine read the same files, so they can read before DeepSpeed is imported, which takes many
    seconds. On several machines a file may be missing on one alone; ranks join first, so that all of them learn of it.
    """
    if several_machines():
        init_ranks(cfg)
    with collectives.together():
        studies = read_studies(cfg, demo.world) if given.studies is None else studies_in_memory(given.studies, cfg)
    if not several_machines():
        init_ranks(cfg)
    return studies


def _claim_folder_and_try_judges(
    cfg: Config, scorer: Scorer, studies: Studies, seen: Provenance
) -> tuple[checkpoint.Checkpoint | None, list[str]]:
    """Return the checkpoint to continue from, and warnings; the run folder is this run's, and every judge answers."""
    main_rank, run_dir = collectives.rank() == 0, Path(cfg.run.dir)
    with collectives.together():
        if main_rank:
            checkpoint.claim_run_folder(cfg)
        scorer.start()
    warnings = [*cfg.warnings(), *(f"data: {doubt}" for doubt in studies.doubts)]
    with collectives.together():
        studies.quarantine.write_to(run_dir, so_far=main_rank)
    found = checkpoint.find(cfg, warnings.append, seen)
    with collectives.together():
        check_trackers(cfg.monitor.trackers, run_dir, cfg.data.confidential)
        dry_call(scorer, studies.train[0], cfg)
        warnings += references_that_judges_cannot_score(scorer, studies.train, cfg)
    with collectives.together():
        if main_rank:
            if cfg.resume != "never":
                warnings += checkpoint.set_later_aside(found.step if found else 0, run_dir)
            save_resolved(cfg, run_dir)
    return found, warnings


def open_monitor(
    cfg: Config,
    start_step: int,
    watchdog: Watchdog,
    messages: Sequence[str],
    hparams: dict[str, Any],
    final: list[str],
) -> Monitor:
    """The run's monitor, which has said `messages`; every rank gets one, and the first rank's is enabled.

    hparams, final  settings and last values that TensorBoard's *HParams* tab lists, see `monitor.hparams`
    """
    run_dir = Path(cfg.run.dir)
    trackers: list[Tracker] = []
    with collectives.together():
        if collectives.rank() == 0:
            trackers = open_trackers(cfg.monitor.trackers, run_dir, hparams, fresh=start_step == 0)
    monitor = Monitor(
        run_dir,
        cfg.train.max_steps,
        collectives.rank() == 0,
        cfg.monitor.tensorboard,
        start_step,
        run_dir.name,
        cfg.monitor.samples_every if cfg.monitor.tensorboard or cfg.monitor.trackers else 0,
        watchdog.beat,
        trackers,
    )
    monitor.in_use = in_use(cfg)
    monitor.profile = cfg.debug.profile
    monitor.log_config(cfg.resolved_yaml())
    monitor.log_hparams(hparams, final)
    for message in messages:
        monitor.note(message)
    return monitor


def _cannot_compare(names: Sequence[str]) -> str:
    return (
        f"{len(names)} of the weights that are synced ({names[0]} ...) vLLM keeps in another form: "
        "rollout.verify_sync_every cannot compare them. The log-probabilities that they give are watched instead: the "
        "run stops if those of the trainer and of vLLM drift apart."
    )


def finish(loop: Loop, before: Evaluation, after: Evaluation) -> None:
    """Export the trained policy as a Hugging Face folder, print the table, draw the pictures."""
    run_dir = Path(loop.cfg.run.dir)
    export_policy(loop.policy, loop.collector.builder.processor, run_dir / "model")
    loop.monitor.close()
    if collectives.rank():
        return
    from online_rl.pictures.final_table import final_table

    studies = len(loop.evaluator.studies[: loop.cfg.eval.studies])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    print(f"\n{final_table(before.metrics, after.metrics, studies, width)}\n")
    for sentence in loop.evaluator.alarms.on.values():
        print(f"alarm: step {loop.step}, {sentence}\n")
    if loop.evaluator.lost:
        print(f"{told(loop.evaluator.lost)}\n")
    best = f" (step {loop.exported_step}, the best by {loop.cfg.eval.metric_for_best_model})"
    print(f"trained policy  {run_dir / 'model'}{best if loop.exported_step != loop.step else ''}")
    draw(run_dir)
    print(how_to_show(run_dir))


def how_to_show(run_dir: Path) -> str:
    """A line with the command that shows the run's curves."""
    script = Path(__file__).resolve().parents[1] / "launch" / "tensorboard.sh"  # not in the wheel
    show = f"bash {shlex.quote(str(script))}" if script.is_file() else "tensorboard --logdir"
    return f"TensorBoard     {show} {shlex.quote(str(run_dir))}"


def export_policy(policy: Policy, processor: Any, folder: Path) -> None:
    """Write the policy aside, then give it its name. Raises CheckpointError on all ranks if one cannot write; the last
    step is saved by then, so that a resume only exports."""
    partial = folder.with_name(f".{folder.name}.partial")
    with checkpoint.written(partial):
        if collectives.rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
    with checkpoint.written(partial):
        policy.export(partial, processor)
    with checkpoint.written(partial):
        if collectives.rank() == 0:
            for part, place in ((partial / lora.FOLDER, folder.parent / lora.FOLDER), (partial, folder)):
                if part.is_dir():
                    shutil.rmtree(place, ignore_errors=True)  # of an earlier end of the run
                    os.replace(part, place)


def draw(run_dir: Path) -> None:
    """Draw the pictures of a run that has ended well; a failure is a warning, as the policy is trained already."""
    from online_rl.pictures.plots import plot_run

    try:
        for picture in plot_run(run_dir):
            print(f"picture         {picture}")
    except Exception as problem:  # whatever it is, the policy is trained and the table printed
        print(
            f"warning: the pictures cannot be drawn in {run_dir / 'plots'} ({type(problem).__name__}: {problem}). The "
            f"trained policy is whole; draw them again with online-rl plot {run_dir}."
        )
