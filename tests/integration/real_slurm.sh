#!/usr/bin/env bash
# launch/slurm.sbatch against a real Slurm: a controller and two node daemons on this machine, for this script alone.
# Run by hand, as root on Debian or Ubuntu, in a container or a virtual machine of your own:
#
#   apt install slurm-wlm munge        Debian's build lets several slurmd run on one machine
#   bash launch/setup.sh
#   bash tests/integration/real_slurm.sh
#
# It adds the names n1 and n2 to /etc/hosts for as long as it runs. Each check prints a line; the first that fails ends
# it, with the job's log. What it saw is summed up in docs/launching.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here="$PWD" began=$SECONDS
for tool in slurmctld slurmd sbatch munged; do
    command -v "$tool" >/dev/null || { echo "error: $tool is not installed: apt install slurm-wlm munge" >&2 && exit 2; }
done
[[ "$(id -u)" == 0 ]] || { echo "error: slurmd has to be started as root." >&2 && exit 2; }

place="$(mktemp -d /tmp/real-slurm-XXXX)"
mkdir "$place/state" "$place/spool-n1" "$place/spool-n2" "$place/runs"
cp /etc/hosts "$place/hosts"
echo "127.0.0.1 n1 n2" >>/etc/hosts
cleanup() {
    scancel --state=RUNNING,PENDING --user=root 2>/dev/null || true
    sleep 2
    kill "${daemons[@]}" 2>/dev/null || true
    cat "$place/hosts" >/etc/hosts
}
daemons=()
trap cleanup EXIT

cat >"$place/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=$(hostname)(127.0.0.1)
MailProg=/bin/true
SlurmUser=root
SlurmctldPort=17817
AuthType=auth/munge
AuthInfo=cred_expire=20
StateSaveLocation=$place/state
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd-%n.pid
SlurmdSpoolDir=$place/spool-%n
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=30
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17818 CPUs=2
NodeName=n2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17819 CPUs=2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$place/slurm.conf"
mkdir -p /run/munge && chown munge: /run/munge
pgrep -x munged >/dev/null || setsid runuser -u munge -- munged
slurmctld -D >/dev/null 2>&1 &
daemons+=($!)
for node in n1 n2; do
    slurmd -D -N "$node" >/dev/null 2>&1 &
    daemons+=($!)
done

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }
fail() { # WHAT LOG
    say "FAILED: $1"
    tail -n 40 "${2:-$place/slurmctld.log}"
    exit 1
}
wait_for() { # SECONDS WHAT LOG COMMAND...
    local limit=$((SECONDS + $1)) what="$2" log="$3"
    shift 3
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || fail "waited in vain for: $what" "$log"
        sleep 1
    done
    say "$what"
}
both_idle() { [[ "$(sinfo --noheader --format='%D %t')" == "2 idle" ]]; }
wait_for 60 "two nodes are idle: $(slurmctld -V)" "" both_idle

settings=(demo.studies=64 "demo.cache=$place/cache" rollout.studies_per_step=4 rollout.group_size=4
    rollout.max_completion_tokens=48 eval.studies=8 eval.image_check=never train.micro_batch_tokens=1024
    monitor.samples_every=0 scoring.price_studies=0)
submit() { # SBATCH OPTIONS... -- SETTINGS...
    local options=()
    while [[ "$1" != -- ]]; do options+=("$1") && shift; done
    shift
    sbatch --parsable --gpus-per-node=0 --cpus-per-task=1 --chdir="$place" --output="$place/%x.out" "${options[@]}" \
        "$here/launch/slurm.sbatch" "$here/configs/demo_grpo.yaml" "${settings[@]}" "$@"
}
state() { scontrol show job "$1" | sed -n 's/^ *JobState=\([A-Z]*\).*/\1/p' | head -n 1; }
is() { [[ " $2 " == *" $(state "$1") "* ]]; }
steps() { grep -c '"split": "train"\|"step_time"' "$place/runs/$1/metrics.jsonl" 2>/dev/null || echo 0; }
reached() { (($(steps "$1") >= $2)); }

# 1. Two nodes, a lead-time signal, save, requeue, resume.
log="$place/long.out"
source launch/env.sh
online-rl demo prepare --config configs/demo_grpo.yaml "${settings[@]:0:2}" >/dev/null
job="$(submit --job-name=long --nodes=2 --time=00:06:00 --signal=B:USR1@180 -- run.dir="$place/runs/long" train.max_steps=400)"
say "job $job: two nodes, six minutes, told 180 s before their end"
wait_for 180 "step 1 is taken by two ranks" "$log" reached long 1
grep -q "2 nodes, 2 ranks, start 1 of job $job" "$log" || fail "the job does not say what it is" "$log"
wait_for 300 "the job has saved and is queued again" "$log" grep -q "requeueing job $job" "$log"
before="$(steps long)"
wait_for 120 "its second start" "$log" grep -q "start 2 of job $job" "$log"
wait_for 120 "it has gone on behind step $before" "$log" reached long $((before + 1))
steps_saved="$(grep -o "saved at step [0-9]*\|stopped at step [0-9]*" "$log" | head -n 1)"
say "the first start had ${steps_saved:-said nothing}; logged were $before steps"
[[ "$(grep -c '"step": 1,' "$place/runs/long/metrics.jsonl")" -le 2 ]] || fail "step 1 was taken again" "$log"

# 2. Cancelled: saved within the 30 s that Slurm grants, and not queued again.
scancel --batch --signal=TERM "$job"
wait_for 60 "cancelled: the ranks are told" "$log" grep -q "cancelled: the ranks save and end" "$log"
wait_for 90 "the job is over" "$log" is "$job" "FAILED CANCELLED COMPLETED"
newest="$(find "$place/runs/long/checkpoints" -name complete | sort -V | tail -n 1)"
[[ -n "$newest" ]] || fail "nothing was saved" "$log"
say "saved: $(basename "$(dirname "$newest")"); the job's state is $(state "$job")"
[[ "$(grep -c "^requeueing" "$log")" == 1 ]] || fail "it was queued again" "$log"

# 3. An array of seeds, two tasks side by side on one node.
job="$(submit --job-name=seeds --array=0-1 --nodes=1 --ntasks-per-node=1 --time=00:10:00 -- \
    run.dir="$place/runs/seed-%a" run.seed=%a train.max_steps=1)"
wait_for 300 "seed 0 has trained" "$place/seeds.out" test -d "$place/runs/seed-0/model"
wait_for 300 "seed 1 has trained" "$place/seeds.out" test -d "$place/runs/seed-1/model"
for seed in 0 1; do
    grep -q "^  seed: $seed" "$place/runs/seed-$seed/config.resolved.yaml" || fail "seed $seed" "$place/seeds.out"
done
say "each task had its own seed and folder"

# 4. An error is not queued again.
job="$(submit --job-name=wrong --nodes=1 --time=00:05:00 -- run.dir="$place/runs/wrong" rollout.group_siz=4)"
wait_for 60 "a wrong key ends the job" "$place/wrong.out" is "$job" FAILED
grep -q "Did you mean rollout.group_size" "$place/wrong.out" || fail "no message" "$place/wrong.out"
say "everything held, in $((SECONDS - began)) s"
