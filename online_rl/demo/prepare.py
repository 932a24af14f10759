"""Makes what the demo needs, once: the drawn world and the policy, cached by a hash of their settings.

The policy comes with the package. It was taught with the default prompt, no system turn and the demo's own reports; for
others, or if demo.warm_start_seconds asks for it, one is warmed up here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from online_rl.config import Config
from online_rl.demo import shipped

RECIPE = 8  # raise when the world or the warm start changes, so that caches of older versions are not taken
DEMO = "demo"


@dataclass(frozen=True)
class Demo:
    """Paths of the demo's parts; None if the configuration does not ask for the demo."""

    world: Path | None
    policy: Path | None


def cache_folder(cfg: Config) -> Path:
    return Path(cfg.demo.cache or os.environ.get("ONLINE_RL_CACHE") or Path.home() / ".cache" / "online-rl")


def prepare(cfg: Config) -> Demo:
    """Draw the world and unpack the policy, or warm it up, where the configuration needs them and the cache lacks them.

    Safe to call from several processes: one works, the others wait for it.
    """
    wants_policy = cfg.model.path in shipped.NAMES
    wants_world = cfg.data.reader == DEMO or (wants_policy and not fits_shipped(cfg))
    if not wants_policy and not wants_world:
        return Demo(None, None)
    from filelock import FileLock

    cache = cache_folder(cfg)
    cache.mkdir(parents=True, exist_ok=True)
    world_key = _key(RECIPE, cfg.demo.studies, cfg.demo.seed, _folder_stamp(cfg.demo.reports))
    world, policy = cache / f"world-{world_key}", cache / f"policy-{_policy_key(cfg, world_key)}"
    with FileLock(cache / "lock"):
        if wants_world and not (world / "studies.jsonl").exists():
            _draw(cfg, world)
        if wants_policy and not (policy / "config.json").exists():
            partial = policy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            if fits_shipped(cfg):
                shipped.unpack(cfg.model.path, partial)
            else:
                _warm_up(cfg, world, partial)
            partial.rename(policy)
    return Demo(world if wants_world else None, policy if wants_policy else None)


def fits_shipped(cfg: Config) -> bool:
    """Whether the shipped policies know this run's prompt and its kind of reports."""
    demo, data = cfg.demo, cfg.data
    as_taught = data.prompt == shipped.prompt() and data.system_prompt is None
    return demo.reports is None and demo.warm_start_seconds is None and as_taught


def _policy_key(cfg: Config, world_key: str) -> str:
    if fits_shipped(cfg):
        return _key(shipped.fingerprint(cfg.model.path))
    system = () if cfg.data.system_prompt is None else (cfg.data.system_prompt,)  # without one, as in older caches
    return _key(world_key, cfg.model.path, cfg.demo.warm_start_seconds, cfg.data.prompt, *system)


def _draw(cfg: Config, world: Path) -> None:
    from online_rl.demo.world import write_world

    with _progress(f"drawing {cfg.demo.studies} demo studies") as update:
        write_world(
            world,
            studies=cfg.demo.studies,
            seed=cfg.demo.seed,
            reports=cfg.demo.reports,
            progress=lambda done, of: update(done, of, ""),
        )


def _warm_up(cfg: Config, world: Path, folder: Path) -> None:
    from online_rl.config import config_from_dict
    from online_rl.data.prompt import study_prompt
    from online_rl.data.readers import read_studies
    from online_rl.demo.habit import with_comparison
    from online_rl.demo.policy import make_model, make_processor, save_policy
    from online_rl.demo.warm_start import make_examples, warm_start
    from online_rl.rollout.prompts import PromptBuilder

    # The demo world's own layout, whatever data the run itself will read: columns that the prompt names and these
    # studies lack stay empty.
    layout = {"max_images": 1}
    asked = {name: getattr(cfg.data, name) for name in ("prompt", "system_prompt", "prior")}
    studies = read_studies(config_from_dict({"data": layout}), demo_folder=world).train
    if cfg.model.path == shipped.START:
        studies = [with_comparison(study) for study in studies]
    prompts_text = [study_prompt(cfg.data.prompt, s) for s in studies]
    processor = make_processor([*(" " + s.reference for s in studies), *prompts_text])
    builder = PromptBuilder(processor, config_from_dict({"data": layout | asked}))
    model = make_model(processor, cfg.demo.seed)
    with _progress("reading demo images") as update:
        prompts = []
        for i, study in enumerate(studies, start=1):
            prompts.append(builder.build(study))
            update(i, len(studies), "")
    examples = make_examples(prompts, processor.tokenizer)
    with _progress("warm start (supervised fine-tuning)") as update:
        warm_start(
            model,
            examples,
            cfg.demo.seed,
            cfg.demo.warm_start_seconds,
            lambda stage, step, steps, loss: update(step, steps, f"{stage} loss {loss:.3f}"),
        )
    save_policy(folder, model, processor)


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:12]


def _folder_stamp(reports: str | None) -> str:
    if reports is None:
        return ""
    files = sorted(Path(reports).glob("*.csv"))
    return json.dumps([(f.name, f.stat().st_size) for f in files])


@contextmanager
def _progress(what: str):
    """A progress bar on a terminal, one line at the start and one at the end elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{what} ...", highlight=False)
        last = [""]
        yield lambda done, of, note: last.__setitem__(0, note)
        console.print(f"{what}: done {last[0]}".rstrip(), highlight=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, of, note: bar.update(task, completed=done, total=of, note=note)
