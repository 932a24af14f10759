#!/usr/bin/env bash
# Shows the curves of one run, or of every run in a folder.
#
#   bash launch/tensorboard.sh [RUN] [PORT]      (runs, 6006)
#
# It listens on this machine only. From another one: ssh -L 6006:localhost:6006 THIS_MACHINE
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

case "${1:-}" in
    -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
esac
run="${1:-runs}" port="${2:-6006}"
if [[ ! -d "$run" && -d "$REPO/$run" ]]; then
    run="$REPO/$run"
fi
[[ -d "$run" ]] || die "no run at '$run' (looked in $PWD and in $REPO)."
[[ "$port" =~ ^[0-9]+$ ]] || die "the port is '$port'; expected a number, such as 6006."
command -v tensorboard >/dev/null || die "tensorboard is not installed here; run: bash launch/setup.sh"
command=(tensorboard --logdir "$run" --port "$port")
echo "\$ ${command[*]}"
exec "${command[@]}"
