"""The console page of a running demo, in headless Chromium: what it shows, where it asks, how it is reached, what is wrong.

Everything is checked on the page as the program serves it. What a demo does not come into is looked at on workers at a real
Kafka, by on_kafka.py.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

from looker import HEIGHTS, Looker, answer, answer_of, audit, check, free_port, go, launch, run_steps, until

VIEWS = ["overview", "flow", "sources", "sinks", "records", "sql"]
FOCUSABLE = "a[href], button:not([disabled]), input, select, textarea, summary, [tabindex='0']"
# As many keys are pressed between two looks at what they have reached.
TABS_AT_ONCE = 25


class Demo:
    """A demo on a port of its own."""

    def __init__(self, curb, rate):
        self.origin = f"http://127.0.0.1:{free_port()}"
        self.log = tempfile.NamedTemporaryFile(prefix="curb-console.", suffix=".log")
        address = self.origin.removeprefix("http://")
        self.process = subprocess.Popen([curb, "demo", "--http", address, "--rate", str(rate), "--exit-after", "10m"],
                                        stdout=self.log, stderr=subprocess.STDOUT)

        def is_up():
            check(self.process.poll() is None, "the demo has ended:\n" + open(self.log.name).read())
            status = answer_of(self.origin + "/api/status")
            return status is not None and status["phase"] == "running"

        try:
            until("the demo is up", is_up, 60)
        except AssertionError:
            self.stop()
            raise

    def status(self):
        return until("the demo answers", lambda: answer_of(self.origin + "/api/status"))

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def as_if_well(route):
    """The worker's own status, but for its health. On a busy machine a demo is slow, which its page then says, rightly."""
    status = route.fetch().json()
    route.fulfill(json=dict(status, health={"level": "healthy", "reasons": []}))


def figures_move(look):
    page = look.open()
    total = "() => document.querySelector('#tiles li .more').textContent"
    page.wait_for_function("() => parseFloat(document.querySelector('#tiles li strong').textContent) > 0")
    page.wait_for_selector("#latency canvas")
    first = page.evaluate(total)
    page.wait_for_function("first => document.querySelector('#tiles li .more').textContent !== first", arg=first)
    page.wait_for_function("() => /p99: now \\d/.test(document.querySelector('#latency .picture').getAttribute('aria-label'))")
    page.click("#latency summary")
    page.wait_for_selector("#latency tbody tr:nth-child(2)")
    page.focus("#latency .picture")
    page.keyboard.press("ArrowLeft")
    when = page.text_content("#latency .legend .when span")
    check(re.fullmatch(r"\d\d:\d\d:\d\d", when), f"the cursor is moved by keys: {when}")
    page.keyboard.press("Escape")
    page.click("#latency summary")
    go(page, "sinks")
    page.wait_for_function("() => [...document.querySelectorAll('#sinks-table tbody td:nth-child(3)')].some((td) => parseInt(td.textContent) > 0)")
    go(page, "sources")
    page.wait_for_function("() => [...document.querySelectorAll('#sources-table tbody td:nth-child(3)')].some((td) => parseInt(td.textContent) > 0)")
    look.close(page)


def flow_is_found(look, demo):
    page = look.open("/#flow")
    page.wait_for_selector("#flow-picture .box")
    n = page.locator("#flow-picture .box").count()
    check(2 < n <= 45, f"{n} boxes at first")
    page.fill("#flow-search", "helmet_rates")
    check(page.locator("#flow-list li:visible").count() == 2, "the search leaves two")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail h3")
    check(page.text_content("#detail h3") == "helmet_rates", "Enter shows what was found")
    check(page.locator("#flow-picture .box").count() < n, "and what belongs to it only")
    page.fill("#flow-search", "")
    page.click("#flow-bar button")
    status = demo.status()
    statements = len({r["definition"] for r in status["relations"]})
    check(page.locator("#flow-picture .box").count() == statements, "all are shown when asked for")
    page.click("#flow-table")
    page.click("#flow-relations th:nth-child(4) button")
    check(page.get_attribute("#flow-relations th:nth-child(4)", "aria-sort") == "descending", "the table is sorted")
    check(page.locator("#flow-relations tbody tr").count() == len(status["relations"]), "the table holds every relation")
    look.close(page)


