#!/usr/bin/env bash
# Trains on the machines of a hostfile, with the deepspeed launcher over ssh (pdsh). The same folder, environment and
# data must be at the same path on each of them.
#
#   bash launch/multi_node.sh [--dry-run] HOSTFILE CONFIG [key=value ...]
#
# A hostfile has one line per machine: its name, and its number of GPUs.
#   worker-1 slots=8
#   worker-2 slots=8
#
#   --dry-run                          prints the command and stops
#   MASTER_PORT=29500                  a port that is free on the first machine
#   DEEPSPEED_ARGS="--launcher slurm"  anything else for the deepspeed launcher
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

dry_run=no
case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
    --dry-run) dry_run=yes && shift ;;
esac
(($# >= 2)) || die "expected bash launch/multi_node.sh [--dry-run] HOSTFILE CONFIG [key=value ...]"
hostfile="$1" config="$2"
shift 2
# The launcher would go on with this machine alone when the hostfile is missing.
[[ -f "$hostfile" ]] || die "no hostfile at '$hostfile'."
if [[ ! -f "$config" && -f "$REPO/$config" ]]; then
    config="$REPO/$config"
fi
[[ -f "$config" ]] || die "no config file at '$config' (looked in $PWD and in $REPO)."
port="${MASTER_PORT:-29500}"
[[ "$port" =~ ^[1-9][0-9]{3,4}$ ]] || die "MASTER_PORT is '$port'; expected 1024 to 65535."

declare -A line_of=()
number=0 total=0
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
    total=$((total + slots))
done <"$hostfile"
((${#line_of[@]} > 0)) || die "$hostfile names no machine; expected lines such as: worker-1 slots=8"

hostfile="$(realpath "$hostfile")" config="$(realpath "$config")"
read -ra more <<<"${DEEPSPEED_ARGS:-}"
command=(deepspeed --hostfile "$hostfile" --master_port "$port" "${more[@]}"
    --module online_rl.train --config "$config" "$@")
echo "${#line_of[@]} machines, $total ranks"
echo "\$ ${command[*]}"
[[ $dry_run == no ]] || exit 0

command -v deepspeed >/dev/null || die "deepspeed is not installed here; run: bash launch/setup.sh"
if [[ " ${DEEPSPEED_ARGS:-} " != *" --launcher"* ]] && ! command -v pdsh >/dev/null; then
    die "pdsh is not installed; install it, or set DEEPSPEED_ARGS=\"--launcher openmpi\" (or slurm, mpich, impi)."
fi
# The launcher hands only a few variables to the other machines, and what stands in this file.
variables="$(mktemp)"
trap 'rm -f "$variables"' EXIT
for other in "$HOME/.deepspeed_env" .deepspeed_env; do
    [[ ! -f "$other" ]] || grep '=' "$other" >>"$variables" || true
done
env | grep -E '^(VLLM|HF|ONLINE_RL|TOKENIZERS|TORCH|DO_NOT_TRACK)[A-Z_]*=' >>"$variables" || true
export DS_ENV_FILE="${DS_ENV_FILE:-$variables}"
# Paths are relative to where you start, on every machine; the launcher hands PYTHONPATH on.
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
"${command[@]}"
