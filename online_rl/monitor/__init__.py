"""What a run shows and keeps: console, TensorBoard, `metrics.jsonl`; the pictures are in `monitor.plots`."""

from online_rl.monitor.monitor import Monitor

__all__ = ["Monitor"]
