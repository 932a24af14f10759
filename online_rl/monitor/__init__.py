"""What a run shows and keeps while it trains: console, TensorBoard, `metrics.jsonl`.

Imported by `build`, `loop` and `commands`; imports `pictures`, never the loop.
"""

from online_rl.monitor.monitor import Monitor

__all__ = ["Monitor"]
