#!/usr/bin/env python3
"""`curb sql` and `curb shell` against running demos, as people use them: answers, errors, limits, tokens, PRIVATE values, keys;
and what bash completes.

    tests/shell/shell.py CURB KAFKA_CLIENT

What a worker answers is compared with what the topics of the demo's broker hold, read by the independent client. Takes some
seconds, most of them in waiting for a demo to begin.
"""

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE_S = 30
ENDLESS = "SELECT count(*) FROM generate_series(1, 9000000000000) AS a WHERE a.value % 7 = 8"
PHONES = {"P900001": "13800000001", "P900002": "13900000002"}
TOKEN = "a-token-of-the-shell-test"


def check(holds, *about):
    """Fails, and says what about."""
    if not holds:
        raise AssertionError(" | ".join(str(part) for part in about))


class Demo:
    """A running demo, and who asks it."""

    def __init__(self, curb, client, *flags):
        self.curb, self.client = curb, client
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("CURB_")}
        # It ends with this test; were this test to end without it, after two minutes.
        self.process = subprocess.Popen([curb, "demo", "--http", "127.0.0.1:0", "--rate", "100", "--exit-after", "120s", *flags],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.process.stdout.readline()
        places = self.process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+), Kafka at (\S+)\n", places)
        check(found, "the demo does not say where it is", places, self.process.poll())
        self.url, self.brokers = found.groups()

    def __enter__(self):
        self.wait_for("ready", self.is_ready)
        return self

    def is_ready(self):
        """Whether the worker has read its tables."""
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=PATIENCE_S) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=PATIENCE_S)
        check(self.process.returncode == 0 and " commits; " in said[0], "the demo ended with", self.process.returncode, said)

    def call(self, command, *args, stdin=None, code=0):
        """Calls a command of the program; returns stdout and stderr."""
        done = subprocess.run([self.curb, command, "--url", self.url, *args], input=stdin, capture_output=True, text=True,
                              env=self.environment, check=False, timeout=PATIENCE_S)
        check(done.returncode == code, f"{command} {args}: exit code {done.returncode}, not {code}", done.stdout, done.stderr)
        return done.stdout, done.stderr

    def rows(self, query, *args):
        """The rows of an answer."""
        return json.loads(self.call("sql", query, "--output", "json", *args)[0])

    def refusal(self, query, *args):
        """Why a query is not answered; nothing may go to stdout."""
        out, said = self.call("sql", query, *args, code=1)
        check(out == "", "a refusal has printed rows", query, out)
        return said

    def records(self, topic):
        """All records of a topic: key and value."""
        done = subprocess.run([self.client, "consume", self.brokers, topic], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        check(done.returncode == 0, topic, done.stderr)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        records.sort(key=lambda record: (record["partition"], record["offset"]))
        return [(record["key"], record["value"]) for record in records]

    def wait_for(self, what, done):
        """Waits until something holds; asks rarely, for a worker answers one client only so often."""
        until = time.monotonic() + PATIENCE_S
        while not done():
            check(time.monotonic() < until, "not in time", what)
            time.sleep(0.3)


def newest(records):
    """What a table holds after its records."""
    rows = {}
    for key, value in records:
        rows.pop(key, None)
        if value is not None:
            rows[key] = value
    return rows


def by_content(rows):
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def answers_are_what_the_topics_hold(demo):
    persons = newest(demo.records("persons"))
    devices = newest(demo.records("devices"))
    check(len(persons) > 50 and len(devices) > 50, "the demo has too few tables to compare", len(persons), len(devices))
    demo.wait_for("tables", lambda: demo.rows("SELECT count(*) AS n FROM persons") == [{"n": len(persons)}])
    answered = demo.rows("SELECT * FROM persons")
    columns = list(answered[0])
    expected = [{c: row.get(c) for c in columns} for row in persons.values()]
    check(by_content(answered) == by_content(expected), "persons", answered[:2], expected[:2])
    towns = {}
    for device in devices.values():
        towns[device["town"]] = towns.get(device["town"], 0) + 1
    by_town = demo.rows("SELECT town, count(*) AS n FROM devices GROUP BY town ORDER BY town")
    check(by_town == [{"town": town, "n": n} for town, n in sorted(towns.items())], by_town, towns)
    pairs = demo.rows("SELECT count(*) AS n FROM persons a JOIN persons b ON a.household_id = b.household_id AND a.person_id < b.person_id")
    sizes = {}
    for person in persons.values():
        sizes[person["household_id"]] = sizes.get(person["household_id"], 0) + 1
    check(pairs == [{"n": sum(n * (n - 1) // 2 for home, n in sizes.items() if home is not None)}], pairs)
    # The same rows in every form.
    query = "SELECT device_id, town, lon FROM devices ORDER BY device_id LIMIT 5"
    rows = demo.rows(query)
    text, note = demo.call("sql", query, "--output", "csv")
    check([dict(r, lon=float(r["lon"])) for r in csv.DictReader(io.StringIO(text))] == rows, "as CSV", text, rows)
    text, note = demo.call("sql", "-", stdin=query)
    check([line.split()[0] for line in text.splitlines()[2:]] == [row["device_id"] for row in rows], "as a table, from stdin", text)
    check(re.search(r"^\(5 rows; epoch \d+, [\d.]+ ms\)$", note.strip()), note)


def sinks_hold_what_was_written(demo):
    """Rows come and go meanwhile: each was written, and those that no record changed meanwhile are there."""
    def written():
        return len(newest(demo.records("reviews"))) > 0
    demo.wait_for("a review", written)
    before = newest(demo.records("reviews"))
    answered = {row["capture_id"]: row["reason"] for row in demo.rows("SELECT capture_id, reason FROM reviews")}
    records = demo.records("reviews")
    after = newest(records)
    for capture, reason in answered.items():
        check(any(value and value["capture_id"] == capture and value["reason"] == reason for _, value in records), "never written", capture, reason)
    for key, row in before.items():
        if after.get(key) == row:
            check(answered.get(row["capture_id"]) == row["reason"], "missing", row, answered)


def private_values_are_masked(demo):
    rows = "".join(json.dumps({"person_id": person, "phone": phone}) + "\n" for person, phone in PHONES.items())
    produced = subprocess.run([demo.client, "produce", demo.brokers, "contacts", "person_id", "-"], input=rows, text=True,
                              capture_output=True, check=False, timeout=PATIENCE_S)
    check(produced.returncode == 0, produced.stderr)
    demo.wait_for("contacts", lambda: demo.rows("SELECT count(*) AS n FROM contacts") == [{"n": len(PHONES)}])
    said = json.dumps(demo.rows("SELECT person_id, phone, length(phone) AS n FROM contacts ORDER BY person_id"))
    check(json.loads(said) == [{"person_id": person, "phone": "***", "n": None} for person in sorted(PHONES)], said)
    said += demo.refusal("SELECT person_id FROM contacts WHERE phone = '13800000001'").replace("13800000001", "", 2)
    check("error[C0603]" in said and "query:1:" in said, said)
    said += "".join(demo.call("shell", stdin="\\d contacts\nSELECT * FROM contacts;"))
    check("PRIVATE: shown as ***" in said, said)
    check(not any(phone in said for phone in PHONES.values()), "a PRIVATE value was told", said)


def errors_say_where_and_why(demo):
    said = demo.refusal("SELECT device_id,\n       twon FROM devices")
    check("error[C0201]" in said and "query:2:8" in said and "Did you mean `town`?" in said, said)
    check(re.search(r"\| +\^\^\^\^$", said, re.M), "no caret below the word", said)
    said = demo.refusal("SELECT * FROM tier")
    check("error[C0202]" in said and "person_month_tier" in said and len(said) < 1500, said)
    check("error[C0601]" in demo.refusal("DELETE FROM devices"))
    check("error[C0604]" in demo.refusal("SELECT * FROM passages"))
    nobody = subprocess.run([demo.curb, "sql", "SELECT 1", "--http", "127.0.0.1:1"], capture_output=True, text=True,
                            env=demo.environment, check=False, timeout=PATIENCE_S)
    check(nobody.returncode == 4 and "--http ADDR" in nobody.stderr, nobody.returncode, nobody.stderr)


def a_script_goes_through_the_shell(demo):
    script = "\\d devices\n\\d nosuch\n\\d disposal_actions\nSELECT 1 AS one; SELECT 'a;b' AS two; -- a remark\nSELECT three;\nSELECT 4\n  AS four"
    out, said = demo.call("shell", stdin=script, code=1)
    check(re.search(r"^device_id +VARCHAR$", out, re.M) and "there is no relation nosuch" in out, out)
    check("appends" in out, "why a sink cannot be asked", out)
    check([word in out for word in ("one", "two\n", "a;b", "four")] == [True] * 4, out)
    check("error[C0201]" in said and "query:1:8" in said and said.count("(1 row;") == 3, said)
    out, _ = demo.call("shell", stdin="\\d\n\\q\nSELECT nothing;\n")
    listed = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:]}
    check(listed["devices"] == ["table"] and listed["passages"][:3] == ["stream", "cannot", "be"] and listed["reviews"] == ["sink"], out)
    done = subprocess.run([demo.curb, "shell", "--help"], capture_output=True, text=True, env=demo.environment, check=True)
    check("rlwrap" in done.stdout and "\\d NAME" in done.stdout and "Ctrl-C" in done.stdout, done.stdout)


class Typist:
    """A shell in a terminal."""

    def __init__(self, demo):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(demo.curb, [demo.curb, "shell", "--url", demo.url], demo.environment)
        self.seen = ""

    def expect(self, pattern):
        """Waits until the terminal shows something, behind what was waited for before."""
        until = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.seen)):
            check(time.monotonic() < until, f"the terminal does not show {pattern}", self.seen)
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.terminal, 65536).decode()
                except OSError as closed:
                    raise AssertionError(f"the shell ended, and has not shown {pattern}: {self.seen}") from closed
        self.seen = self.seen[found.end():]

    def type(self, text):
        os.write(self.terminal, text.encode())

    def look(self, patience_s):
        """Takes in what is shown; whether there was something."""
        if not select.select([self.terminal], [], [], patience_s)[0]:
            return False
        try:
            shown = os.read(self.terminal, 65536)
        except OSError:
            # The terminal's other end is closed, and all of it was read.
            return False
        self.seen += shown.decode()
        return bool(shown)

    def ends(self, code):
        """Waits for the end; what it shows must be read, or it waits."""
        until = time.monotonic() + PATIENCE_S
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            check(time.monotonic() < until, "the shell does not end", self.seen)
            self.look(0.1)
        # What it said last may lie there still.
        while self.look(0):
            pass
        os.close(self.terminal)
        check(os.waitstatus_to_exitcode(ended[1]) == code, "exit code", ended, self.seen)
        return self.seen


