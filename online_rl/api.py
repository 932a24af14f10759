"""Training from Python: what `import online_rl` offers a script or a notebook.

result = online_rl.train(online_rl.demo_config(), reward=my_function)
print(result.before["reward"], result.after["reward"])
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from judges.base import Judge
from online_rl.config.load import Overrides, Source, load_config
from online_rl.config.model import Config
from online_rl.data.studies import Studies
from online_rl.data.study import Study
from online_rl.given import OnStep, with_given

if TYPE_CHECKING:
    from datasets import Dataset

    from online_rl.evaluate import Evaluation
    from online_rl.loop import Loop

# A link to configs/demo_grpo.yaml; an installed package has a copy of that file.
DEMO_CONFIG = Path(__file__).parent / "demo" / "demo_grpo.yaml"
Reward = Judge | Callable[..., Any]


@dataclass(frozen=True)
class RunResult:
    """What a run has come to; the same on every rank.

    before     metrics of the starting policy on the held-out studies, such as before["reward"]
    after      those of the trained policy; None if the run stopped early (train.stop_after, SIGTERM)
    model_dir  the trained policy as a Hugging Face folder; None if the run stopped early
    metrics    one dict per step with its number under "step", from the run's first step on, before a resume as well
    alarms     what alarms said after the start, if reports got worse while the reward rose (docs/watching.md)
    """

    before: dict[str, float]
    after: dict[str, float] | None
    model_dir: Path | None
    metrics: list[dict[str, Any]]
    alarms: list[str] = field(default_factory=list)


def train(
    config: Source,
    *,
    reward: Reward | None = None,
    guards: Sequence[Reward] | None = None,
    studies: Studies | Sequence[Study] | Sequence[Mapping[str, Any]] | Dataset | None = None,
    on_step: OnStep | None = None,
) -> RunResult:
    """Train a policy: alone in this process, or on every rank that `deepspeed my_script.py` has started.

    config   path of a YAML file, dict of sections, or `Config`; see `load_config`
    reward   a function in TRL's form, f(completions, **columns) -> list of floats or None, or a Judge; it takes the
             place of the configuration's judges
    guards   functions or Judges that are measured and never rewarded, in the place of the configuration's guards
    studies  a list of `Study`, a list of dicts with the columns of docs/data.md, a `datasets.Dataset` with Image
             columns, or what `read_studies` returns; in the place of data.reader and data.path, the same on every rank
    on_step  on_step(step, metrics), called on rank 0 after each step; what it raises ends the run on every rank

    Every rank calls it with the same arguments. It may be called again in the same process when it has returned or
    raised. Judges are closed at the end of the run.

    Raises what the command line prints: UserError (ConfigError, DataError, JudgeError, CheckpointError) for what you
    can put right, JudgeFailed, NonFiniteUpdate, PolicyMismatch or Collapsed for a run that had to stop, RankFailed if
    another rank met the error. Never SystemExit.
    """
    from online_rl.environment import prepare_environment
    from online_rl.ranks.process import sole_run

    cfg, given = with_given(load_config(config), reward, guards, studies, on_step)
    with sole_run():
        prepare_environment()
        from online_rl.build import build, finish

        loop = build(cfg, given=given)
        try:
            evaluations = loop.run()
            if evaluations is None:
                saved = f"stopped at step {loop.step}, saved" if loop.step else "stopped before the first step"
                loop.monitor.note(f"{saved}; continue with resume=auto")
            else:
                finish(loop, *evaluations)
            return _result(loop, evaluations)
        finally:
            loop.close()
            del loop
            gc.collect()  # the engine's and the policy's memory, before another run asks for its own


def _result(loop: Loop, evaluations: tuple[Evaluation, Evaluation] | None) -> RunResult:
    from online_rl.monitor.records import read_records
    from online_rl.ranks import collectives

    run_dir = Path(loop.cfg.run.dir)
    records: list[dict[str, Any]] = []
    if collectives.rank() == 0:  # which alone writes them, and may be the only one to see the folder
        records = read_records(run_dir / "metrics.jsonl", lambda record: not record.get("eval"))
    metrics = collectives.gather(records)[0]
    before = loop.evaluator.before
    assert before is not None
    if evaluations is None:
        return RunResult(before.metrics, None, None, metrics, loop.evaluator.rang)
    return RunResult(before.metrics, evaluations[1].metrics, run_dir / "model", metrics, loop.evaluator.rang)


def demo_config(overrides: Overrides = ()) -> Config:
    """The configuration of the demo, configs/demo_grpo.yaml: a made-up world and a small policy, for any laptop."""
    return load_config(DEMO_CONFIG, overrides)


def read_studies(config: Source, overrides: Overrides = ()) -> Studies:
    """Read and check the studies that a configuration names, split into `.train`, `.eval` and `.test`.

    The demo's are drawn if the cache lacks them. Raises ConfigError or DataError, which names the row.
    """
    from online_rl.data.readers import read_studies
    from online_rl.demo.prepare import prepare

    cfg = load_config(config, overrides)
    without_policy = cfg.model_copy(update={"model": cfg.model.model_copy(update={"path": ""})})
    return read_studies(cfg, prepare(without_policy).world)
