#!/usr/bin/env bash
# Trains on the machines of a hostfile, with the deepspeed launcher over ssh (pdsh). The same folder, environment and
# data must be at the same path on each of them.
#
#   bash launch/multi_node.sh [--dry-run] [sft] HOSTFILE CONFIG [key=value ...]
#
# A hostfile has one line per machine: its name, and its number of GPUs.
#   worker-1 slots=8
#   worker-2 slots=8
#
#   sft                                      the supervised stage, online_rl.sft
#   --dry-run                                prints the command and stops
#   MASTER_PORT=29500                        a port that is free on the first machine
#   OMP_NUM_THREADS=8                        threads per rank (otherwise this machine's cores / the most slots above)
#   DEEPSPEED_ARGS="--master_addr 10.0.0.1"  anything else for the deepspeed launcher
#
# Ctrl-C, SIGTERM or a closed terminal asks the ranks on every machine to save and stop, those that start later as well; a
# second signal ends them at once. The exit code is the trainer's, as in single_node.sh.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

dry_run=no
case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
    --dry-run) dry_run=yes && shift ;;
    --save-on-node) save_ranks "$3" "MASTER_PORT=$2" && exit 0 ;;
esac
stage="$(stage_in "${1:-}")"
[[ -z "$stage" ]] || shift
(($# >= 2)) || die "expected bash launch/multi_node.sh [--dry-run] [sft] HOSTFILE CONFIG [key=value ...]"
hostfile="$1" config="$2"
shift 2
# The launcher would continue on this machine alone if the hostfile is missing.
[[ -f "$hostfile" ]] || die "no hostfile at '$hostfile'."
if [[ ! -f "$config" && -f "$REPO/$config" ]]; then
    config="$REPO/$config"
fi
[[ -f "$config" ]] || die "no config file at '$config' (looked in $PWD and in $REPO)."
port="${MASTER_PORT:-29500}"
[[ "$port" =~ ^[1-9][0-9]{3,4}$ ]] || die "MASTER_PORT is '$port'; expected 1024 to 65535."

declare -A line_of=()
number=0 total=0 most=0
while IFS= read -r line || [[ -n "$line" ]]; do
    number=$((number + 1))
    line="${line%%#*}"
    line="${line%$'\r'}"
    [[ -n "${line//[[:space:]]/}" ]] || continue
    where="$hostfile, line $number"
    [[ "$line" =~ ^[[:space:]]*([A-Za-z0-9_.:@-]+)[[:space:]]+slots=([^[:space:]]+)[[:space:]]*$ ]] ||
        die "$where: '$line' is not a machine and its slots; expected a line such as: worker-1 slots=8"
    host="${BASH_REMATCH[1]}" slots="${BASH_REMATCH[2]}"
    [[ "$slots" =~ ^[1-9][0-9]*$ ]] || die "$where: slots is '$slots'; expected a whole number of at least 1."
    [[ -z "${line_of[$host]:-}" ]] || die "$where: '$host' is already on line ${line_of[$host]}; expected each machine once."
    line_of[$host]=$number
    total=$((total + slots)) most=$((slots > most ? slots : most))
done <"$hostfile"
((${#line_of[@]} > 0)) || die "$hostfile names no machine; expected lines such as: worker-1 slots=8"

hostfile="$(realpath "$hostfile")" config="$(realpath "$config")"
read -ra more <<<"${DEEPSPEED_ARGS:-}"
command=(deepspeed --hostfile "$hostfile" --master_port "$port" "${more[@]}"
    --module "online_rl.${stage:-train}" --config "$config" "$@")
echo "${#line_of[@]} machines, $total ranks"
show_command "${command[@]}"
[[ $dry_run == no ]] || exit 0

command -v deepspeed >/dev/null || die "deepspeed is not installed here; run: bash launch/setup.sh"
with_pdsh=yes
[[ " ${DEEPSPEED_ARGS:-} " != *" --launcher"* ]] || with_pdsh=no
if [[ $with_pdsh == yes ]] && ! command -v pdsh >/dev/null; then
    die "pdsh is not installed; install it (apt install pdsh, dnf install pdsh)." \
        "On a Slurm cluster: launch/slurm.sbatch. Without ssh: docs/launching.md, \"Several machines\"."
fi
# The launcher hands only a few variables to the other machines, and what stands in this file.
variables="$(mktemp)"
trap 'rm -f "$variables"' EXIT
share_cores "$(env -u OMP_NUM_THREADS nproc)" "$most" # each machine would give every rank all of its cores
names='VLLM|HF|GLOO|ONLINE_RL|TOKENIZERS|TORCH|TRANSFORMERS|DO_NOT_TRACK|DS_ACCELERATOR|OMP_NUM_THREADS'
env | grep -E "^($names)[A-Z0-9_]*=" | grep -v ^VLLM_HOST_IP= >>"$variables" || true # an address is one machine's
for other in "$HOME/.deepspeed_env" .deepspeed_env "${DS_ENV_FILE:-}"; do # the user's own; the last one wins
    [[ ! -f "$other" ]] || grep '=' "$other" >>"$variables" || true
done
export DS_ENV_FILE="$variables"
# Paths are relative to where you start, on every machine; the launcher hands PYTHONPATH on.
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
# It hands PYTHONWARNINGS on as well, between double quotes, in which the other machines' shells would run a backtick.
[[ $with_pdsh == no ]] || export PYTHONWARNINGS="${PYTHONWARNINGS//\`/\\\`}"

# shellcheck disable=SC2329 # called by the trap
say() { # a terminal that is closed takes nothing
    echo "$*" >&2 2>/dev/null || true
}
# shellcheck disable=SC2329 # called by the trap
tell_ranks() { # HUNDREDTHS: those on every machine that were started no longer ago; each is told once, as twice ends it
    PDSH_RCMD_TYPE=ssh pdsh -S -w "$hosts" "$(printf '%q ' bash "$this" --save-on-node "$port" "$1")"
}
# shellcheck disable=SC2329 # called by the trap
hundredths() { # of a second, now
    echo $((${EPOCHREALTIME//[.,]/} / 10000))
}
# shellcheck disable=SC2329 # called by the trap
tell_later_ranks() { # WHEN the others were told: those of a launch that a signal met before every machine had started its ranks
    local last="$1" now
    while sleep 5 && kill -0 "$launcher" 2>/dev/null; do
        now="$(hundredths)"
        tell_ranks $((now - last)) >/dev/null 2>&1 || true
        last=$now
    done
}
# shellcheck disable=SC2329 # called by the trap
stop() { # the launcher's own way gives the ranks 30 s, and ends every other run of the user on those machines too
    signals=$((signals + 1))
    if ((signals > 1)); then
        kill -TERM "$launcher" 2>/dev/null || true
    elif [[ $with_pdsh == no ]]; then
        say "stopping: the launcher is told; whether it lets the ranks save is up to it."
        kill -TERM -- "-$launcher" 2>/dev/null || true
    else
        say "stopping: the ranks save and end; once more to end them at once."
        local now
        now="$(hundredths)"
        tell_ranks "$ANY_AGE" ||
            say "error: not every machine could be told; SIGTERM to one rank on any of them has the same effect."
        tell_later_ranks "$now" &
    fi
}

hosts="$(IFS=, && echo "${!line_of[*]}")" this="$REPO/launch/multi_node.sh" signals=0
set -m # a process group of its own, so that Ctrl-C does not reach it
"${command[@]}" </dev/null &
launcher=$!
set +m
trap stop INT TERM HUP
wait_for_end "$launcher"
((signals < 2)) || status=130
exit "$status"
