"""The judge `rubric` in front of a real vLLM server, and as the reward of a run that gets better by it."""

from __future__ import annotations

import asyncio

import pytest

from judges import Case
from judges.base import Status
from judges.green.server import server_command, server_environment
from judges.network import free_port
from judges.rubric.judge import RubricJudge
from tests.integration.launch import environment, records, started, train
from tests.unit.judges.green.stub_server import serving
from tests.unit.judges.rubric.chat_server import COUNTS, Chat

pytestmark = pytest.mark.long

TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
# A random model may write blanks for ever where JSON allows them.
COMPACT = '{"backend": "xgrammar", "disable_any_whitespace": true}'
REFERENCES = (
    "the heart is enlarged. small left pleural effusion. no pneumothorax is seen.",
    "the heart is normal in size. the lungs are clear.",
)
CANDIDATES = (
    "the heart is normal in size and the lungs are clear without effusion or pneumothorax.",
    "small left pleural effusion. the heart is enlarged. there is no pneumothorax.",
    "there is a nodule in the right upper lung. the heart is normal. no pneumothorax.",
)
CASES = [
    Case(f"s{study}", candidate, reference) for study, reference in enumerate(REFERENCES) for candidate in CANDIDATES
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """vLLM's OpenAI server with a small LLaMA of random weights, whose answers only the schema makes readable."""
    from judges.green.shapes import write_checkpoint

    folder = tmp_path_factory.mktemp("rubric")
    checkpoint = write_checkpoint(folder / "tiny", "tiny")
    template = folder / "chat.jinja"
    template.write_text(TEMPLATE)
    port = free_port()
    extra = ["--served-model-name", "llm", "--max-num-seqs", "16"]
    extra += ["--chat-template", str(template), "--structured-outputs-config", COMPACT]
    command = server_command(str(checkpoint), port=port, platform="cpu", dtype="float32", ngram=False, extra=extra)
    surroundings = server_environment(environment(), platform="cpu")
    with started(folder / "server", command, 0, **surroundings) as server:  # another launch may want both cores
        yield f"http://127.0.0.1:{port}"
        server.process.terminate()
        server.process.wait(60)


def ask(url: str, folder, **args) -> tuple[list, dict[str, float]]:
    judge = RubricJudge(url=url, model="llm", start_s=180, timeout_s=120, cache_dir=folder, **args)
    try:
        judge.start()
        return asyncio.run(judge.score(CASES)), judge.drain_metrics()
    finally:
        judge.close()


def test_structured_outputs_make_random_weights_readable(url, tmp_path):
    scores, numbers = ask(url, tmp_path)
    assert numbers["answers"] == len(CASES), "every answer was read at once"
    for score in scores:
        assert score.status is Status.SCORED, score.detail
        assert set(COUNTS) < set(score.parts)
        matched, errors = score.parts["matched_findings"], score.parts["errors"]
        assert score.value == pytest.approx(matched / (matched + errors))


def test_what_was_judged_is_not_asked_again(url, tmp_path):
    first, _ = ask(url, tmp_path)
    second, numbers = ask(url, tmp_path)
    assert [score.value for score in second] == [score.value for score in first]
    assert numbers["cache_hits"] == len(CASES) and not numbers.get("answers")


def test_lists_with_severities_are_read_or_cut_and_never_made_up(url, tmp_path):
    scores, _ = ask(url, tmp_path, rubric="severity", max_tokens=2048)
    for score in scores:
        if score.status is Status.SCORED:
            assert 0 <= score.value <= 1
        else:
            assert score.status is Status.UNSCORABLE and score.detail
    assert any(score.status is Status.SCORED for score in scores), [score.detail for score in scores]


def test_training_with_an_llm_that_judges_well_names_more_of_what_is_there(work):
    """The server answers by the findings rules, from the question alone, as a good LLM would count."""
    with serving(Chat()) as chat:
        args = f"{{url: '{chat.url}', model: llm, cache_dir: '{work / 'rubric.cache'}', rubric: error_count}}"
        judges = f"judges=[{{use: rubric, length_control: lc_green, args: {args}}}]"
        size = ["train.max_steps=30", "eval.studies=96", "demo.studies=400", "monitor.samples=0"]
        run = train(
            work / "rubric",
            judges,
            *size,
            f"run.dir={work / 'rubric.run'}",
            f"demo.cache={work / 'rubric.demo'}",
            config="configs/demo_grpo.yaml",
        ).ok()
    before, *_, after = records(run.run_dir, evaluations=True)
    for metric in ("rewards/rubric/mean", "findings/f1", "labels/f1"):
        assert after[metric] > before[metric] + 0.05, (metric, before[metric], after[metric])
    steps = [line["rewards/rubric/mean"] for line in records(run.run_dir)]
    assert sum(steps[20:]) > sum(steps[:10])
