#!/usr/bin/env bash
# From a fresh clone to a trained policy and its curves: installs what is missing, prepares the demo, trains.
#
#   bash launch/quickstart.sh [CONFIG] [key=value ...]     (configs/demo_grpo.yaml)
#   bash launch/quickstart.sh train.max_steps=20
#
# It trains on as many GPUs as divide the config's rollout.studies_per_step; RANKS says otherwise. On GPUs that have it
# the demo computes in bfloat16. The run goes into runs/quickstart, or runs/quickstart-2 and so on where that exists. Minutes on a laptop, no GPU needed.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
esac
config="$REPO/configs/demo_grpo.yaml"
if [[ $# -gt 0 && "$1" != *=* ]]; then
    config="$1"
    [[ -f "$config" || ! -f "$REPO/$config" ]] || config="$REPO/$config"
    [[ -f "$config" ]] || die "no config file at '$config' (looked in $PWD and in $REPO)."
    config="$(realpath "$config")"
    shift
fi
started="$PWD"
cd "$REPO"

run=""
for override in "$@"; do
    [[ "$override" == *=* ]] || die "'$override' is not key=value; a config comes first."
    [[ "$override" != run.dir=* ]] || run="${override#run.dir=}"
done
if [[ -z "$run" ]]; then
    run=runs/quickstart
    for ((n = 2; ; n++)); do
        [[ -e "$run" ]] || break
        run="runs/quickstart-$n"
    done
    set -- "$@" "run.dir=$run"
fi

value_of() { # SECTION.KEY DEFAULT: as the command line has it, else the config's line, else the default
    local key="${1##*.}" found="" override
    for override in "${overrides[@]}"; do
        [[ "$override" != "$1="* ]] || found="${override#*=}"
    done
    [[ -n "$found" ]] || found="$(sed -n "s/^ *$key: *\([^ #]*\).*/\1/p" "$config" | head -n 1)"
    echo "${found:-$2}"
}

# What would be refused after installing for minutes is looked at now.
overrides=("$@")
gpus=0 available=1
if [[ "$(platform)" == gpu ]]; then
    gpus="$(query_gpus index | wc -l)" available=$gpus
    [[ -z "${CUDA_VISIBLE_DEVICES:-}" ]] || available="$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)"
elif (($(env -u OMP_NUM_THREADS nproc) > 1)); then
    available=2
fi
studies="$(value_of rollout.studies_per_step 16)"
if [[ "$studies" =~ ^[1-9][0-9]*$ ]] && ((available > 0)); then
    if [[ -z "${RANKS:-}" ]]; then
        for ((fit = available; studies % fit; fit--)); do :; done
        if ((fit < available)); then
            export RANKS=$fit
            unit="$([[ $gpus == 0 ]] && echo processes || echo GPUs)"
            echo "quickstart: training on $fit of $available $unit: their number must divide rollout.studies_per_step=$studies."
        fi
    elif [[ "$RANKS" =~ ^[1-9][0-9]*$ ]] && ((studies % RANKS)); then
        die "RANKS is $RANKS, expected a divisor of rollout.studies_per_step=$studies; change one of the two."
    fi
fi
if ((gpus > 0)) && [[ "$config" == "$REPO"/configs/demo_*.yaml && "$*" != *model.dtype=* ]]; then
    # vLLM's attention in float32 multiplies in TF32 on a GPU; bfloat16 needs Ampere or newer.
    least="$(query_gpus compute_cap | tr -d . | sort -n | head -n 1)"
    if [[ "$least" =~ ^[0-9]+$ ]] && ((least >= 80)); then
        set -- model.dtype=bfloat16 "$@"
    fi
fi

SECONDS=0
installing=0 # seconds
minutes() { # [SECONDS]
    local seconds="${1:-$SECONDS}"
    printf '%d min %02d s' $((seconds / 60)) $((seconds % 60))
}
step() { # NAME COMMAND...
    local name="$1" status
    shift
    printf '\n== %s\n' "$name"
    set -m # a process group of its own, so that a signal reaches all of it
    "$@" &
    child=$!
    set +m
    while true; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break # a signal ends `wait`, not the step
    done
    if ((status == 75 || status == 130)); then
        printf '\nquickstart: stopped on request after %s\n' "$(minutes)" >&2
        exit "$status"
    elif ((status != 0)); then
        printf '\nquickstart: %s failed (exit code %d) after %s\n' "$name" "$status" "$(minutes)" >&2
        exit "$status"
    fi
}
child=""
told() { [[ -z "$child" ]] || kill "-$1" -- "-$child" 2>/dev/null || true; }
for signal in INT TERM HUP; do
    # shellcheck disable=SC2064 # now
    trap "told $signal" "$signal"
done
export ONLINE_RL_SCRIPT=$$ # training saves and ends if this script is killed

step "install" bash launch/setup.sh
installing=$SECONDS
# shellcheck source=launch/env.sh
source launch/env.sh # again, for the environment that was just made
step "prepare the demo" online-rl demo prepare --config "$config" "$@"
step "train" bash launch/single_node.sh "$config" "$@"

# The environment of this script ends with it: whoever pastes the lines below needs `first` for them.
first="source launch/env.sh"
[[ "$started" -ef "$REPO" ]] || first="cd $(printf %q "$REPO") && $first"
printf '\n== done in %s, after installing for %s\n' "$(minutes $((SECONDS - installing)))" "$(minutes "$installing")"
for plot in curves before_after; do
    [[ ! -f "$run/plots/$plot.png" ]] || printf '%-16s%s\n' "${plot//_/ }" "$run/plots/$plot.png"
done
quoted="$(printf %q "$run")"
cat <<END
first           $first
TensorBoard     bash launch/tensorboard.sh $quoted
one HTML file   online-rl plot $quoted --html
the policy      online-rl export $quoted --output exported
how good it is  online-rl eval $quoted --against start
your own data   the data: section of a config in configs/, then online-rl doctor --config CONFIG
your own reward judges: [{use: path/to/file.py:function}] in the config; any TRL reward function will do
END
