#!/usr/bin/env bash
# Two "machines" on one: this process's network namespace and a second one, joined by a pair of virtual cables. Run by
# test_two_nodes.py inside `unshare --user --map-root-user --net`, so nothing of the real network is touched and all of
# it is gone when the processes end.
#
#   bash two_nodes.sh up                           tries the rights and stops
#   bash two_nodes.sh HOSTFILE PORT CONFIG [key=value ...]
set -euo pipefail
first=10.77.0.1 second=10.77.0.2

unshare --net sleep 600 &
other=$!
trap 'kill "$other" "${pids[@]}" 2>/dev/null || true' EXIT
pids=()
on_second() { nsenter --target "$other" --net "$@"; }
for _ in $(seq 100); do # until the second namespace is there
    [[ "$(readlink "/proc/$other/ns/net")" == "$(readlink /proc/self/ns/net)" ]] || break
    sleep 0.05
done

ip link add cable0 type veth peer name cable1 netns "$other"
ip address add "$first/24" dev cable0
ip link set cable0 up
ip link set lo up
on_second ip address add "$second/24" dev cable1
on_second ip link set cable1 up
on_second ip link set lo up
[[ "$1" != up ]] || exit 0

hostfile="$1" port="$2" config="$3"
shift 3
node() { # RANK CABLE
    local rank="$1" cable="$2"
    shift 2
    env GLOO_SOCKET_IFNAME="$cable" VLLM_HOST_IP="$([[ $rank == 0 ]] && echo "$first" || echo "$second")" \
        deepspeed --hostfile "$hostfile" --no_ssh --node_rank "$rank" --master_addr "$first" --master_port "$port" \
        --log_level error --module online_rl.train --config "$config" "$@"
}
node 0 cable0 "$@" &
pids+=($!)
export -f node
export hostfile port config first second
on_second bash -c 'node 1 cable1 "$@"' _ "$@" &
pids+=($!)
status=0
for pid in "${pids[@]}"; do
    wait "$pid" || status=$?
done
exit "$status"
