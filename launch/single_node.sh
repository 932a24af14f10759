#!/usr/bin/env bash
# Trains on this machine: sets the environment and runs online_rl.train under the deepspeed launcher.
#
#   bash launch/single_node.sh [sft] CONFIG [key=value ...]
#   bash launch/single_node.sh configs/demo_grpo.yaml train.max_steps=20 run.dir=runs/try
#   bash launch/single_node.sh sft configs/demo_grpo.yaml    the supervised stage, online_rl.sft
#
#   RANKS=4                    processes (otherwise one per GPU; on a CPU 2, or 1 where there is one core)
#   CUDA_VISIBLE_DEVICES=2,3   the GPUs to use, by index or UUID
#   MASTER_PORT=29500          refused when taken (otherwise a free port)
#
# --debug behind CONFIG shows tracebacks, and what DeepSpeed's compiler, vLLM and the launcher print.
#
# Ctrl-C, SIGTERM or a closed terminal asks every rank to save and stop; a second one ends them at once. The exit code is
# the trainer's: 0 done, 2 something that you can put right, 3 the run had to stop, 75 saved and stopped on request (130
# after Ctrl-C; continue with resume=auto), 128 + N a rank was ended by signal N.
set -euo pipefail
trap 'exit 130' INT # nothing runs yet
trap 'exit 75' TERM HUP
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
esac
stage="$(stage_in "${1:-}")" again=""
[[ -z "$stage" ]] || { again=" $stage" && shift; }
[[ "${1:-}" != --config ]] || shift # as online-rl and deepspeed take it
case "${1:-}" in
    "") die "no config given; expected bash launch/single_node.sh CONFIG [key=value ...]" ;;
esac
config="$1" again+="$(printf ' %q' "$@")"
shift
if [[ ! -f "$config" && -f "$REPO/$config" ]]; then
    config="$REPO/$config" # so that configs/... works from any folder
fi
[[ -f "$config" ]] || die "no config file at '$config' (looked in $PWD and in $REPO)."
command -v deepspeed >/dev/null || die "deepspeed is not installed here; run: bash launch/setup.sh"

gpu_indices() { # CHOSEN: the indices of GPUs that are named by index or by UUID, which may be shortened as CUDA takes it
    local one found indices=() chosen="$1" known
    known="$(query_gpus index,uuid)"
    for one in ${chosen//,/ }; do
        case "$one" in
            *MIG*) die "CUDA_VISIBLE_DEVICES names a MIG slice, '$one', which the deepspeed launcher cannot hand to a rank." \
                "One rank can use it without a launcher: online-rl train --config CONFIG" ;;
            GPU-*)
                found="$(awk -F ', *' -v uuid="$one" 'index($2, uuid) == 1 {print $1}' <<<"$known")"
                [[ "$found" =~ ^[0-9]+$ ]] || die "CUDA_VISIBLE_DEVICES names '$one', and nvidia-smi lists:" "${known:-nothing}"
                ;;
            *) found="$one" ;;
        esac
        [[ "$found" =~ ^[0-9]+$ ]] || die "CUDA_VISIBLE_DEVICES is '$chosen'; expected GPUs by index, such as 0,1, or by UUID."
        indices+=("$found")
    done
    (IFS=, && echo "${indices[*]}")
}

cores="$(env -u OMP_NUM_THREADS nproc)" # which would take that for the number of cores
ranks="$(python -m online_rl.ranks.launch)" # RANKS or what the machine has; the doctor asks there too
share_cores "$cores" "$ranks"

port="$(python - "${MASTER_PORT:-0}" <<'PY'
import socket, sys
try:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", int(sys.argv[1])))
        print(s.getsockname()[1])
except (OSError, ValueError, OverflowError):
    pass
PY
)"
[[ -n "$port" ]] || die "MASTER_PORT is '$MASTER_PORT', which is in use or not a port; leave it unset to get a free one."

