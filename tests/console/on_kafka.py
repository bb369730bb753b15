"""The console pages of workers at a real Kafka, in headless Chromium: a token asked for, a map over tiles, records that are
refused, a sink that pauses itself, tables that are loaded, state that is restored, brokers that are killed.
"""

import argparse
import base64
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone

from playwright.sync_api import sync_playwright

from looker import Looker, answer_of, audit, check, free_port, go, launch, run_steps, until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HOSTILE = "<img src=x onerror=alert(1)><script>alert('\"')</script>"
TOKEN = "opens-the-door-0123456789"
# More than the worker takes in at once, so that a part of them is left while it loads.
N_PEOPLE = 220_000
# A worker takes its time over what is looked at: a delta at a restore, an epoch of a first load.
SLOW_RESTORE = "restore.delta=12*sleep(400)"
SLOW_LOAD = "decode.done=4*sleep(1200)"

PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE TABLE people (person_id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, points INT PRIVATE, town VARCHAR)
WITH (topic = '{prefix}-people', format = 'json');
CREATE STREAM rides (ride_id VARCHAR NOT NULL, person_id VARCHAR, speed INT, at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = '{prefix}-rides', format = 'json', event_time = 'at', watermark_delay = '1 second', max_future = '1 hour');
CREATE TABLE fines (fine_id VARCHAR PRIMARY KEY, person_id VARCHAR, amount INT)
WITH (topic = '{prefix}-fines', format = 'json');
CREATE SINK letters WITH (topic = '{prefix}-letters', format = 'json', allow_private = true, max_rate = '50 per hour', count_by = 'town') AS
SELECT f.fine_id, f.amount, p.person_id, p.name, p.points, p.town FROM fines AS f JOIN people AS p ON p.person_id = f.person_id;
CREATE SINK hours WITH (topic = '{prefix}-hours', format = 'json') AS
SELECT window_start, count(*) AS n, max(speed) AS speed_max FROM rides GROUP BY tumble(at, INTERVAL '1 hour');
"""


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Place:
    """A broker, the program, the independent client, and a folder for what is written."""

    def __init__(self, options):
        self.curb, self.client, self.broker = options.curb, options.client, options.broker
        with open(os.path.join(self.broker, "bootstrap"), encoding="utf-8") as file:
            self.brokers = file.read().strip()
        self.dir = tempfile.mkdtemp(prefix="curb-console.")
        self.prefix = f"console-{time.time_ns() % 10**9}"
        self.workers = []

    def ask_client(self, command, *args, lines=None):
        data = None if lines is None else "".join(line + "\n" for line in lines).encode()
        subprocess.run([self.client, command, self.brokers, *args], input=data, check=True, capture_output=True, timeout=60)

    def produce(self, name, key, rows):
        self.ask_client("produce", f"{self.prefix}-{name}", key, "-", lines=[json.dumps(row) for row in rows])

    def worker(self, pack, pipeline, *args, fail_points=None):
        worker = Worker(self, pack, f"{self.prefix}-{pipeline}", args, fail_points)
        self.workers.append(worker)
        return worker

    def close(self):
        for worker in self.workers:
            worker.kill()


class Worker:
    """A `curb run` with a page of its own."""

    def __init__(self, place, pack, pipeline, args, fail_points):
        self.log = os.path.join(place.dir, f"{pipeline}-{len(place.workers)}.log")
        address = f"127.0.0.1:{free_port()}"
        self.origin = f"http://{address}"
        environment = {**os.environ, **({"FAILPOINTS": fail_points} if fail_points else {})}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([place.curb, "run", pack, "--brokers", place.brokers, "--pipeline", pipeline, "--create-topics",
                                             "--http", address, *args], stdout=log, stderr=log, env=environment)

    def status(self, token=None):
        """What it says of itself; None while it does not."""
        check(self.process.poll() is None, f"the worker has ended:\n{self.said()}")
        return answer_of(self.origin + "/api/status", token)

    def wait_for(self, what, holds, token=None):
        def found():
            status = self.status(token)
            return status if status is not None and holds(status) else None
        try:
            return until(what, found, 60)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.said()}") from failure

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Tiles(http.server.BaseHTTPRequestHandler):
    """Serves one grey pixel as every tile, and keeps what it was asked."""

    PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mO4DgAA6gDpYRBv2gAAAABJRU5ErkJggg==")
    asked = []

    def do_GET(self):  # noqa: N802
        Tiles.asked.append((self.path, dict(self.headers)))
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("content-length", str(len(self.PIXEL)))
        self.end_headers()
        self.wfile.write(self.PIXEL)

    def log_message(self, *_):
        pass


class TileServer(http.server.ThreadingHTTPServer):
    """A browser hangs up on tiles that it has scrolled past."""

    daemon_threads = True

    def handle_error(self, *_):
        pass


def token_is_asked_for(look):
    page = look.open(wait=False, expects="Failed to load resource")
    page.wait_for_selector("#token[open]")
    check(page.text_content("#token-why") == "This worker asks for a token.", "the dialog says why it is there")
    audit(page, "the token dialog")
    look.shot(page, "token")
    # More often than a page could be wrong if each of its questions brought the token along: ten wrong ones shut an address out.
    for wrong in ("wrong-0123456789", "wrong-again-0123", "wrong-once-more-0"):
        page.fill("#token-text", wrong)
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#token[open]') && document.querySelector('#token-why').textContent.includes('does not accept')")
        page.wait_for_selector("#token-go:not([disabled])")
        page.evaluate("document.querySelector('#token-why').textContent = ''")
    page.fill("#token-text", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#token:not([open])", state="attached")
    look.wait_for_status(page)
    check(page.evaluate(f"localStorage.length === 0 && sessionStorage.getItem('curb-token') === '{TOKEN}'"), "the token stays in the tab")
    page.reload()
    look.wait_for_status(page)
    check(not page.locator("#token").is_visible(), "and is not asked for again there")
    other = look.open(wait=False, expects="Failed to load resource")
    other.wait_for_selector("#token[open]")
    look.close(other)
    page.click("#sign-out")
    page.wait_for_selector("#token[open]")
    check(page.evaluate("sessionStorage.getItem('curb-token') === null"), "and is forgotten when its holder leaves")
    for _ in range(10):
        page.fill("#token-text", "wrong-0123456789")
        page.keyboard.press("Enter")
        page.wait_for_selector("#token-go:not([disabled])")
    page.wait_for_function("() => /Too many wrong tokens .* listens again in \\d+ s/.test(document.querySelector('#token-why').textContent)")
    look.close(page)


def map_lies_over_tiles(look, worker):
    worker.wait_for("scores", lambda s: any(k["name"] == "hotspot_scores" and k["rows"] > 20 for k in s["sinks"]), TOKEN)
    for scheme in ("light", "dark"):
        page = look.open(wait=False, scheme=scheme, motion="reduce", expects="Failed to load resource")
        page.fill("#token-text", TOKEN)
        page.keyboard.press("Enter")
        look.wait_for_status(page)
        page.wait_for_selector("#views a[href='#map']:not([hidden])")
        go(page, "map")
        page.select_option("#map-layer", "hotspot_scores")
        page.wait_for_function("() => document.querySelector('#map-value').value === 'z_count'")
        page.wait_for_selector("#map-picture path.cell")
        page.wait_for_selector(".leaflet-tile-loaded")
        check("Tiles of the test" in page.text_content(".leaflet-control-attribution"), "it says whose tiles they are")
        check(page.locator("#map-picture .grid-label").count() >= 4, "the grid has figures")
        page.click("#map-table tbody button >> nth=0")
        page.wait_for_selector(".leaflet-popup")
        look.shot(page, f"map-{scheme}")
        audit(page, f"map, {scheme}")
        look.close(page)
    check(len(Tiles.asked) > 4 and all(re.fullmatch(r"/tiles/\d+/\d+/\d+\.png", path) for path, _ in Tiles.asked), f"tiles: {Tiles.asked[:3]}")
    told = {name.lower() for _, headers in Tiles.asked for name in headers} & {"authorization", "cookie", "referer"}
    check(not told, f"the host of the tiles is told {told}")


def policy_holds(look, tiles):
    """What a foreign script would try is refused by the browser: other questions to the host of the tiles, and other hosts."""
    page = look.open(wait=False, expects="Failed to load resource|Content Security Policy|violates|Refused to|Fetch API cannot|inline|127.0.0.1:")
    page.wait_for_selector("#token[open]")
    n_asked = len(Tiles.asked)
    elsewhere = f"http://127.0.0.1:{free_port()}"
    violated = page.evaluate("""async ([tiles, elsewhere]) => {
        const found = [];
        document.addEventListener('securitypolicyviolation', (event) => found.push(event.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.__ran = true';
        document.body.append(script);
        const image = document.createElement('img');
        image.src = `${elsewhere}/pixel.png`;
        document.body.append(image);
        const remote = document.createElement('script');
        remote.src = `${tiles}/tiles/0/0/0.js`;
        document.body.append(remote);
        await fetch(`${tiles}/tiles/0/0/0.png`).catch(() => null);
        while (found.length < 4) await new Promise((done) => setTimeout(done, 20));
        return [...found.sort(), Boolean(window.__ran)] }""", [tiles, elsewhere])
    check(violated == ["connect-src", "img-src", "script-src-elem", "script-src-elem", False], f"violations: {violated}")
    check(len(Tiles.asked) == n_asked, "nothing of it has left the browser")
    look.close(page)


def runs(page):
    """Waits until the page shows a worker that runs. On a busy machine it may be slow, which the page then says, rightly."""
    page.wait_for_function("() => document.querySelector('#facts dd').textContent === 'running'")


def loading_is_told(look, worker):
    worker.wait_for("loading", lambda s: s["phase"] == "loading")
    page = look.open(wait=False)
    page.wait_for_function("() => /[\\d.]+( k)? records of tables are left to read/.test(document.querySelector('#reasons').textContent)")
    check(page.text_content("#health-word") == "Starting", "a worker that loads is starting")
    check(page.text_content(".phases .now") == "Load tables", "the step that it is at")
    look.shot(page, "loading")
    audit(page, "loading")
    runs(page)
    check("left to read" not in page.text_content("#reasons"), "and then there is nothing of it to say")
    look.close(page)


def records_explain_themselves(look, place, worker):
    place.produce("fines", "fine_id", [{"fine_id": f"it's/{i}", "person_id": f"P{i}", "amount": 50 + i} for i in range(5)]
                  + [{"fine_id": HOSTILE, "person_id": "P1", "amount": 1}])
    # Only what differs is written: what comes and goes in one epoch leaves no trace.
    worker.wait_for("letters", lambda s: s["sinks"][0]["rows"] >= 6)
    place.produce("fines", "fine_id", [{"fine_id": "it's/4", "_tombstone": True}])
    place.produce("rides", "-", [{"ride_id": "r1", "person_id": "P1", "speed": 55, "at": now()}])
    worker.wait_for("a ride and a deletion", lambda s: s["sources"][1]["used"] >= 1 and s["sinks"][0]["rows"] >= 7)
    place.produce("rides", "-", [{"ride_id": "bad", "speed": HOSTILE, "at": now()}, {"ride_id": "late", "speed": 1, "at": "2020-01-01T00:00:00Z"}])
    place.produce("people", "person_id", [{"person_id": "P7", "name": "Secret", "points": "many", "town": "North"}])
    page = look.open("/#records")
    page.wait_for_selector("#refused .records li:nth-child(3)")
    page.wait_for_function("() => document.querySelector('#records-badge').textContent === '3 refused'")
    page.click("#refused .records button:has(.tag.rejected):has-text('rides')")
    check(HOSTILE in json.loads(page.text_content("#record pre"))["speed"], "what a record holds is text")
    check(page.locator("#record img, #record script").count() == 0, "and never markup")
    look.shot(page, "records-rejected")
    page.keyboard.press("Escape")
    page.click("#refused .records button:has(.tag.late)")
    check("behind the watermark" in page.text_content("#record"), "a late record says why")
    page.keyboard.press("Escape")
    page.click("#refused .records button:has-text('people')")
    check("private column" in page.text_content("#record") and "Secret" not in page.content(), "a withheld record says why")
    page.keyboard.press("Escape")
    page.click("#rows-hold")
    page.click("#rows .records button:has-text(\"it's/3\")")
    text = page.text_content("#record")
    check("name" in text and page.text_content("#record .masked") == "private", "a private column is named, its value is not")
    check("Name 3" not in page.content(), "also nowhere else")
    check(f"curb why 'it'\\''s/3' PACK --brokers HOST:PORT --pipeline {place.prefix}-day" in text, "the command can be pasted into a shell")
    look.shot(page, "records-row")
    audit(page, "the sheet of a row")
    page.keyboard.press("Escape")
    page.click("#rows .records button:has(.gone)")
    check("A tombstone" in page.text_content("#record"), "a deletion says what it is")
    page.keyboard.press("Escape")
    page.click("#rows .records button:has-text('<img')")
    check(HOSTILE in page.text_content("#record") and page.locator("#record img").count() == 0, "a row holds text too")
    look.close(page)


def private_values_are_masked_in_answers(look):
    page = look.open("/#sql")
    page.wait_for_selector("#sql-tables button")
    page.fill("#sql-text", "SELECT * FROM people ORDER BY person_id")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#sql-result tbody tr:nth-child(1000)")
    state = page.text_content("#sql-state")
    check("The first 10,000 of more rows, 1,000 of them shown" in state, f"a long answer says that it is cut: {state}")
    check("Name 1" not in page.text_content("#sql-result") and "***" in page.text_content("#sql-result tbody tr"), "private values are masked")
    look.shot(page, "sql-long")
    audit(page, "a long answer")
    look.close(page)


def pause_and_way_on_are_told(look, place, worker):
    page = look.open()
    place.produce("fines", "fine_id", [{"fine_id": f"f{i}", "person_id": f"P{i}", "amount": 50} for i in range(80)])
    page.wait_for_selector("#reasons li:has-text('is paused')")
    check(page.text_content("#health-word") == "Needs attention", "a paused sink needs attention")
    why = page.text_content("#reasons li:has-text('is paused')")
    check(re.match(r"Sink letters is paused: max_rate of 50 rows per hour exceeded; \d+ keys wait\. `?curb resume letters", why), why)
    go(page, "sinks")
    check("max_rate of 50 rows per hour" in page.text_content("#sinks-table"), "the list of sinks says so too")
    look.shot(page, "paused")
    audit(page, "a paused sink")
    go(page, "flow")
    page.wait_for_selector("#flow-picture .box.alarm")
    done = subprocess.run([place.curb, "resume", "letters", "--url", worker.origin], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"curb resume: {done.stderr}")
    page.wait_for_function("() => !document.querySelector('#reasons').textContent.includes('is paused')")
    page.wait_for_function("() => document.querySelectorAll('#flow-picture .box.alarm').length === 0")
    look.close(page)


def restore_is_told(look, worker):
    worker.wait_for("restoring", lambda s: s["phase"] == "restoring")
    page = look.open()
    page.wait_for_function("() => document.querySelector('.phases .now')?.textContent === 'Restore state'")
    page.wait_for_function("() => /[1-9]\\d? % of [\\d.]+( k)? offsets of the state topic have been read/.test(document.querySelector('#reasons').textContent)")
    look.shot(page, "restoring")
    audit(page, "restoring")
    runs(page)
    look.close(page)


def silence_of_brokers_is_told(look, place):
    page = look.open()
    subprocess.run([os.path.join(ROOT, "tests/kafka/stop"), "--keep", "--kill", place.broker], check=True)
    page.wait_for_selector("#reasons li:has-text('No broker')")
    why = page.text_content("#reasons li:has-text('No broker')")
    check(re.match(r"No broker has answered for \d+ s: nothing is read and nothing leaves", why), why)
    check(page.get_attribute("#health", "data-level") == "failing" and "Failing" in page.title(), "the word at the top and the title say so")
    look.shot(page, "failing")
    audit(page, "without brokers")
    look.close(page)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("curb")
    arguments.add_argument("--chromium", required=True)
    arguments.add_argument("--broker", metavar="DIR", required=True)
    arguments.add_argument("--client", required=True)
    arguments.add_argument("--screenshots", metavar="DIR")
    arguments.add_argument("--files", metavar="DIR")
    options = arguments.parse_args()
    if options.screenshots:
        os.makedirs(options.screenshots, exist_ok=True)
    place = Place(options)
    server = TileServer(("127.0.0.1", 0), Tiles)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tiles = f"http://127.0.0.1:{server.server_port}"
    try:
        begin(place)
        pack = os.path.join(place.dir, "day")
        map_worker = place.worker(os.path.join(place.dir, "hotspots"), "hotspots", "--http-token-file", os.path.join(place.dir, "tokens"),
                                  "--console-tiles", tiles + "/tiles/{z}/{x}/{y}.png", "--console-tiles-attribution", "Tiles of the test")
        day = place.worker(pack, "day", fail_points=SLOW_LOAD)
        with sync_playwright() as playwright:
            browser = launch(playwright, options)

            def looker(worker, **more):
                return Looker(browser, worker.origin, options.screenshots, options.files, **more)

            look, look_at_map = looker(day), looker(map_worker, pictures_from=tiles)
            run_steps([
                ("loading is told", look, lambda: loading_is_told(look, day)),
                ("records explain themselves", look, lambda: records_explain_themselves(look, place, day)),
                ("private values are masked in answers", look, lambda: private_values_are_masked_in_answers(look)),
                ("a pause and the way on are told", look, lambda: pause_and_way_on_are_told(look, place, day)),
            ])
            day.kill()
            again = place.worker(pack, "day", fail_points=SLOW_RESTORE)
            look_again = looker(again)
            map_worker.wait_for("the worker with the map", lambda s: s["phase"] == "running", TOKEN)
            run_steps([
                ("a restore is told", look_again, lambda: restore_is_told(look_again, again)),
                ("the map lies over tiles", look_at_map, lambda: map_lies_over_tiles(look_at_map, map_worker)),
                ("the policy holds", look_at_map, lambda: policy_holds(look_at_map, tiles)),
                ("a token is asked for", look_at_map, lambda: token_is_asked_for(look_at_map)),
                ("the silence of the brokers is told", look_again, lambda: silence_of_brokers_is_told(look_again, place)),
            ])
            browser.close()
    finally:
        place.close()
        server.shutdown()


def begin(place):
    """Packs with topics of their own, and what is in them before anything starts."""
    os.makedirs(os.path.join(place.dir, "day"))
    with open(os.path.join(place.dir, "day", "pack.sql"), "w", encoding="utf-8") as file:
        file.write(PACK.format(prefix=place.prefix))
    with open(os.path.join(place.dir, "tokens"), "w", encoding="utf-8") as file:
        file.write(TOKEN + "\n")
    hotspots = os.path.join(place.dir, "hotspots")
    subprocess.run(["cp", "-r", os.path.join(ROOT, "sql", "accident-hotspots"), hotspots], check=True)
    for name in os.listdir(hotspots):
        if name.endswith(".sql"):
            path = os.path.join(hotspots, name)
            with open(path, encoding="utf-8") as file:
                text = re.sub(r"topic = '([a-z-]+)'", rf"topic = '{place.prefix}-\1'", file.read())
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    for name in ("people", "rides", "fines"):
        place.ask_client("create", f"{place.prefix}-{name}", "1")
    # In one partition, so that event time does not wait for others.
    place.ask_client("create", f"{place.prefix}-accidents", "1")
    place.produce("people", "person_id", [{"person_id": f"P{i}", "name": f"Name {i}", "town": ("North", "South", "East")[i % 3]} for i in range(N_PEOPLE)])
    subprocess.run([place.curb, "simulate", hotspots, "--people", "100000", "--days", "20", "--brokers", place.brokers, "--create-topics",
                    "--as-fast-as-possible"], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"FAILED: {failure}")
