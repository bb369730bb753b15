"""The command line of tests/faults; every module that is imported here adds its scenarios."""

import argparse
import os
import sys
import tempfile
import time

import harness
import environment

environment.enter()

import disks  # noqa: F401, E402
import formats  # noqa: F401, E402
import inputs  # noqa: F401, E402
import kills  # noqa: F401, E402
import mock  # noqa: F401, E402
import offsets  # noqa: F401, E402
import outages  # noqa: F401, E402
import policy  # noqa: F401, E402
import soak  # noqa: F401, E402
import takeovers  # noqa: F401, E402

DEFAULT_SEED = 1


def choose(options):
    """The scenarios that were asked for."""
    wanted = [w.strip() for w in options.only.split(",") if w.strip()] if options.only else None
    if wanted is None:
        return [s for s in harness.SCENARIOS if s.in_ci or options.selection != "ci"]
    chosen = [s for s in harness.SCENARIOS if s.name in wanted or s.fault in wanted]
    unknown = [w for w in wanted if not any(w in (s.name, s.fault) for s in chosen)]
    if unknown:
        sys.exit(f"tests/faults: there is no {', '.join(unknown)}; see --list")
    return chosen


def main():
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="tests/faults", description="Injects faults and compares with an oracle.")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--minutes", type=float, default=60, help="how long the soak lasts")
    parser.add_argument("--only", help="faults or scenarios, separated by commas")
    parser.add_argument("--selection", choices=["ci", "full"], default="full")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=4, help="how many scenarios run at the same time")
    parser.add_argument("--curb", help="the program, built with `--features fail_points`")
    parser.add_argument("--client", help="the example kafka_client")
    parser.add_argument("--unit-tests", help="the executable of the library's own tests, for F8")
    parser.add_argument("--broker", help="a broker that may be used, but is not harmed")
    parser.add_argument("--report", help="where to write the report as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folders of scenarios that passed, too")
    options = parser.parse_args()
    chosen = choose(options)
    if options.list:
        for one in chosen:
            print(f"{one.fault:7} {'ci  ' if one.in_ci else 'full'} {one.name:42} {one.title}")
        return
    if options.curb is None or options.client is None:
        curb, client = harness.built()
        options.curb, options.client = options.curb or curb, options.client or client
    options.curb, options.client = os.path.abspath(options.curb), os.path.abspath(options.client)
    if not harness.has_fail_points(options.curb):
        sys.exit(f"tests/faults: {options.curb} was built without `--features fail_points`")
    root = tempfile.mkdtemp(prefix="curb-faults.")
    started = time.monotonic()
    print(f"seed {options.seed}, {len(chosen)} scenarios, {options.jobs} at a time, in {root}", flush=True)
    results = harness.run_all(options, chosen, root)
    path = options.report or os.path.join(root, "report.json")
    sys.exit(0 if harness.report(results, options, time.monotonic() - started, path) else 1)


if __name__ == "__main__":
    main()
