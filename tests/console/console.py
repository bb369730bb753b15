"""The console page of a running demo, in headless Chromium: what it shows, where it asks, how it is reached, what is wrong.

Everything is checked on the page as it is served, under its own Content-Security-Policy. States that a demo does not come into
(restore, rows withheld, a token asked for) are played to the page by answers in place of the worker's.
"""

import argparse
import importlib.resources
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import sync_playwright

import fixtures

VIEWS = ["overview", "flow", "sources", "sinks", "records", "sql"]
WIDTHS = {360: 740, 1280: 900, 2560: 1440}
AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
FOCUSABLE = "a[href], button:not([disabled]), input, select, textarea, summary, [tabindex='0']"


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Demo:
    """A demo on a port of its own."""

    def __init__(self, curb):
        self.origin = f"http://127.0.0.1:{free_port()}"
        self.log = tempfile.NamedTemporaryFile(prefix="curb-console.", suffix=".log")
        address = self.origin.removeprefix("http://")
        self.process = subprocess.Popen([curb, "demo", "--http", address, "--rate", "200", "--exit-after", "10m"],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        until = time.monotonic() + 60
        while True:
            try:
                if self.json("/api/status")["phase"] == "running":
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise SystemExit("the demo did not come up:\n" + open(self.log.name).read())
            time.sleep(0.1)

    def json(self, path):
        with urllib.request.urlopen(self.origin + path, timeout=5) as answer:
            return json.load(answer)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Looker:
    """Opens pages, and notes what none of them may do: errors, violations, requests to elsewhere."""

    def __init__(self, browser, origin, screenshots):
        self.browser, self.origin, self.screenshots = browser, origin, screenshots
        self.faults, self.expects_failures = [], False

    def open(self, path="/", width=1280, scheme="light", answers=None, motion="no-preference", wait=True):
        context = self.browser.new_context(viewport={"width": width, "height": WIDTHS.get(width, 900)}, color_scheme=scheme,
                                           reduced_motion=motion)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", lambda request: None if request.url.startswith(self.origin + "/") else self.faults.append(f"asked {request.url}"))
        for pattern, answer in (answers or {}).items():
            page.route(re.compile(re.escape(self.origin) + pattern), answer)
        page.goto(self.origin + path)
        if wait:
            page.wait_for_function("() => document.querySelector('#facts dd')?.textContent !== '–'")
        return page

    def heard(self, message):
        is_failure = "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not (self.expects_failures and is_failure):
            self.faults.append(f"{message.type}: {message.text}")

    @staticmethod
    def close(page):
        # An answer that a handler still waits for would be gone with the page, and the handler would fail.
        page.unroute_all(behavior="wait")
        page.context.close()

    def shot(self, page, name, full=False):
        if self.screenshots:
            page.screenshot(path=os.path.join(self.screenshots, f"{name}.png"), full_page=full)


def answer(body, status=200, headers=None):
    return lambda route: route.fulfill(status=status, body=json.dumps(body), headers={"content-type": "application/json", **(headers or {})})


def as_if_well(route):
    """The worker's own status, but for its health."""
    status = route.fetch().json()
    route.fulfill(json=dict(status, health={"level": "healthy", "reasons": []}))


def audit(page, what):
    """Serious violations of WCAG 2.2 AA that axe-core finds, and scrolling sideways."""
    page.evaluate(AXE)
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = page.evaluate("rules => axe.run(document, rules)", rules)["violations"]
    serious = [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found if v["impact"] in ("serious", "critical")]
    check(not serious, f"{what}: " + "; ".join(serious))
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    check(wide <= seen, f"{what}: {wide} pixels wide on {seen}")


def go(page, view):
    page.click(f"#views a[href='#{view}']")
    page.wait_for_selector(f"#{view}:not([hidden])")


def figures_move(look):
    page = look.open()
    total = "() => document.querySelector('#tiles li .more').textContent"
    page.wait_for_function("() => parseFloat(document.querySelector('#tiles li strong').textContent) > 0")
    page.wait_for_selector("#latency canvas")
    first = page.evaluate(total)
    page.wait_for_function("first => document.querySelector('#tiles li .more').textContent !== first", arg=first)
    summary = page.get_attribute("#latency .picture", "aria-label")
    check(re.search(r"p99: now \d", summary), f"the chart does not say what it shows: {summary}")
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
    statements = len({r["definition"] for r in demo.json("/api/status")["relations"]})
    check(page.locator("#flow-picture .box").count() == statements, "all are shown when asked for")
    page.click("#flow-table")
    page.click("#flow-relations th:nth-child(4) button")
    check(page.get_attribute("#flow-relations th:nth-child(4)", "aria-sort") == "descending", "the table is sorted")
    relations = len(demo.json("/api/status")["relations"])
    check(page.locator("#flow-relations tbody tr").count() == relations, "the table holds every relation")
    look.close(page)


def keyboard_reaches_everything(look):
    page = look.open()
    # So that no table changes under the cursor: tables are filled anew every second.
    for view in VIEWS:
        go(page, view)
        page.wait_for_timeout(300)
        if view == "records":
            page.click("#rows-hold")
        if view == "sql":
            page.wait_for_selector("#sql-tables button")
        page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        wanted = page.evaluate(f"""() => {{
            const seen = (e) => e.checkVisibility({{ visibilityProperty: true }});
            window.__reached = new Set();
            document.addEventListener('focusin', (event) => window.__reached.add(event.target));
            return [...document.querySelectorAll("{FOCUSABLE}")].filter(seen).length }}""")
        page.focus(".skip")
        for _ in range(wanted + 40):
            page.keyboard.press("Tab")
        missed = page.evaluate(f"""() => {{
            const seen = (e) => e.checkVisibility({{ visibilityProperty: true }});
            const told = (e) => (e.id || e.textContent || e.outerHTML).trim().slice(0, 60);
            const reached = new Set([...window.__reached].map(told));
            return [...document.querySelectorAll("{FOCUSABLE}")].filter((e) => seen(e) && !reached.has(told(e))).map(told) }}""")
        check(not missed, f"{view}: the keyboard does not reach {missed}")
    look.close(page)


def records_explain_themselves(look, has_rows):
    page = look.open("/#records")
    if has_rows:
        page.wait_for_selector("#rows .records button")
        page.click("#rows-hold")
        page.click("#rows .records button >> nth=0")
        check("curb why" in page.text_content("#record"), "a row says how to ask for its origin")
        page.keyboard.press("Escape")
        check(not page.locator("#record").is_visible(), "Escape closes the sheet")
        check(page.evaluate("document.activeElement.closest('#rows') !== null"), "and gives the focus back")
    look.close(page)
    page = look.open("/#records", answers={r"/api/refused": answer(fixtures.REFUSED), r"/api/rows": answer(fixtures.ROWS)})
    page.wait_for_selector("#refused .records li:nth-child(2)")
    page.click("#refused .records button >> nth=0")
    check(page.text_content("#record pre") == fixtures.HOSTILE, "what a record holds is text")
    check(page.locator("#record img, #record script").count() == 0, "and never markup")
    look.shot(page, "records-rejected")
    page.keyboard.press("Escape")
    page.click("#refused .records button >> nth=1")
    check("private column" in page.text_content("#record"), "a withheld record says why")
    page.keyboard.press("Escape")
    page.click("#rows .records button >> nth=0")
    text = page.text_content("#record")
    check("name" in text and page.text_content("#record .masked") == "private", "a private column is named, its value is not")
    check("curb why 'P1/2024-03/it'\\''s/4' PACK" in text, "the command can be pasted into a shell")
    look.shot(page, "records-row")
    audit(page, "the sheet of a row")
    look.close(page)


def map_shows_cells(look):
    answers = {r"/api/map\?sink=": answer(fixtures.map_cells()), r"/api/map$": answer(fixtures.MAP_LAYERS)}
    for scheme in ("light", "dark"):
        page = look.open("/", scheme=scheme, answers=answers, motion="reduce")
        page.wait_for_selector("#views a[href='#map']:not([hidden])")
        go(page, "map")
        page.wait_for_selector("#map-picture path.heat4")
        check(page.locator("#map-picture .grid-label").count() >= 4, "the grid has figures")
        page.click("#map-table tbody button >> nth=0")
        page.wait_for_selector(".leaflet-popup")
        look.shot(page, f"map-{scheme}")
        audit(page, f"map, {scheme}")
        look.close(page)
    page = look.open("/#map", answers={r"/api/map": answer({"layers": []})})
    page.wait_for_timeout(300)
    check(not page.locator("#views a[href='#map']").is_visible() and page.locator("#overview").is_visible(), "without places there is no map")
    look.close(page)


def sql_is_answered(look):
    look.expects_failures = True
    page = look.open("/#sql")
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
    look.expects_failures = False


def token_is_asked_for(look):
    def guarded(route):
        if route.request.headers.get("authorization") == "Bearer opens-the-door":
            return route.continue_()
        return route.fulfill(status=401, headers={"www-authenticate": 'Bearer realm="curb"'}, body='{"error": "a token is needed"}')

    look.expects_failures = True
    page = look.open(answers={r"/api/": guarded}, wait=False)
    page.wait_for_selector("#token[open]")
    audit(page, "the token dialog")
    look.shot(page, "token")
    page.fill("#token-text", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#token[open]') && document.querySelector('#token-why').textContent.includes('does not accept')")
    page.fill("#token-text", "opens-the-door")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#facts dd')?.textContent !== '–'")
    check(page.evaluate("localStorage.length === 0 && sessionStorage.getItem('curb-token') === 'opens-the-door'"), "the token stays in the tab")
    page.click("#sign-out")
    page.wait_for_selector("#token[open]")
    check(page.evaluate("sessionStorage.getItem('curb-token') === null"), "and is forgotten when its holder leaves")
    look.close(page)
    look.expects_failures = False


def start_and_stop_are_told(look, demo):
    status = demo.json("/api/status")
    states = [("restoring", "starting", ["The worker waits for its partitions or restores its state."], "Restore state"),
              ("loading", "starting", ["Tables are being read to their end; nothing leaves yet."], "left to read"),
              ("stopped", "failing", ["The worker has stopped."], "goes on from the last committed epoch")]
    for phase, level, reasons, told in states:
        page = look.open(answers={r"/api/status": answer(fixtures.in_phase(status, phase, level, reasons))})
        page.wait_for_function("told => document.querySelector('#reasons').textContent.includes(told)", arg=told)
        look.shot(page, phase)
        audit(page, phase)
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
    page.wait_for_selector("#facts dd")
    check(page.evaluate(ground) != light, "and stays so")
    look.close(page)


def all_sizes_are_sound(look):
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            # A banner that says what is wrong may move what is below it; a busy machine is no fault of the page.
            page = look.open(width=width, scheme=scheme, wait=False, answers={r"/api/status": as_if_well})
            page.evaluate("""() => { window.__shift = 0; new PerformanceObserver((list) => list.getEntries()
                .forEach((e) => { window.__shift += e.hadRecentInput ? 0 : e.value; })).observe({ type: 'layout-shift', buffered: true }); }""")
            page.wait_for_selector("#kinds canvas")
            page.wait_for_timeout(700)
            shift = page.evaluate("window.__shift")
            check(shift < 0.1, f"{width} {scheme}: the layout shifts by {shift:.3f}")
            # What is looked at most in every size; the others where they are narrow, and dark.
            for view in VIEWS if (width, scheme) in ((360, "light"), (1280, "dark")) or look.screenshots else VIEWS[:2]:
                go(page, view)
                page.wait_for_timeout(150)
                audit(page, f"{view}, {width}, {scheme}")
                look.shot(page, f"{view}-{width}-{scheme}", full=width == 360)
            look.close(page)


def loss_of_contact_is_told(look, demo):
    page = look.open()
    look.expects_failures = True
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
    options = arguments.parse_args()
    if options.screenshots:
        os.makedirs(options.screenshots, exist_ok=True)
    demo = Demo(options.curb)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            look = Looker(browser, demo.origin, options.screenshots)
            steps = [
                ("figures move", lambda: figures_move(look)),
                ("every box is found", lambda: flow_is_found(look, demo)),
                ("the keyboard reaches everything", lambda: keyboard_reaches_everything(look)),
                ("records explain themselves", lambda: records_explain_themselves(look, True)),
                ("the map shows cells", lambda: map_shows_cells(look)),
                ("SQL is answered", lambda: sql_is_answered(look)),
                ("a token is asked for", lambda: token_is_asked_for(look)),
                ("start and stop are told", lambda: start_and_stop_are_told(look, demo)),
                ("the colours are kept", lambda: theme_is_kept(look)),
                ("all sizes are sound", lambda: all_sizes_are_sound(look)),
                ("a loss of contact is told", lambda: loss_of_contact_is_told(look, demo)),
            ]
            for name, step in steps:
                began = time.monotonic()
                step()
                check(not look.faults, f"{name}: {look.faults[:5]}")
                print(f"ok  {name} ({time.monotonic() - began:.1f} s)", flush=True)
            browser.close()
    finally:
        demo.stop()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"FAILED: {failure}")
