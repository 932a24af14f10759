"""`python -m judges.radeval.server METRIC ...`: RadEval's metrics behind one port, those that work on this machine.

It says for each metric whether it can be computed, and if not why; the rest is served. `launch/metrics_server.sh` runs
it in the environment of the metrics. Nothing is fetched from the hub unless --download says so.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from judges.errors import JudgeError, UserError
from judges.identity import identify
from judges.radeval.judge import RadEvalJudge, WeightsMissing, remedy
from judges.radeval.metrics import METRICS, metric_named
from judges.serve import JudgeServer, ServedJudge

USE = "judges.radeval.judge:RadEvalJudge"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="judges.radeval.server", description="Serve metrics of RadEval over HTTP.")
    parser.add_argument("metrics", nargs="*", metavar="METRIC", help=f"default: all of {', '.join(METRICS)}")
    parser.add_argument("--port", type=int, default=8100, help="default: %(default)s; 0 = a free one, printed")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--references", default=None, metavar="FILE", help="reference reports, which radcliq needs")
    parser.add_argument("--text", default="raw", choices=("raw", "cleaned"), help="what is scored (default: raw)")
    parser.add_argument("--check", action="store_true", help="say what can be computed, and end")
    parser.add_argument("--download", action="store_true", help="fetch missing weights from the hub")
    options = parser.parse_args(arguments)
    os.environ["HF_HUB_OFFLINE"] = "0" if options.download else "1"  # before the hub's client reads it
    try:
        _be_quiet(options.download)
        names = list(dict.fromkeys(options.metrics)) or list(METRICS)
        for name in names:
            metric_named(name)
        served, lacking = _started(names, options.references, options.text)
        if lacking:
            print(remedy(" ".join(lacking)), flush=True)
        if not served:
            raise JudgeError("none of these metrics can be computed here; the lines above say why.")
        if options.check:
            return 0
        server = JudgeServer((options.host, options.port), served)
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    server.run_until_stopped()
    return 0


def _be_quiet(download: bool) -> None:
    """Keep the libraries' progress bars and warnings out of the table, and NLTK, which RadEval calls, offline."""
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        import nltk
        import transformers
    except ModuleNotFoundError:
        return  # each metric says what it lacks
    transformers.utils.logging.disable_progress_bar()
    if not download:
        nltk.download = lambda *_, **__: False


def _started(names: Sequence[str], references: str | None, text: str) -> tuple[list[ServedJudge], list[str]]:
    """The metrics that can be computed, with their models loaded, and the names of those that lack weights."""
    served: list[ServedJudge] = []
    lacking: list[str] = []
    for name in names:
        args: dict[str, Any] = {"metric": name, "text": text}
        if name == "radcliq" and references is not None:
            args["references"] = references
        judge = RadEvalJudge(**args)
        try:
            judge.start()
        except WeightsMissing as problem:
            lacking.append(name)
            print(f"{name:<18} no   weights are missing: {problem.missing}", flush=True)
        except JudgeError as problem:
            print(f"{name:<18} no   {str(problem).removeprefix(f'judge {name}: ')}", flush=True)
        else:
            less = ", less is better: transform: negate" if METRICS[name].less_is_better else ""
            print(f"{name:<18} yes  value {judge.key}{less}", flush=True)
            served.append(ServedJudge(judge, identify(judge, USE, args)))
    return served, lacking


if __name__ == "__main__":
    sys.exit(main())
