"""A GRPO run of two ranks in float32, its interrupted twin, and its twin on one rank: all tell the same story."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.launch import (
    CONFIG,
    Finished,
    records,
    resolved,
    scalars,
    started,
    train,
    training_command,
)
from tests.unit.monitor.reading import chart_pages, events, text_of

STEPS = [1, 2, 3, 4]
TAGS = (
    "reward",
    "rewards/findings/mean",
    "rewards/long_words/mean",
    "completions/mean_length",
    "verbosity/mean",
    "kl",
    "sampling/sampling_logp_difference/mean",
)
SAME_WHEN_RESUMED = (
    "reward",
    "reward_std",
    "rewards/findings/mean",
    "rewards/long_words/mean",
    "loss",
    "grad_norm",
    "kl",
    "entropy",
    "learning_rate",
    "completions/mean_length",
    "completions/max_length",
    "num_tokens",
)


@pytest.fixture(scope="session")
def settings(small, judges) -> list[str]:
    return [*small, judges, "algorithm.grpo.kl_coef=0.05"]


@pytest.fixture(scope="session")
def whole(work, settings) -> Finished:
    """Four steps in one go."""
    return train(work / "grpo", *settings, f"run.dir={work / 'grpo.run'}").ok()


@pytest.fixture(scope="session")
def interrupted(work, settings, own_reward) -> Finished:
    """The same four steps: a SIGTERM in the first, then a rank killed behind the next, then to the end."""
    run = f"run.dir={work / 'again.run'}"
    folder = work / "again.run"
    slow = own_reward / "slow"
    slow.touch()  # a step takes two seconds, so that what happens to the run comes long before the fourth
    try:
        saved = _stop_on_request(work / "again.1", [*settings, run], folder)
        _kill_a_rank_behind(saved + 1, work / "again.2", [*settings, run, "resume=auto"], folder)
    finally:
        slow.unlink()
    assert [path.name for path in (folder / "checkpoints").glob("*/complete")] == ["complete"]
    return train(work / "again.3", *settings, run, "resume=auto").ok()


def _stop_on_request(log: Path, settings: list[str], folder: Path) -> int:
    """SIGTERM to the script that users start, once the first step has begun; returns the step that was saved."""
    with started(log, ["bash", "launch/single_node.sh", CONFIG, *settings], 2, RANKS="2") as process:
        process.wait_until(lambda: (folder / "prices.json").exists())  # the last thing before the first step
        process.terminate()
        finished = process.wait().ok(75)
    assert "continue with resume=auto" in finished.out
    taken = [record["step"] for record in records(folder)]
    assert taken == STEPS[: len(taken)] and 1 <= len(taken) < 3, "the step that had begun was finished, and no more"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [f"step-{taken[-1]}"], "saved once"
    return taken[-1]


def _kill_a_rank_behind(step: int, log: Path, settings: list[str], folder: Path) -> None:
    """SIGKILL to the second rank once `step` is logged, not saved: all of the run ends soon, and not as a success."""
    with started(log, training_command(2, CONFIG, settings), 2) as process:
        process.wait_until(lambda: any(record["step"] == step for record in records(folder)))
        (rank,) = (p for p in process.survivors() if "--local_rank=1" in p.cmdline())
        rank.kill()
        finished = process.wait(60)
    assert finished.code not in (0, 75)


@pytest.fixture(scope="session")
def one_rank(work, settings) -> Finished:
    """The first two steps on one rank, with larger micro-batches."""
    sizes = ["train.micro_batch_tokens=1024", "train.stop_after=2"]
    return train(work / "one", *settings, *sizes, f"run.dir={work / 'one.run'}", ranks=1).ok(75)


def test_tensorboard_and_metrics_hold_every_step_and_agree(whole):
    board, lines = scalars(whole.run_dir), records(whole.run_dir)
    assert [line["step"] for line in lines] == STEPS
    for tag in TAGS:
        assert [step for step, _ in board[f"train/{tag}"]] == STEPS, tag
        values = [value for _, value in board[f"train/{tag}"]]
        assert values == pytest.approx([line[tag] for line in lines], rel=1e-6), f"{tag}: TensorBoard keeps float32"
    evaluations = records(whole.run_dir, evaluations=True)
    assert [line["step"] for line in evaluations] == [0, 4]
    assert [step for step, _ in board["eval/reward"]] == [0, 4]


def test_tensorboard_shows_the_settings_and_the_spread_of_the_rewards(whole):
    from tensorboard.plugins.hparams import plugin_data_pb2

    shown = events(whole.run_dir)
    assert text_of(shown, "config") == f"```yaml\n{(whole.run_dir / 'config.resolved.yaml').read_text()}\n```"

    def hparams(name):
        content = shown.SummaryMetadata(f"_hparams_/{name}").plugin_data.content
        return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), name)

    settings = hparams("session_start_info").hparams
    assert settings["rollout.group_size"].number_value == 4
    assert settings["judges"].string_value == "1 findings (lc_green) + 1 long_words (none)"
    finals = {info.name.tag for info in hparams("experiment").metric_infos}
    assert "eval/reward" in finals and finals <= set(shown.Tags()["scalars"]), "each final metric has a value"

    rewards = shown.Histograms("distribution/reward")
    assert [event.step for event in rewards] == STEPS
    for event, line in zip(rewards, records(whole.run_dir), strict=True):
        scored = 16 * (1 - line["judge/unscorable_rate"])  # of four candidates of each of four studies
        assert event.histogram_value.num == pytest.approx(scored)
        assert event.histogram_value.sum / scored == pytest.approx(line["reward"], rel=1e-6)


@pytest.mark.parametrize("run", ["whole", "interrupted"])
def test_every_chart_of_tensorboard_has_data(run, request):
    folder = request.getfixturevalue(run).run_dir
    tags = set(events(folder).Tags()["scalars"])
    charts = {
        f"{page}: {title}": drawn for page, found in chart_pages(folder).items() for title, drawn in found.items()
    }
    assert {name.partition(":")[0] for name in charts} == {"Truth", "Reward and length", "Judge", "Policy", "Time"}
    for name, drawn in charts.items():
        for curve in drawn:  # a pattern, or a value with its edges
            if isinstance(curve, tuple):
                assert set(curve) <= tags, name
            else:
                assert any(re.match(curve, tag) for tag in tags), f"{name}: {curve}"
    for wanted in ("Reward in training", "Injection hits", "Errors per report, stacked", "KL to the ref_model"):
        assert any(wanted in name for name in charts), wanted


def test_the_numbers_make_sense(whole):
    lines = records(whole.run_dir)
    for line in lines:
        assert line["sampling/sampling_logp_difference/mean"] < 1e-3, "trainer and vLLM hold the same policy"
        assert line["grad_norm"] > 0
        assert 1 <= line["completions/mean_length"] <= 48
        parts = line["rewards/findings/mean"] + line["rewards/long_words/mean"]
        assert line["reward"] == pytest.approx(parts), "the reward is the weighted sum"
    kl = [line["kl"] for line in lines]
    assert kl[0] == pytest.approx(0, abs=1e-6), "the policy starts as its ref_model"
    assert kl[-1] > 1e-6, "and moves away from it"
    rates = [line["learning_rate"] for line in lines]
    assert rates == sorted(rates, reverse=True) and rates[0] == pytest.approx(1e-4)


def test_the_run_folder_holds_what_it_should(whole, settings):
    folder = whole.run_dir
    cfg = resolved(folder)
    assert (cfg.rollout.group_size, cfg.algorithm.grpo.kl_coef, len(cfg.judges)) == (4, 0.05, 2)
    assert (folder / "checkpoints" / "step-4" / "complete").is_file()
    assert not list((folder / "checkpoints").glob("*.partial"))
    pictures = list((folder / "plots").glob("*.png"))
    assert pictures and all(picture.stat().st_size > 10_000 for picture in pictures)
    assert not (folder / "samples").exists(), "monitor.samples=0"


def test_the_final_table_is_on_the_console(whole):
    tail = whole.out[whole.out.index("held-out studies") :]
    assert "before" in tail and "after" in tail
    assert any(line.startswith("reward ") for line in tail.splitlines())
    assert str(whole.run_dir / "model") in tail
    for step in STEPS:
        assert f"step {step}/4" in whole.out


def test_the_trained_policy_loads_and_only_its_trained_part_differs(whole, work):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    (start,) = (work / "cache").glob("policy-*")
    trained, info = AutoModelForImageTextToText.from_pretrained(whole.run_dir / "model", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    AutoProcessor.from_pretrained(whole.run_dir / "model")
    before = AutoModelForImageTextToText.from_pretrained(start).state_dict()
    after = trained.state_dict()
    assert before.keys() == after.keys()
    same = {name for name in before if before[name].equal(after[name])}
    vision = {name for name in before if ".vision_model." in name}
    assert vision and same == vision


def test_no_report_text_in_streams_metrics_or_events(whole, world_rows, own_reward):
    seen = [json.loads(line) for path in own_reward.glob("seen.*") for line in path.read_text().splitlines()]
    candidates = {candidate[:60] for candidate, _ in seen if len(candidate.split()) >= 4}
    sentences = {s for row in world_rows for s in row["findings"].split(". ") if len(s) >= 20}
    indications = {row["indication"] for row in world_rows if len(row["indication"]) >= 20}
    assert len(candidates) >= 50 and len(sentences) >= 50 and indications
    texts = {"stdout": whole.out, "stderr": whole.err}
    for pattern in ("*.*", "tensorboard/*", "checkpoints/*/state.json", "checkpoints/*/complete"):
        for path in filter(Path.is_file, whole.run_dir.glob(pattern)):
            texts[str(path.relative_to(whole.run_dir))] = path.read_bytes().decode("utf-8", "replace")
    assert len(texts) >= 7
    for where, text in texts.items():
        leaked = [secret for secret in candidates | sentences | indications if secret in text]
        assert not leaked, f"{len(leaked)} texts in {where}"


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(whole, interrupted):
    expected, got = records(whole.run_dir), records(interrupted.run_dir)
    assert [line["step"] for line in got] == STEPS
    for line, other in zip(expected, got, strict=True):
        for name in SAME_WHEN_RESUMED:
            assert other[name] == pytest.approx(line[name], rel=1e-6, abs=1e-6), f"{name} at step {line['step']}"
    for line, other in zip(records(whole.run_dir, True), records(interrupted.run_dir, True), strict=True):
        assert other["reward"] == pytest.approx(line["reward"], rel=1e-6)


def test_its_curves_have_no_gap_and_no_overlap(interrupted):
    board = scalars(interrupted.run_dir)
    for tag in TAGS:
        assert [step for step, _ in board[f"train/{tag}"]] == STEPS, tag
    assert [step for step, _ in board["eval/reward"]] == [0, 4]


def test_its_final_table_compares_with_the_start(whole, interrupted):
    def table(out: str) -> list[str]:
        return out[out.index("held-out studies") : out.index("trained policy")].splitlines()

    assert table(interrupted.out) == table(whole.out)


def test_neither_ranks_nor_micro_batches_change_what_is_learned(whole, one_rank):
    expected, got = records(whole.run_dir)[:2], records(one_rank.run_dir)
    assert [line["step"] for line in got] == [1, 2]
    assert got[0]["reward"] == pytest.approx(expected[0]["reward"], rel=1e-9), "seeds do not depend on ranks"
    for line, other in zip(expected, got, strict=True):
        for name in ("loss", "grad_norm", "entropy", "kl"):
            assert other[name] == pytest.approx(line[name], rel=1e-4, abs=1e-7), f"{name} at step {line['step']}"


@pytest.mark.long
def test_a_run_goes_on_with_the_same_step_in_smaller_passes(whole, one_rank, settings, work):
    """As after running out of memory: the checkpoint is of larger passes, with prompts shared."""
    layout = ["train.micro_batch_tokens=512", "train.logits_chunk=16", "debug.share_prompts=false"]
    layout += ["model.gradient_checkpointing=true", f"resume={one_rank.run_dir / 'checkpoints' / 'step-2'}"]
    run = [f"run.dir={work / 'smaller.run'}", "train.stop_after=1"]
    finished = train(work / "smaller", *settings, *layout, *run, ranks=1).ok(75)
    line, other = records(finished.run_dir)[-1], records(whole.run_dir)[2]
    assert line["step"] == other["step"] == 3
    assert line["reward"] == pytest.approx(other["reward"], rel=1e-6), "the same candidates"
    for name in ("loss", "grad_norm", "kl"):
        assert line[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name


def test_a_used_folder_is_refused(whole, settings, work):
    before = _stamps(whole.run_dir)
    second = train(work / "used", *settings, f"run.dir={whole.run_dir}", ranks=1)
    second.refused("run.dir", "holds a run already", "resume=auto")
    assert _stamps(whole.run_dir) == before


def test_another_number_of_ranks_is_refused(whole, settings, work):
    run = f"run.dir={work / 'other_ranks.run'}"
    checkpoint = f"resume={whole.run_dir / 'checkpoints' / 'step-4'}"
    train(work / "other_ranks", *settings, run, checkpoint, ranks=1).refused("step-4", "2 rank(s)", "has 1")


def test_another_configuration_is_refused(one_rank, settings, work):
    run = f"run.dir={one_rank.run_dir}"
    before = _stamps(one_rank.run_dir)
    other = [*settings, "train.micro_batch_tokens=1024", "rollout.temperature=0.7", "resume=auto"]
    finished = train(work / "other_config", *other, run, ranks=1)
    finished.refused("rollout.temperature", "1.0", "0.7", "choose another run.dir")
    assert _stamps(one_rank.run_dir) == before


def test_a_reward_that_was_edited_since_is_refused_with_file_and_both_hashes(one_rank, settings, work, own_reward):
    file = own_reward / "long_words.py"
    saved = json.loads((one_rank.run_dir / "checkpoints" / "step-2" / "state.json").read_text())["provenance"]
    before, text = _stamps(one_rank.run_dir), file.read_text()
    assert saved["judges"]["long_words"] == {"long_words.py": hashlib.sha256(text.encode()).hexdigest()}
    file.write_text(edited := text.replace("> 4", "> 5"))
    try:
        sizes = ["train.micro_batch_tokens=1024", "resume=auto"]
        finished = train(work / "edited", *settings, *sizes, f"run.dir={one_rank.run_dir}", ranks=1)
    finally:
        file.write_text(text)
    hashes = [hashlib.sha256(content.encode()).hexdigest()[:12] for content in (text, edited)]
    finished.refused("judge 'long_words'", "long_words.py", *hashes, "step-2", "resume_allow=[judges]")
    assert _stamps(one_rank.run_dir) == before


def test_a_damaged_checkpoint_is_passed_over_or_refused_by_name(one_rank, settings, work):
    """resume=auto never starts afresh silently: it says that nothing whole was found."""
    copy = work / "damaged.run"
    shutil.copytree(one_rank.run_dir / "checkpoints", copy / "checkpoints")
    (shard,) = copy.glob("checkpoints/step-2/zero/*optim_states.pt")
    shard.write_bytes(shard.read_bytes()[:-1])
    named = [*settings, "train.micro_batch_tokens=1024", f"resume={copy / 'checkpoints' / 'step-2'}"]
    finished = train(work / "damaged", *named, f"run.dir={work / 'named.run'}", ranks=1)
    finished.refused("step-2", shard.name, "SHA-256")


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
