#!/bin/bash
# The holds of sql/safe-riding on random sources: replayed plainly, in another order of arrival and on several shards.
#   tests/oracle/run_safe_riding_holds.sh CURB [SEEDS] [CAPTURES] [PEOPLE]
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
        python3 "$here/safe_riding_holds.py" check "$input" "$work/$name.out"; then
        return
    fi
    failed=1
    echo "failed: $name in $work"
    tail -5 "$work/$name.log"
}

for seed in $(seq 1 "$seeds"); do
    python3 "$here/generate_safe_riding.py" --seed "$seed" --captures "$captures" --people "$people" --passages 0 --to "$work/$seed-bare"
    python3 "$here/safe_riding_holds.py" enrich "$work/$seed-bare" --seed "$seed" --to "$work/$seed"
    # What shuffles knows the contracted sources; the others arrive as they are.
    cp -r "$work/$seed" "$work/$seed-shuffled"
    python3 "$here/generate_safe_riding.py" shuffle "$work/$seed" --seed 1 --to "$work/$seed-shuffled"
    replay_and_compare "$seed-plain" "$work/$seed"
    replay_and_compare "$seed-shuffled" "$work/$seed-shuffled" --shards 3
done
# More than 100,000 records: captures are counted first and held later.
python3 "$here/generate_safe_riding.py" --seed 99 --captures 120000 --people 3000 --passages 0 --to "$work/epochs-bare"
python3 "$here/safe_riding_holds.py" enrich "$work/epochs-bare" --seed 99 --to "$work/epochs"
replay_and_compare epochs "$work/epochs"
[ $failed = 0 ] && rm -r "$work"
exit $failed
