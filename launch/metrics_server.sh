#!/usr/bin/env bash
# Serves metrics of RadEval as judges, on this machine: CheXbert, RadGraph, RadCliQ, BERTScore, RaTEScore and others. Makes
# .venv-metrics for them first (Python 3.11, 2 GB on a CPU), says which can be computed with the weights at hand, which not
# and why, and serves the rest on one port. Run it again at any time: what is installed is not installed again.
#
#   bash launch/metrics_server.sh [--port 8100] [--references FILE] [...] [METRIC ...]
#
#   METRIC             bleu rouge bertscore radeval_bertscore f1chexbert sembscore radgraph radcliq ratescore srrbert
#                      (all of them)
#   --port N           the port (8100); 0 = a free one, printed
#   --references FILE  JSONL or CSV with the column `reference`: the reports of the data set, which radcliq needs
#   --text cleaned     score the text that other judges read, not as sampled and as the data have it
#   --check            only say what can be computed
#   --install          only make .venv-metrics
#   --download         fetch missing weights from the hub; otherwise nothing is asked of the network
#   --host ADDRESS     for trainers on other machines (127.0.0.1, which only this one reaches; there is no password)
#   PYTHON=python3.11  the Python to use
#
# The trainer's side:  judges: [{use: "radeval:radgraph", args: {url: "http://localhost:8100"}}]
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

only_install=no arguments=()
for argument in "$@"; do
    case "$argument" in
        -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
        --install) only_install=yes ;;
        *) arguments+=("$argument") ;;
    esac
done

METRICS_VENV="$REPO/.venv-metrics"
python="$METRICS_VENV/bin/python"
stamp="$METRICS_VENV/setup-done"
log="$METRICS_VENV/install.log"

is_3_11() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

fingerprint() { # what the environment must be like; a folder that was moved is another
    { echo "$METRICS_VENV" && cat "$REPO/requirements/torch.txt" "$REPO/requirements/metrics.txt"; } | sha256sum
}

step() { # WHAT COMMAND...: runs quietly and shows the end of the log when it fails
    local what="$1" started=$SECONDS
    shift
    printf 'metrics: %s ...' "$what" >&2
    printf '$ %s\n' "$*" >>"$log"
    if ! "$@" >>"$log" 2>&1; then
        printf ' failed after %d s. The end of %s:\n' $((SECONDS - started)) "$log" >&2
        grep -v 'is ignored: it is neither a file nor a directory' "$log" | tail -n 25 >&2
        echo "metrics: run the same command again to continue from here." >&2
        exit 1
    fi
    printf ' %d s\n' $((SECONDS - started)) >&2
}

pip_install() {
    "$python" -m pip --disable-pip-version-check --no-input install --progress-bar off --no-compile "$@"
}

import_everything() { # a check, and it leaves compiled bytecode behind, without which every start takes a minute longer
    (cd "$REPO" && env -u PYTHONDONTWRITEBYTECODE HF_HUB_OFFLINE=1 "$python" -m judges.radeval.server --check bleu rouge)
    (cd "$REPO" && env -u PYTHONDONTWRITEBYTECODE HF_HUB_OFFLINE=1 "$python" -c '
from judges.radeval.scorers import find_radgraph

find_radgraph()
import radeval.metrics.bertscore.bertscore
import radeval.metrics.f1chexbert.f1chexbert
import radeval.metrics.RadCliQv1.radcliq
import radeval.metrics.RaTEScore.scorer
import radeval.metrics.SRRBert.srr_bert')
}

make_environment() {
    local candidate base="" candidates=(python3.11 python3)
    [[ -z "${PYTHON:-}" ]] || candidates=("$PYTHON") # one word, whatever blanks are in it
    [[ ! -L "$METRICS_VENV" ]] || die ".venv-metrics is a link to $(readlink "$METRICS_VENV"); remove it."
    for candidate in "${candidates[@]}"; do
        if is_3_11 "$candidate"; then base="$(command -v "$candidate")" && break; fi
    done
    [[ -n "$base" ]] || die "no Python 3.11 among: ${candidates[*]}; RadEval's pins are for 3.11." \
        "install it (without root: uv python install 3.11, or conda create -n py311 python=3.11)," \
        "then run PYTHON=/path/to/python3.11 bash launch/metrics_server.sh"
    if [[ ! -s "$METRICS_VENV/made-at" || "$(cat "$METRICS_VENV/made-at")" != "$METRICS_VENV" ]]; then
        "$base" -m venv --clear "$METRICS_VENV" || die "$base could not make .venv-metrics; it needs venv and ensurepip."
        echo "$METRICS_VENV" >"$METRICS_VENV/made-at"
    fi
    rm -f "$stamp"
    : >"$log"
    ( # relative paths that the user gave start where he is, so the server is not started from $REPO
        cd "$REPO"
        step "installing torch" pip_install --constraint requirements/metrics.txt -r requirements/torch.txt
        step "installing $(grep -c == requirements/metrics.txt) packages" \
            pip_install --no-deps -r requirements/metrics.txt
        step "checking that RadEval imports" import_everything
    )
    fingerprint >"$stamp"
}

[[ -s "$stamp" && -x "$python" && "$(fingerprint)" == "$(cat "$stamp")" ]] || make_environment
if [[ $only_install == yes ]]; then
    echo "metrics: .venv-metrics is up to date."
    exit 0
fi
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m judges.radeval.server ${arguments[@]+"${arguments[@]}"}
