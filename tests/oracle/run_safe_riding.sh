#!/bin/bash
# Generates random sources, replays the pack over them and over other orders of arrival, and asks the oracle.
#   tests/oracle/run_safe_riding.sh CURB [SEEDS] [CAPTURES] [PEOPLE]
# CURB is the binary; a failing case is kept and its directory printed. Exit code 1 if any case differs.
set -u
here=$(cd "$(dirname "$0")" && pwd)
pack=$here/../../sql/safe-riding
curb=$1 seeds=${2:-5} captures=${3:-3000} people=${4:-100}
work=$(mktemp -d) failed=0

replay_and_compare() { # NAME INPUT [further arguments of replay]
    local name=$1 input=$2
    shift 2
    if "$curb" replay "$pack" --from "$input" --to "$work/$name.out" "$@" >"$work/$name.log" 2>&1 &&
        python3 "$here/safe_riding.py" "$input" "$work/$name.out" --limit 10; then
        return
    fi
    failed=1
    echo "failed: $name in $work"
    tail -5 "$work/$name.log"
}

for seed in $(seq 1 "$seeds"); do
    hostile=()
    [ $((seed % 2)) = 0 ] && hostile=(--hostile)
    python3 "$here/generate_safe_riding.py" --seed "$seed" --captures "$captures" --people "$people" --to "$work/$seed" "${hostile[@]}"
    python3 "$here/generate_safe_riding.py" shuffle "$work/$seed" --seed 1 --to "$work/$seed-shuffled"
    replay_and_compare "$seed-plain" "$work/$seed"
    replay_and_compare "$seed-shuffled" "$work/$seed-shuffled"
    replay_and_compare "$seed-shards" "$work/$seed" --shards 3
    if ! diff -rq -x summary.json "$work/$seed-plain.out" "$work/$seed-shards.out"; then
        failed=1
        echo "failed: $seed differs by the number of shards in $work"
    fi
done
# More than 100,000 records: several epochs, so that actions are revised and withdrawn and passages are late.
python3 "$here/generate_safe_riding.py" --seed 99 --captures 120000 --people 5000 --to "$work/epochs"
replay_and_compare epochs "$work/epochs"
# Half of the captures come after their retention, in two orders of arrival.
python3 "$here/generate_safe_riding.py" --seed 98 --captures 120000 --people 5000 --to "$work/aged" --aged
python3 "$here/generate_safe_riding.py" shuffle "$work/aged" --seed 1 --to "$work/aged-shuffled"
replay_and_compare aged "$work/aged"
replay_and_compare aged-shuffled "$work/aged-shuffled" --shards 3

python3 "$here/nyc.py" input "$work/nyc"
"$curb" replay "$pack" --from "$work/nyc" --to "$work/nyc.out" --time-zone America/New_York >"$work/nyc.log" 2>&1
python3 "$here/nyc.py" check "$work/nyc.out" || failed=1
[ $failed = 0 ] && rm -r "$work"
exit $failed
