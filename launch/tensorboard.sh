#!/usr/bin/env bash
# Shows the curves of one run, or of every run in a folder.
#
#   bash launch/tensorboard.sh [RUN] [--port PORT]      (runs, 6006; the port alone behind RUN will do)
#   bash launch/tensorboard.sh runs/quickstart -- --reload_interval 5      further arguments of tensorboard
#
# It listens on this machine only. From another one: ssh -L 6006:localhost:6006 THIS_MACHINE
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

run="" port="" further=()
while (($#)); do
    case "$1" in
        -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
        --port | -p) port="${2-}" && shift ;;
        --port=*) port="${1#*=}" ;;
        --logdir | --run) run="${2-}" && shift ;;
        --logdir=* | --run=*) run="${1#*=}" ;;
        --) shift && further=("$@") && break ;;
        -*) die "'$1' is not an option here; expected [RUN] [--port PORT] [-- arguments of tensorboard]." ;;
        *) if [[ -z "$run" ]]; then run="$1"; elif [[ -z "$port" ]]; then port="$1"; else
            die "'$1' is one word too many; expected [RUN] [--port PORT]."
        fi ;;
    esac
    shift || die "the last option has no value; expected [RUN] [--port PORT]."
done
if [[ -z "$port" && "$run" =~ ^[0-9]+$ && ! -e "$run" ]]; then # a port alone
    port="$run" run=""
fi
run="${run:-runs}" port="${port:-6006}"
if [[ ! -d "$run" && -d "$REPO/$run" ]]; then
    run="$REPO/$run"
fi
[[ -d "$run" ]] || die "no run at '$run' (looked in $PWD and in $REPO)."
is_port() { [[ "$1" =~ ^[0-9]{1,5}$ ]] && ((10#$1 <= 65535)); }
is_port "$port" || die "the port is '$port'; expected a number up to 65535, such as 6006."
command -v tensorboard >/dev/null || die "tensorboard is not installed here; run: bash launch/setup.sh"
command=(tensorboard --logdir "$run" --port "$port" "${further[@]}")
show_command "${command[@]}"
exec "${command[@]}"
