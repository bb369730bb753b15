"""F8: errors of every class in the answers to transactional requests, from the broker inside librdkafka."""

import os
import re
import subprocess

from harness import CARGO_SETTINGS, ROOT, scenario

TESTS = "kafka::tests::mock"


@scenario("F8", seconds=120)
def injected_answers(context):
    """The tests `kafka::tests::mock`: retriable, abortable, fatal and missing answers take the right branch.

    Guards: kafka/failure.rs `remedy`, kafka/sink.rs `commit` and `recover`.
    """
    given = context.options.unit_tests
    command = [given, TESTS] if given else ["cargo", "test", *CARGO_SETTINGS, "--lib", TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    said = done.stdout.decode() + done.stderr.decode()
    with open(os.path.join(context.dir, "tests.log"), "w", encoding="utf-8") as file:
        file.write(said)
    found = re.search(r"test result: \w+\. (\d+) passed; (\d+) failed", said)
    context.expect(found and done.returncode == 0, said[-3000:])
    context.ran(int(found.group(1)))
