#!/usr/bin/env bash
# Measures two uses of a mounted machine against the least possible FUSE server, both servers and their client on one CPU:
#   reading sys/devices/system/node/node0/meminfo, and writing "dump_pt 0x1000" to sys/kernel/debug/memory.
#
#   Tests/Latency/run.sh VERIDIANFS [CPU]
#
# Prints the medians and their ratios. Both mounts and their processes are taken away at the end, whatever happens.
set -euo pipefail

program=$(realpath "${1:?usage: run.sh VERIDIANFS [CPU]}")
cpu=${2:-0}
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
floor_process=

clean_up() {
  for mount in "$work/machine" "$work/floor"; do
    if mountpoint -q "$mount"; then fusermount3 -u -z "$mount" || umount -l "$mount" || true; fi
  done
  if [ -n "$floor_process" ]; then
    kill "$floor_process" 2>/dev/null || true
    wait "$floor_process" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

read -ra flags <<<"$(pkg-config --cflags --libs fuse3)"
gcc -O2 -Wall -Wextra -o "$work/floor-server" "$here/floor.c" "${flags[@]}"
gcc -O2 -Wall -Wextra -o "$work/latency" "$here/latency.c"
mkdir "$work/machine" "$work/floor"

taskset -c "$cpu" "$program" mount "$work/machine" --background
meminfo="$work/machine/sys/devices/system/node/node0/meminfo"
memory="$work/machine/sys/kernel/debug/memory"

# The floor's file is as long as the one that it is held against.
taskset -c "$cpu" "$work/floor-server" "$work/floor" "$(wc -c <"$meminfo")" &
floor_process=$!
for _ in $(seq 100); do
  mountpoint -q "$work/floor" && break
  sleep 0.05
done

taskset -c "$cpu" "$work/latency" read "$meminfo" "$work/floor/file"
taskset -c "$cpu" "$work/latency" write "$memory" "$work/floor/file" "dump_pt 0x1000"
