#!/usr/bin/env bash
# Installs what is missing, then lints, checks types and runs the tests.
#
#   bash launch/test.sh [unit|integration|long|metrics] [pytest arguments]
#   bash launch/test.sh --vllm VERSION
#
#   unit          the quick ones only: no engine, no launcher, a few minutes
#   integration   the ones that start real vLLM and real DeepSpeed: a quarter to half an hour
#   long          tests marked long, which the others leave out; the log is kept in benchmarks/results/tests_long.log
#   metrics       the real RadEval in .venv-metrics, which launch/metrics_server.sh makes, with stand-in weights, five
#                 minutes; not among the others, and its log is kept in benchmarks/results/tests_metrics.log
#   --vllm VERSION  generation, resume, weight sync and parity with another CPU build of vLLM, such as 0.29.0; a quarter of
#                   an hour, and a row in benchmarks/results/versions.md
#
# Every check runs even when one before it failed; the exit code is non-zero if any did.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

which=(-m "not long") log="" asked="${1:-}"
case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
    unit | integration) folders=("tests/$1") && shift ;;
    long) folders=(tests/integration) which=(-m long) log=benchmarks/results/tests_long.log && shift ;;
    --vllm) [[ -n "${2:-}" ]] || die "--vllm needs a version, such as --vllm 0.29.0." ;;
    metrics) folders=(tests/metrics) log=benchmarks/results/tests_metrics.log && shift ;;
    *) folders=(tests/unit tests/integration) ;;
esac
cd "$REPO"
bash launch/setup.sh --test
# shellcheck source=launch/env.sh
source launch/env.sh # again, for the environment that was just made
[[ "${1:-}" != --vllm ]] || exec python benchmarks/vllm_versions.py "${@:2}"

failed=()
check() { # NAME COMMAND...
    local name="$1"
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}
code=(benchmarks docs judges online_rl tests) # what else lies here, such as my_reward.py, is the user's
check "ruff check" ruff check "${code[@]}"
check "ruff format" ruff format --check "${code[@]}"
check "shellcheck" shellcheck -x launch/*.sh launch/slurm.sbatch tests/integration/*.sh .ci/run
check "mypy" mypy
((${#failed[@]} == 0)) || printf 'error: failed: %s\n' "$(printf '%s; ' "${failed[@]}")" >&2

status=0
for folder in "${folders[@]}"; do
    how=(--numprocesses 2 --dist loadfile) # of integration, sharing the cores as tests/integration/cores.py says
    [[ "$folder" != tests/unit ]] || how[1]=auto
    [[ "$folder" != tests/metrics ]] || how=() # one server for all
    # Out of time, pytest ends with what it has found, which it could not say if it were killed.
    [[ -n "$log" ]] || how+=(--session-timeout 2000)
    echo "== pytest $folder after $((SECONDS / 60)) min: ${which[*]} ${how[*]} $*"
    OMP_NUM_THREADS=1 python -m pytest "$folder" "${which[@]}" "${how[@]}" --durations=15 "$@" 2>&1 |
        tee "${log:-/dev/null}" || status=$?
done
if [[ -n "$log" ]]; then # kept: what ran where, without this machine's paths
    head="bash launch/test.sh $asked, at $(git rev-parse --short HEAD), $(nproc) cores, $(python --version)"
    sed -i -e "1i # $head" -e "s#$REPO#.#g" "$log"
fi
((status != 0 || ${#failed[@]} == 0)) || status=1
exit "$status"