def keyboard_reaches_everything(look):
    page = look.open()
    page.evaluate(f"""() => {{
        const seen = (e) => e.checkVisibility({{ visibilityProperty: true }});
        const told = (e) => e.id || e.dataset.node || e.getAttribute('href') || e.textContent.trim().slice(0, 60) || e.outerHTML;
        window.__reached = new Set();
        document.addEventListener('focusin', (event) => window.__reached.add(told(event.target)));
        window.__missed = () => [...document.querySelectorAll("{FOCUSABLE}")].filter((e) => seen(e) && !window.__reached.has(told(e))).map(told) }}""")
    # What stands around all views is walked through once, lists of one kind in part.
    for view in VIEWS:
        go(page, view)
        if view == "records":
            page.select_option("#rows-sink", "disposal_actions")
            # So that no entry comes while the list is walked through.
            page.click("#rows-hold")
        if view == "flow":
            page.fill("#flow-search", "rates")
        if view == "sql":
            page.fill("#sql-search", "captures")
        if view == VIEWS[0]:
            page.focus(".skip")
        else:
            page.focus("#views a:last-child")
        # The view may be filled on meanwhile; what is twice as long as it was has no end.
        left = 2 * page.evaluate("window.__missed().length") + 2 * TABS_AT_ONCE
        while (missed := page.evaluate("window.__missed()")) and left > 0:
            for _ in range(TABS_AT_ONCE):
                page.keyboard.press("Tab")
            left -= TABS_AT_ONCE
        check(not missed, f"{view}: the keyboard does not reach {missed}")
    look.close(page)


def a_row_says_how_to_ask_for_its_origin(look):
    page = look.open("/#records")
    page.wait_for_selector("#rows .records button")
    page.click("#rows-hold")
    page.click("#rows .records button >> nth=0")
    check("curb why" in page.text_content("#record"), "a row says how to ask for its origin")
    audit(page, "the sheet of a row")
    page.keyboard.press("Escape")
    check(not page.locator("#record").is_visible(), "Escape closes the sheet")
    check(page.evaluate("document.activeElement.closest('#rows') !== null"), "and gives the focus back")
    look.close(page)


def without_places_there_is_no_map(look):
    page = look.open("/#map")
    # The page asks again every few seconds.
    with page.expect_response(lambda response: response.url.endswith("/api/map")) as told:
        pass
    check(not any(layer["n_cells"] for layer in told.value.json()["layers"]), "the demo's sinks have no places")
    check(not page.locator("#views a[href='#map']").is_visible() and page.locator("#overview").is_visible(), "without places there is no map")
    look.close(page)


def sql_is_answered(look):
    page = look.open("/#sql", expects="Failed to load resource")
    page.wait_for_selector("#sql-tables button")
    page.wait_for_function("() => document.querySelector('#sql-text').value.startsWith('SELECT * FROM ')")
    page.fill("#sql-text", "SELECT person_id, count(*) AS n FROM captures JOIN identities USING (plate) GROUP BY person_id ORDER BY n DESC, person_id LIMIT 5")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#sql-result tbody tr:nth-child(5)")
    check(page.text_content("#sql-result thead th:nth-child(2)") == "n" and int(page.text_content("#sql-result tbody td")) > 0, "rows come back")
    look.shot(page, "sql")
    audit(page, "the answer of a query")
    page.fill("#sql-text", "SELECT 1,\n  plaite FROM captures")
    page.click("#sql-run")
    page.wait_for_selector("#sql-error:not([hidden]) pre")
    lines = page.text_content("#sql-error pre").split("\n")
    check(lines[0].index("plaite") == lines[1].index("^"), f"the caret stands below what is wrong: {lines}")
    check("C0" in page.text_content("#sql-error"), "the error has its code")
    look.shot(page, "sql-error")
    audit(page, "the error of a query")
    page.select_option("#sql-past", index=1)
    check("JOIN identities" in page.input_value("#sql-text"), "an earlier query comes back")
    look.close(page)


