"""F8: errors of every class in the answers to transactional requests, from the broker inside librdkafka."""

import os
import re
import subprocess

from harness import ROOT, scenario


@scenario("F8", seconds=100)
def injected_answers(context):
    """cargo test --lib kafka::tests::mock: retriable, abortable, fatal and missing answers take the right branch."""
    command = ["cargo", "test", "--release", "--locked", "--features", "fail_points", "--lib", "kafka::tests::mock"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    said = done.stdout.decode() + done.stderr.decode()
    with open(os.path.join(context.dir, "tests.log"), "w", encoding="utf-8") as file:
        file.write(said)
    found = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", said)
    context.expect(found and done.returncode == 0, said[-3000:])
    context.ran(int(found.group(1)))
