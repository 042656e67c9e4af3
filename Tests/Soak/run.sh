#!/usr/bin/env bash
# Eight shells allocate, free, read every file and write nonsense, for SECONDS_TO_RUN (600 if not given); then the machine must be as it
# was: check without a difference, all memory free again, the server alive, with no more descriptors and little more memory than before.
#
#   Tests/Soak/run.sh PROGRAM [SECONDS_TO_RUN]
set -u
program=$1 seconds=${2:-600}
mountpoint=$(mktemp -d)
log=$(mktemp)
"$program" mount "$mountpoint" 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; umount -l "$mountpoint" 2>/dev/null; rmdir "$mountpoint"; rm -f "$log"' EXIT
for _ in $(seq 100); do [[ -e $mountpoint/sys ]] && break; sleep 0.1; done
memory=$mountpoint/sys/kernel/debug/memory

ask() { exec 3<>"$memory"; echo "$1" >&3; cat <&3; exec 3>&-; }
state() { cat "$mountpoint"/sys/devices/system/node/node*/meminfo; }
resident() { awk '/VmRSS/ {print $2}' "/proc/$server/status"; }
descriptors() { ls "/proc/$server/fd" | wc -l; }

shell() {
  local kind=$1 end=$((SECONDS + seconds)) address
  while ((SECONDS < end)); do
    case $kind in
      0 | 1 | 2)
        exec 3<>"$memory"
        echo "alloc order=$((RANDOM % 10)) node=$((RANDOM % 4)) cpu=$((RANDOM % 8))" >&3
        read -r address <&3
        [[ $address == 0x* ]] && echo "free $address" >&3
        exec 3>&-
        ;;
      3)
        exec 3<>"$memory"
        echo "alloc count=$((RANDOM % 700 + 1))" >&3
        read -r address <&3
        [[ $address == 0x* ]] && echo "free $address" >&3
        exec 3>&-
        ;;
      4) find "$mountpoint/sys" "$mountpoint/proc" -type f ! -name memory ! -name pagemap ! -name mem -exec cat {} + >/dev/null ;;
      5) head -c $((RANDOM % 9000)) /dev/urandom >"$memory" ;;
      6)
        for file in "$mountpoint"/sys/devices/system/{node/node1/compact,memory/memory3/state,node/node0/power/control,node/node2/uevent}; do
          head -c $((RANDOM % 50)) /dev/urandom >"$file"
        done
        echo "free 0x$RANDOM" >"$memory"
        echo "[pid 1] munmap(${RANDOM}1, $RANDOM)" >"$memory"
        ;;
      7)
        ask mem >/dev/null
        ask "dump_pt 0x${RANDOM}000" >/dev/null
        ask list >/dev/null
        ;;
    esac
  done 2>/dev/null
}

before=$(state) memory_before=$(resident) descriptors_before=$(descriptors)
for kind in 0 1 2 3 4 5 6 7; do shell $kind & shells[kind]=$!; done
wait "${shells[@]}"
kill -0 $server || { echo "soak: the server is gone:"; cat "$log"; exit 1; }
differences=$(ask check)
after=$(state)
echo "soak: $seconds seconds, $(ask alloc >/dev/null; ask "free all" | tail -n 1), check says: $differences"
echo "soak: resident $memory_before kB before, $(resident) kB after; descriptors $descriptors_before before, $(descriptors) after"
[[ $differences == "no difference, state "* ]] || exit 1
[[ $before == "$after" ]] || { echo "soak: memory is not as it was:"; diff <(echo "$before") <(echo "$after"); exit 1; }
[[ $(descriptors) -le $descriptors_before ]] || { echo "soak: descriptors leak"; exit 1; }