# The launcher forgets CUDA_VISIBLE_DEVICES when it is told a number, so GPUs chosen by hand go in by their index.
where=(--num_accelerators "$ranks")
if [[ "$(platform)" == gpu && -n "${CUDA_VISIBLE_DEVICES:-}" ]]; then
    chosen="$(gpu_indices "$(cut -d, -f"1-$ranks" <<<"$CUDA_VISIBLE_DEVICES")")"
    [[ -z "$chosen" || ! "$CUDA_VISIBLE_DEVICES" == *GPU-* ]] || export CUDA_DEVICE_ORDER=PCI_BUS_ID # as nvidia-smi counts
    where=(--include "localhost:$chosen")
    unset CUDA_VISIBLE_DEVICES
fi
# After a refusal the launcher would repeat the command and the exit code as an [ERROR] of its own.
level=critical
for argument in "$@"; do [[ "$argument" != --debug ]] || level=error; done
# A hostfile of its own choosing (/job/hostfile) must not turn this into a run on other machines.
command=(deepspeed --hostfile /dev/null "${where[@]}" --master_port "$port" --log_level "$level"
    --module "online_rl.${stage:-train}" --config "$config" "$@")
show_command "${command[@]}"

say() { printf '%s\n' "$*" >&2 || true; } # the terminal may be gone

children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }
told=""
tell_ranks() { # SIGTERM to those that have not had it; the launcher's own way would leave them 30 s to save
    local inner rank
    for inner in $(children "$launcher"); do
        for rank in $(children "$inner"); do
            [[ " $told " != *" $rank "* ]] || continue
            kill -TERM "$rank" 2>/dev/null || true
            told+=" $rank"
        done
    done
}
# shellcheck disable=SC2329 # called by the traps
stop() { # SIGNAL
    if [[ -n "$stopping" ]]; then
        kill -KILL -- "-$launcher" 2>/dev/null || true
        exit 130
    fi
    stopping="$1"
    say "stopping: the ranks save and end; once more to end them at once."
    tell_ranks
    [[ -n "$told" ]] || kill -TERM -- "-$launcher" 2>/dev/null || true # there is no rank yet
}
gone_within() { # SECONDS: whether the last process of the group ends in time
    local i
    for ((i = 0; i < 5 * $1; i++)); do
        kill -0 -- "-$launcher" 2>/dev/null || return 0
        sleep 0.2
    done
    return 1
}

stopping=""
export ONLINE_RL_SCRIPT="${ONLINE_RL_SCRIPT:-$$}" # the ranks save and end if this script is killed
set -m # a process group of its own, so that nothing is left behind
"${command[@]}" &
launcher=$!
set +m
for signal in INT TERM HUP; do
    # shellcheck disable=SC2064 # now
    trap "stop $signal" "$signal"
done
while true; do
    status=0
    wait "$launcher" || status=$?
    [[ -n "$stopping" ]] || break
    while kill -0 "$launcher" 2>/dev/null; do # ranks may come up still
        tell_ranks
        sleep 0.5
    done
    last=0
    wait "$launcher" 2>/dev/null || last=$?
    ((last == 127)) || status=$last # 127: it had ended before the signal came
    break
done
if ! gone_within 10; then # the launcher ends with 0 when its helper was killed (out of memory, say)
    say "error: the launcher is gone and its ranks are not; they save and end."
    [[ -n "$stopping" ]] || kill -TERM -- "-$launcher" 2>/dev/null || true
    gone_within 60 || kill -KILL -- "-$launcher" 2>/dev/null || true
    ((status != 0)) || status=1
fi
if ((status > 192)); then # the launcher gives back 256 - N
    status=$((128 + 256 - status))
fi
if [[ -n "$stopping" ]] && { [[ -z "$told" ]] || ((status == 143)); }; then
    status=75 # before the ranks could hear it, so that there was nothing to save
fi
if ((status > 128 && status != 130)); then
    say "error: a rank was ended by signal $((status - 128)), and the others were stopped."
fi
[[ " $again" == *" resume="* ]] || again+=" resume=auto"
if ((status == 75 || status == 3 || (status > 128 && status != 130))); then
    say "continue with: bash ${BASH_SOURCE[0]}$again"
fi
[[ "$stopping" != INT || $status != 75 ]] || status=130
exit "$status"