def keys_do_what_they_do_elsewhere(demo):
    shell = Typist(demo)
    shell.expect(r"pipeline safe-riding at http://127\.0\.0\.1:\d+; \\\? for help\r\ncurb> ")
    shell.type("\\?\n")
    shell.expect(r"\\q +ends.*[^>]*curb> ")
    shell.type("SELECT 11,\n")
    shell.expect(r"   -> ")
    shell.type("  22\x03")
    shell.expect(r"curb> ")
    shell.type("SELECT 33 AS n;\n")
    shell.expect(r"33\r\n\(1 row; epoch \d+, [\d.]+ ms\)\r\ncurb> ")
    shell.type("SELECT nothing;\n")
    shell.expect(r"error\[C0201\][^>]*--> query:1:8")
    shell.expect(r"curb> ")
    shell.type("\x04")
    shell.ends(0)
    # While a query is answered, Ctrl-C ends both.
    shell = Typist(demo)
    shell.expect(r"curb> ")
    shell.type(ENDLESS + ";\n")
    time.sleep(0.5)
    shell.type("\x03")
    said = shell.ends(1)
    check("interrupted" in said, said)
    answered_within = time.monotonic()
    check(demo.rows("SELECT 1 AS one") == [{"one": 1}])
    check(time.monotonic() - answered_within < 5, "the query that was given up is still worked on")


