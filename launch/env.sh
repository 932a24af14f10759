# shellcheck shell=bash
# Sourced by the scripts beside it: where things are, and the environment variables nobody wants to remember.
# To type `deepspeed ...` or `online-rl ...` by hand in the same environment: source launch/env.sh

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$REPO/.venv"

die() { # message of one or more lines; 2 says: you can put this right
    printf 'error: %s\n' "$@" >&2
    exit 2
}

print_help() { # the comment block at the top of the script
    sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$1"
}

LEAST_DRIVER=580 LEAST_CAPABILITY=75 # of CUDA 13, which torch in requirements/gpu.txt is built with: Turing and newer

query_gpus() { # FIELD: a line per GPU of this machine; nothing where there is none
    { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null || true; } | grep -v '^ *$\|[Ee]rror\|No devices' || true
}

gpu_problem() { # why no GPU of this machine can train; nothing if one can. 2 as status: there is no GPU
    local driver capability best=0
    driver="$(query_gpus driver_version | head -n 1)"
    [[ "$driver" =~ ^[0-9]+ ]] || return 2
    if ((BASH_REMATCH[0] < LEAST_DRIVER)); then
        echo "the NVIDIA driver is $driver, and CUDA 13 needs $LEAST_DRIVER or newer; update the driver"
        return
    fi
    for capability in $(query_gpus compute_cap); do
        capability="${capability/./}"
        [[ ! "$capability" =~ ^[0-9]+$ ]] || best=$((capability > best ? capability : best))
    done
    ((best == 0 || best >= LEAST_CAPABILITY)) ||
        echo "the newest GPU has compute capability $((best / 10)).$((best % 10)), and CUDA 13 needs 7.5 or newer"
}

platform() { # gpu or cpu: what the user says, else what setup.sh installed for, else what the machine has
    local problem status=0
    if [[ -n "${ONLINE_RL_PLATFORM:-}" ]]; then
        echo "$ONLINE_RL_PLATFORM"
    elif [[ -s "$VENV/platform" ]]; then
        cat "$VENV/platform"
    else
        problem="$(gpu_problem)" || status=$?
        [[ $status == 0 && -z "$problem" ]] && echo gpu || echo cpu
    fi
}

show_command() { # WORDS: what is about to run, to be pasted into a terminal that has this environment on
    [[ -z "${env_was_off:-}" ]] || echo "The command, after: source $(printf %q "$REPO")/launch/env.sh" >&2
    local words
    printf -v words ' %q' "$@"
    printf '$%s\n' "$words" # at once: other nodes write to the same console
}

share_cores() { # CORES RANKS: threads of each rank, unless the user says how many
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(($1 / $2 > 0 ? $1 / $2 : 1))}"
}

wait_for_end() { # PID: sets status; a signal, which the script's trap counts in signals, ends `wait` and not the run
    local before
    # shellcheck disable=SC2034,SC2154 # both are the script's
    while true; do
        before=$signals status=0
        wait "$1" || status=$?
        ((signals != before)) || break
    done
}

stage_in() { # WORD: the word if it names what to train by, nothing otherwise
    case "$1" in train | sft) echo "$1" ;; esac
}

# shellcheck disable=SC2034 # of the scripts that call save_ranks
ANY_AGE=999999999
save_ranks() { # HUNDREDTHS NAME=VALUE...: SIGTERM to this machine's ranks, started with all of them and no longer ago
    local folder words variable within="$1" up
    shift
    read -r up _ </proc/uptime # 123.45
    for folder in /proc/[0-9]*; do
        { words="$(tr '\0' ' ' <"$folder/cmdline")"; } 2>/dev/null || continue
        # Not to their launcher, which would kill them after 30 s.
        [[ "$words" =~ online_rl\.(train|sft).*--local_rank= && "$words" != *deepspeed.launcher* ]] || continue
        for variable in "$@"; do
            grep -Fzqx "$variable" "$folder/environ" 2>/dev/null || continue 2
        done
        { words="$(<"$folder/stat")"; } 2>/dev/null || continue
        read -ra words <<<"${words##*) }" # from the state on
        ((${up/./} - words[19] <= within)) || continue # the start counts from the machine's, in hundredths of a second
        kill -TERM "${folder#/proc/}" 2>/dev/null || true
    done
}

# The environment made by launch/setup.sh, or, where there is none, whatever is active.
if [[ -x "$VENV/bin/python" && ":$PATH:" != *":$VENV/bin:"* ]]; then
    export PATH="$VENV/bin:$PATH"
    # shellcheck disable=SC2034 # read by show_command
    env_was_off=yes
fi

export VLLM_ENABLE_V1_MULTIPROCESSING=0 # vLLM lives in the trainer's process
export VLLM_LOGGING_LEVEL="${VLLM_LOGGING_LEVEL:-ERROR}"
export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 # nothing leaves the machine
export TRANSFORMERS_VERBOSITY="${TRANSFORMERS_VERBOSITY:-error}" # it warns of torchvision, which the CPU set leaves out
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}"
export TORCH_CPP_LOG_LEVEL="${TORCH_CPP_LOG_LEVEL:-ERROR}"
export TORCH_LOGS="${TORCH_LOGS:--torch._library.triton}" # "Triton not available": true on a CPU, and no loss
# torch announces new names of the calls that DeepSpeed and vLLM make; their users can't act on that.
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore:\`torch.distributed:FutureWarning}"
# DeepSpeed's own builds, kept with the environment: two environments that share a folder undo each other's.
if [[ -x "$VENV/bin/python" ]]; then
    export TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-$VENV/torch_extensions}"
fi
if [[ "$(platform)" == cpu ]]; then
    export DS_ACCELERATOR=cpu
fi
