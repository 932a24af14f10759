"""Reading back what a monitor wrote: event files and metrics.jsonl."""

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from online_rl.monitor import Monitor


def open_monitor(run_dir, max_steps=10, tensorboard=True, **more) -> Monitor:
    return Monitor(run_dir, max_steps, enabled=True, tensorboard=tensorboard, **more)


def events(run_dir) -> EventAccumulator:
    everything = dict.fromkeys(("scalars", "images", "tensors", "histograms"), 0)
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance=everything).Reload()


def scalars(run_dir, tag) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run_dir).Scalars(tag)]


def sample(study, image, **more) -> dict:
    texts = {"indication": "Cough.", "reference": "Small effusion.", "candidate": "Clear lungs."}
    return {"study_id": study, "image": image, "reward": 0.5, "verbosity": 1.0, "scores": {}, **texts, **more}


def text_of(accumulator, tag, index=0) -> str:
    return accumulator.Tensors(f"{tag}/text_summary")[index].tensor_proto.string_val[0].decode()


def lines(run_dir) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def chart_pages(run_dir) -> dict[str, dict[str, list]]:
    """Page -> chart -> its patterns, or its bands (value, lower, upper); as TensorBoard reads them: the newest."""
    event = events(run_dir).Tensors("custom_scalars__config__")[-1]
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {
        page.title: {
            chart.title: list(chart.multiline.tag) or [(s.value, s.lower, s.upper) for s in chart.margin.series]
            for chart in page.chart
        }
        for page in layout.category
    }