def status_of(url, query, token=None):
    """What HTTP says to a query; the program itself would ask again."""
    request = urllib.request.Request(url + "/api/sql", data=query.encode(), headers={"authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def tokens_are_asked_for(demo, folder):
    _, said = demo.call("sql", "SELECT 1", code=3)
    check("--token-file" in said, said)
    wrong = os.path.join(folder, "wrong")
    with open(wrong, "w", encoding="utf-8") as file:
        file.write("another-token-of-somebody\n")
    demo.call("sql", "SELECT 1", "--token-file", wrong, code=3)
    demo.call("shell", "--token-file", wrong, stdin="SELECT 1;\n", code=1)
    check(status_of(demo.url, "SELECT 1")[0] == 401)
    check(demo.rows("SELECT 1 AS one", "--token-file", os.path.join(folder, "token")) == [{"one": 1}])


def limits_are_kept(demo, folder):
    token = ("--token-file", os.path.join(folder, "token"))
    out, said = demo.call("sql", "SELECT device_id FROM devices", *token)
    check(len(out.splitlines()) == 2 + 5 and "the first 5 rows of more" in said, out, said)
    said = demo.call("sql", "SELECT device_id FROM devices", "--output", "json", *token, code=1)[1]
    check("more rows than may be given: 5" in said, said)
    check("error[C0611]" in demo.refusal(ENDLESS, *token))
    check("150 at most" in demo.refusal("SELECT " + "1 + " * 60 + "1", *token))
    said = demo.refusal("SELECT a.person_id FROM persons a JOIN devices b ON a.person_id = b.device_id", *token)
    check("error[C0610]" in said and "more than 120 rows of state" in said, said)
    busy = subprocess.Popen([demo.curb, "sql", ENDLESS, "--url", demo.url, *token], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=demo.environment)
    codes = []
    while busy.poll() is None and 429 not in codes:
        codes.append(status_of(demo.url, "SELECT 1", TOKEN)[0])
    check(429 in codes, "one query at a time", codes)
    check(busy.wait(PATIENCE_S) == 1, busy.communicate())


ASK_BASH = """
source <("$1" completion bash)
cd "$2"
while IFS= read -r line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    # `compopt` has no completion to change here.
    _curb_values curb "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
    echo "${COMPREPLY[*]}"
done
"""


def bash_completes_the_command_line(curb, folder):
    """What bash would offer, by the function that readline calls. Where it offers nothing, bash goes on with names of files."""
    os.mkdir(os.path.join(folder, "pack"))
    with open(os.path.join(folder, "curb.toml"), "w", encoding="utf-8"):
        pass
    cases = {
        "curb ch": "check",
        "curb check ": "",
        "curb check pack --ti": "--time-zone",
        "curb sql --output ": "table json csv",
        "curb completion ": "bash fish zsh",
        "curb state ": "list export reset help",
        "curb run pack --config cu": "curb.toml",
        "curb run pack --brokers ": "",
        "curb run pack --sql-max-row": "--sql-max-rows --sql-max-rows-read",
    }
    done = subprocess.run(["bash", "--norc", "-c", ASK_BASH, "bash", curb, folder], input="".join(f"{line}\n" for line in cases),
                          capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    check(done.stdout.splitlines() == list(cases.values()), done.stdout, done.stderr)
    for shell in ("zsh", "fish"):
        script = subprocess.run([curb, "completion", shell], capture_output=True, check=True, timeout=PATIENCE_S).stdout
        if shutil.which(shell):
            subprocess.run([shell, "-n", "/dev/stdin"], input=script, check=True, timeout=PATIENCE_S)


def main():
    curb, client = (os.path.abspath(path) for path in sys.argv[1:3])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bash_completes_the_command_line(curb, folder)
    with Demo(curb, client) as demo:
        answers_are_what_the_topics_hold(demo)
        sinks_hold_what_was_written(demo)
        private_values_are_masked(demo)
    with Demo(curb, client) as demo:
        errors_say_where_and_why(demo)
        a_script_goes_through_the_shell(demo)
        keys_do_what_they_do_elsewhere(demo)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "token"), "w", encoding="utf-8") as file:
            file.write(TOKEN + "\n")
        limits = ("--sql-max-rows=5", "--sql-max-time=700ms", "--sql-max-length=150", "--sql-max-rows-read=120", "--sql-max-running=1")
        with Demo(curb, client, "--http-token-file", os.path.join(folder, "token"), *limits) as demo:
            tokens_are_asked_for(demo, folder)
            limits_are_kept(demo, folder)
    print(f"curb sql and curb shell: ok, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
