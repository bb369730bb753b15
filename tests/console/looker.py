"""A browser that looks at console pages as they are served, under their own Content-Security-Policy, and notes what no page may do."""

import importlib.resources
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
HEIGHTS = {360: 740, 1280: 900, 2560: 1440}
# A condition that a page does not come to within this time, on however busy a machine, is a fault.
PATIENCE_S = 30
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
CONTENT_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


def launch(playwright, options):
    """A browser. It takes files from disk for a page of the wide net, which may not ask this machine for anything, unless it is told."""
    more = ["--disable-features=LocalNetworkAccessChecks"] if options.files else []
    return playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox", *more])


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def until(what, holds, patience_s=PATIENCE_S):
    """Waits until `holds()` gives something true, and gives it back."""
    end = time.monotonic() + patience_s
    while True:
        found = holds()
        if found:
            return found
        check(time.monotonic() < end, f"{what}: not within {patience_s} s")
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answer_of(url, token=None, data=None):
    """The parsed answer; None as long as nobody gives one."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        raise AssertionError(f"{url}: {refused.code} {refused.read()[:500]}") from refused
    except OSError:
        return None


class Looker:
    """Opens pages of one worker. `faults` are errors, violations of the policy, and requests to elsewhere."""

    def __init__(self, browser, origin, screenshots=None, files=None, pictures_from=None):
        self.browser, self.origin, self.screenshots, self.files = browser, origin, screenshots, files
        # Another origin that may be asked for pictures.
        self.pictures_from = pictures_from
        self.faults, self.closing, self.expected = [], set(), {}

    def open(self, path="/", width=1280, height=None, scheme="light", answers=None, motion="no-preference", wait=True, expects=None):
        """A page of its own, with nothing stored. `expects` says which messages of the browser are none of its faults."""
        context = self.browser.new_context(viewport={"width": width, "height": height or HEIGHTS.get(width, 900)}, color_scheme=scheme,
                                           reduced_motion=motion)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        self.expected[page] = expects
        page.on("console", lambda message: self.heard(page, message.type, message.text))
        page.on("pageerror", lambda error: self.heard(page, "error", str(error)))
        page.on("request", lambda request: self.asked(page, request))
        if self.files:
            page.route(re.compile(re.escape(self.origin) + r"/(console/.*)?([?#].*)?$"), self.from_disk)
        for pattern, answer in (answers or {}).items():
            page.route(re.compile(re.escape(self.origin) + pattern), answer)
        page.goto(self.origin + path)
        if wait:
            self.wait_for_status(page)
        return page

    @staticmethod
    def wait_for_status(page):
        page.wait_for_function("() => document.querySelector('#facts dd')?.textContent !== '–'")

    def heard(self, page, kind, text):
        # What a browser says while it takes a page away is no fault of the page.
        if page in self.closing or kind not in ("error", "warning"):
            return
        if not (self.expected.get(page) and re.search(self.expected[page], text)):
            self.faults.append(f"{kind}: {text}")

    def asked(self, page, request):
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin == self.origin or (origin == self.pictures_from and request.resource_type == "image"):
            return
        if page not in self.closing and not (self.expected.get(page) and re.search(self.expected[page], request.url)):
            self.faults.append(f"asked {request.url} for {request.resource_type}")

    def from_disk(self, route):
        """A file of the page as it is now, in place of the one in the program."""
        name = urlsplit(route.request.url).path.removeprefix("/console/").removeprefix("/") or "index.html"
        with open(os.path.join(self.files, name), encoding="utf-8") as file:
            kind = CONTENT_TYPES.get(name.rsplit(".", 1)[-1], "text/plain")
            pictures = f" {self.pictures_from}" if self.pictures_from else ""
            policy = POLICY.replace("img-src 'self'", f"img-src 'self'{pictures}")
            route.fulfill(body=file.read(), headers={"content-type": f"{kind}; charset=utf-8", "content-security-policy": policy, "referrer-policy": "no-referrer"})

    def close(self, page):
        self.closing.add(page)
        # An answer that a handler still waits for would be gone with the page, and the handler would fail.
        page.unroute_all(behavior="wait")
        page.context.close()
        self.closing.discard(page)
        self.expected.pop(page, None)

    def shot(self, page, name, full=False):
        if self.screenshots:
            page.screenshot(path=os.path.join(self.screenshots, f"{name}.png"), full_page=full)


def answer(body, status=200):
    """A prepared answer."""
    return lambda route: route.fulfill(status=status, body=json.dumps(body), headers={"content-type": "application/json"})


def audit(page, what):
    """Serious violations of WCAG 2.2 AA that axe-core finds, and scrolling sideways."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, rules)", AXE_RULES)["violations"]
    serious = [f"{v['id']}: {v['help']}: {[n['html'][:120] for n in v['nodes'][:3]]}" for v in found if v["impact"] in ("serious", "critical")]
    check(not serious, f"{what}: " + "; ".join(serious))
    wide, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    check(wide <= seen, f"{what}: {wide} pixels wide on {seen}")


# What a view shows when it has been filled.
FILLED = {
    "overview": "#state tbody tr:nth-child(2), #state .empty", "flow": "#flow-picture .box", "sources": "#sources-table tbody tr",
    "sinks": "#sinks-table tbody tr", "records": "#rows .records li, #rows .empty:not([hidden])", "map": "#map-picture path.cell",
    "sql": "#sql-tables button",
}


def go(page, view):
    page.click(f"#views a[href='#{view}']")
    page.wait_for_selector(f"#{view}:not([hidden])")
    page.wait_for_selector(FILLED[view])


def run_steps(steps):
    """Runs `(name, looker, step)` one after another, and says how long each took."""
    for name, look, step in steps:
        began = time.monotonic()
        try:
            step()
        except Exception as failure:
            # What a browser waited for in vain says little by itself.
            raise AssertionError(f"{name}: {failure}; faults so far: {look.faults[:5]}") from failure
        check(not look.faults, f"{name}: {look.faults[:5]}")
        print(f"ok  {name} ({time.monotonic() - began:.1f} s)", flush=True)
