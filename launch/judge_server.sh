#!/usr/bin/env bash
# Serves a GREEN model to the judge `green`, with vLLM, on this machine; prints the command that it runs.
#
#   bash launch/judge_server.sh [--model MODEL] [--port 8000] [...] [-- further vLLM arguments]
#
#   --model MODEL   name on the hub or folder (StanfordAIMI/GREEN-radllama2-7b)
#   --gpu 7         on a GPU of its own
#   --gpu 0 --share-gpu
#                   on a GPU that trains as well, of 48 GiB or more: a third of its memory, and vLLM's sleep mode (/sleep, /wake_up)
#   --platform cpu  on the CPU, for tests and small models (otherwise a GPU where there is one)
#   --no-ngram      without n-gram speculation, which gives the same answers sooner
#   --host ADDRESS  for trainers on other machines (127.0.0.1, which only this one reaches; there is no password)
#   --dry-run       prints the command and starts nothing
#
# The trainer's side:  judges: [{use: green, length_control: lc_green, args: {url: "http://localhost:8000"}}]
# Without a url the trainer starts such a server itself, where `place` says, and stops it at the end.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

for argument in "$@"; do
    case "$argument" in
        -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
        --) break ;;
    esac
done
ONLINE_RL_PLATFORM="$(platform)"
export ONLINE_RL_PLATFORM
export PYTHONPATH="$REPO${PYTHONPATH:+:$PYTHONPATH}"
exec python -m judges.green.server "$@"