def a_stop_is_told(look, demo):
    # A worker that stops takes its server with it within milliseconds: no browser can be relied on to see that.
    stopped = dict(demo.status(), phase="stopped", health={"level": "failing", "reasons": ["The worker has stopped."]})
    page = look.open(answers={r"/api/status": answer(stopped)})
    page.wait_for_function("() => document.querySelector('#reasons').textContent.includes('goes on from the last committed epoch')")
    look.shot(page, "stopped")
    audit(page, "stopped")
    look.close(page)


def theme_is_kept(look):
    page = look.open(scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    page.click("#theme")
    check(page.get_attribute("#theme", "aria-label") == "Colours: dark", "the button says what it does")
    check(page.evaluate(ground) != light, "dark is dark")
    page.reload()
    look.wait_for_status(page)
    check(page.evaluate(ground) != light, "and stays so")
    look.close(page)


def all_sizes_are_sound(look):
    # What is looked at first in every size; the other views where they are narrow, and dark.
    for width, scheme, views in [(360, "light", ["overview", "flow", "sinks", "records"]), (1280, "dark", VIEWS), (2560, "light", VIEWS[:1])]:
        # A banner that says what is wrong may move what is below it, and is no fault of the page.
        page = look.open(width=width, scheme=scheme, wait=False, answers={r"/api/status": as_if_well})
        page.evaluate("""() => { window.__shift = 0; new PerformanceObserver((list) => list.getEntries()
            .forEach((e) => { window.__shift += e.hadRecentInput ? 0 : e.value; })).observe({ type: 'layout-shift', buffered: true }); }""")
        # Everything that comes by itself has come once, and has been drawn.
        for drawn in ("#kinds canvas", "#latency canvas", "#traffic canvas", "#stages tbody th", "#state tbody th", "#tiles .trend svg"):
            page.wait_for_selector(drawn)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        shift = page.evaluate("window.__shift")
        check(shift < 0.1, f"{width} {scheme}: the layout shifts by {shift:.3f}")
        for view in views:
            go(page, view)
            audit(page, f"{view}, {width}, {scheme}")
        look.close(page)


def pictures_are_taken(look):
    """Of every view in every size, for people to look at."""
    for scheme in ("light", "dark"):
        for width in HEIGHTS:
            page = look.open(width=width, scheme=scheme)
            page.wait_for_selector("#latency canvas")
            for view in VIEWS:
                go(page, view)
                look.shot(page, f"{view}-{width}-{scheme}", full=width == 360)
            look.close(page)


def loss_of_contact_is_told(look, demo):
    page = look.open(expects="Failed to load resource")
    demo.stop()
    page.wait_for_selector("#contact:not([hidden])")
    text = page.text_content("#contact")
    check("No contact with the worker" in text and "as of" in text, text)
    check(page.text_content("#health-word") == "No contact", "the word at the top says so")
    look.shot(page, "lost")
    audit(page, "without contact")
    look.close(page)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("curb")
    arguments.add_argument("--chromium", required=True)
    arguments.add_argument("--screenshots", metavar="DIR")
    arguments.add_argument("--files", metavar="DIR")
    arguments.add_argument("--rate", type=int, default=200)
    options = arguments.parse_args()
    if options.screenshots:
        os.makedirs(options.screenshots, exist_ok=True)
    demo = Demo(options.curb, options.rate)
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright, options)
            look = Looker(browser, demo.origin, options.screenshots, options.files)
            run_steps([(name, look, step) for name, step in [
                ("figures move", lambda: figures_move(look)),
                ("every box is found", lambda: flow_is_found(look, demo)),
                ("the keyboard reaches everything", lambda: keyboard_reaches_everything(look)),
                ("a row says how to ask for its origin", lambda: a_row_says_how_to_ask_for_its_origin(look)),
                ("without places there is no map", lambda: without_places_there_is_no_map(look)),
                ("SQL is answered", lambda: sql_is_answered(look)),
                ("a stop is told", lambda: a_stop_is_told(look, demo)),
                ("the colours are kept", lambda: theme_is_kept(look)),
                ("all sizes are sound", lambda: all_sizes_are_sound(look)),
                *([("pictures are taken", lambda: pictures_are_taken(look))] if options.screenshots else []),
                ("a loss of contact is told", lambda: loss_of_contact_is_told(look, demo)),
            ]])
            browser.close()
    finally:
        demo.stop()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"FAILED: {failure}")
