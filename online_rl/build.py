"""Building a run from its configuration, cheap checks first, and closing it with pictures and a table."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from online_rl import checkpoint
from online_rl.config import Config, load_config, save_resolved
from online_rl.errors import UserError
from online_rl.evaluate import Evaluation
from online_rl.loop import Loop
from online_rl.ranks import collectives
from online_rl.ranks.launch import several_machines
from online_rl.ranks.watchdog import EARLIER, Watchdog


def build(config: str | Path, overrides: list[str]) -> Loop:
    """Every part of the run. What can be wrong is found out before a model is loaded."""
    _environment()
    cfg = load_config(config, overrides)
    with ExitStack() as undo:  # a judge that has started something is closed when the rest cannot be built
        loop = _build(cfg, undo)
        undo.pop_all()
    return loop


def _build(cfg: Config, undo: ExitStack) -> Loop:
    from online_rl.algorithms import make_algorithm
    from online_rl.data.readers import read_studies
    from online_rl.data.sampler import StudySampler
    from online_rl.demo.prepare import prepare
    from online_rl.monitor import Monitor
    from online_rl.monitor.hparams import final_metrics, hyperparameters
    from online_rl.policy.engine import Policy, init_ranks
    from online_rl.policy.load import read_policy
    from online_rl.policy.model import banned_token_ids
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.parity import Parity
    from online_rl.rollout.prompts import PromptBuilder
    from online_rl.scoring import Scorer
    from online_rl.scoring.setup import count_tokens_with, describe_judges, dry_call, load_judges, make_blend

    cfg.check_world(int(os.environ.get("WORLD_SIZE", "1")))
    judges, guards = load_judges(cfg)
    demo = prepare(cfg)
    error: BaseException | None = None
    try:  # before DeepSpeed and transformers are imported, which takes many seconds
        studies = read_studies(cfg, demo.world)
    except UserError as problem:
        if not several_machines():  # all ranks read the same; on another machine a file may be missing alone
            raise
        error = problem
    init_ranks(cfg)
    collectives.agree(error)
    path = str(demo.policy or cfg.model.path)
    model_config, processor = read_policy(path, cfg)
    tokenizer = processor.tokenizer
    banned = banned_token_ids(model_config, tokenizer)
    watchdog = Watchdog(cfg.train.collective_timeout_s * EARLIER)
    main_rank = collectives.rank() == 0
    run_dir = Path(cfg.run.dir)
    error = None
    scorer = Scorer(judges, cfg, guards, make_blend(cfg))
    undo.callback(scorer.close)
    try:
        if main_rank:
            checkpoint.claim_run_folder(cfg)
        scorer.start()
    except Exception as problem:
        error = problem
    collectives.agree(error)
    messages: list[str] = list(cfg.warnings())
    studies.quarantine.write_to(run_dir, so_far=main_rank)
    sampler = StudySampler(len(studies.train), cfg.rollout.studies_per_step, cfg.run.seed)
    found = checkpoint.find(cfg, messages.append)
    error = None
    try:
        dry_call(scorer, studies.train[0], cfg)
    except Exception as problem:
        error = problem
    collectives.agree(error)
    if main_rank:
        if found:
            messages += checkpoint.set_later_aside(found, run_dir)
        save_resolved(cfg, run_dir)
    count_tokens_with(tokenizer, [*(judge for judge, _ in judges), *guards])
    algorithm = make_algorithm(cfg)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    policy = Policy(path, cfg, algorithm, banned, pad_id)
    engine = RolloutEngine(path, cfg, processor, banned)
    unseen = engine.locate(policy.trained_weights()) if cfg.rollout.verify_sync_every else []
    if unseen:
        messages.append(
            f"{len(unseen)} of the weights that are synced ({unseen[0]} ...) vLLM keeps in another form: "
            "rollout.verify_sync_every cannot compare them. What they give is watched: the run stops where log-"
            "probabilities of both drift apart."
        )
    monitor = Monitor(
        run_dir, cfg.train.max_steps, main_rank, cfg.monitor.tensorboard, found.step if found else 0, run_dir.name
    )
    policy.warn = monitor.warn
    monitor.log_config(cfg.resolved_yaml())
    monitor.log_hparams(hyperparameters(cfg), final_metrics(cfg))
    for line in describe_judges(cfg, judges, guards):
        monitor.note(line)
    for message in messages:
        monitor.warn(message)
    loop = Loop(
        cfg=cfg,
        train_studies=studies.train,
        eval_studies=studies.eval,
        builder=PromptBuilder(processor, cfg, studies.quarantine),
        sampler=sampler,
        engine=engine,
        scorer=scorer,
        algorithm=algorithm,
        policy=policy,
        monitor=monitor,
        watchdog=watchdog,
        parity=Parity(unseen, half_precision=cfg.model.dtype != "float32"),
    )
    if found:
        loop.restore(found)
    return loop


def finish(loop: Loop, before: Evaluation, after: Evaluation) -> None:
    """The trained policy as a Hugging Face folder, the table, and the pictures."""
    run_dir = Path(loop.cfg.run.dir)
    loop.policy.export(run_dir / "model", loop.builder.processor)
    loop.monitor.close()
    if collectives.rank():
        return
    from online_rl.pictures.final_table import final_table

    studies = min(loop.cfg.eval.studies, len(loop.eval_studies))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    print(f"\n{final_table(before.metrics, after.metrics, studies, width)}\n")
    best = f" (step {loop.exported_step}, the best by {loop.cfg.eval.metric_for_best_model})"
    print(f"trained policy  {run_dir / 'model'}{best if loop.exported_step != loop.step else ''}")
    draw(run_dir)
    print(f"TensorBoard     tensorboard --logdir {run_dir / 'tensorboard'}")


def draw(run_dir: Path) -> None:
    """The pictures of a run that has ended well: a monitor that fails is a warning here too."""
    from online_rl.pictures.plots import plot_run

    try:
        for picture in plot_run(run_dir):
            print(f"picture         {picture}")
    except Exception as problem:  # whatever it is, the policy is trained and the table printed
        print(
            f"warning: the pictures cannot be drawn in {run_dir / 'plots'} ({type(problem).__name__}: {problem}). The "
            f"trained policy is whole; draw them again with online-rl plot {run_dir}."
        )


def _environment() -> None:
    """What vLLM, DeepSpeed and tokenizers read when they are imported; what the user has set stays."""
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        # DeepSpeed compiles its C++ parts once per environment, not into a home that other environments share.
        "TORCH_EXTENSIONS_DIR": str(Path(sys.prefix) / "torch_extensions"),
    }.items():
        os.environ.setdefault(name, value)
