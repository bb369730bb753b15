"""F9, F10, F13, F14, F15: what devices may send: rubbish, huge records, wrong clocks, repetitions, late and shuffled records."""

import calendar
import hashlib
import json
import time

from checks import Lives, last_pass, repeated_ids
from harness import LOG, scenario
from rig import Rig

POISON_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM events (event_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, n INT, x DOUBLE, flag BOOLEAN)
WITH (topic = 'events', format = 'json', event_time = 'at');
CREATE TABLE items (item_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, n INT, x DOUBLE)
WITH (topic = 'items', format = 'json', event_time = 'at', retention = '4000 days');
CREATE SINK seen WITH (topic = 'seen', format = 'json') AS SELECT event_id, n, x, flag FROM events;
CREATE SINK copies WITH (topic = 'copies', format = 'json') AS SELECT item_id, n, x FROM items;
"""
DAY = '"2026-01-01T00:00:00Z"'


def event(key, n=b"1", x=b"0.5", at=DAY.encode(), more=b""):
    """An event as bytes, so that any part of it may be broken."""
    return b'{"event_id":"%s","at":%s,"n":%s,"x":%s%s}' % (key.encode(), at, n, x, more)


def poisons():
    """Records that nobody can use: what each is, and its bytes."""
    return [
        ("an open brace", b"{"), ("nothing but a bracket", b"["), ("no object", b"[]"), ("null", b"null"), ("a number", b"7"),
        ("a text", b'"x"'), ("no JSON", b"not json"), ("cut", event("cut")[:-9]), ("two values", event("two") + event("two")),
        ("trailing comma", event("comma")[:-1] + b",}"), ("single quotes", event("q").replace(b'"', b"'")),
        ("unquoted name", event("name").replace(b'"n"', b"n")), ("a text for INT", event("text", n=b'"seven"')),
        ("a fraction for INT", event("fraction", n=b"1.5")), ("an object for INT", event("object", n=b'{"a":1}')),
        ("a list for DOUBLE", event("list", x=b"[1]")), ("INT beyond its range", event("wide", n=b"99999999999")),
        ("INT of 4000 digits", event("digits", n=b"9" * 4000)), ("NaN", event("nan", x=b"NaN")), ("Infinity", event("inf", x=b"Infinity")),
        ("no key column", b'{"at":%s,"n":1}' % DAY.encode()), ("null event time", event("null", at=b"null")),
        ("no time", event("yesterday", at=b'"yesterday"')), ("the 30th of February", event("feb", at=b'"2026-02-30T00:00:00Z"')),
        ("beyond max_future", event("future", at=b'"2262-04-11T23:47:16Z"')), ("invalid UTF-8", event("u8").replace(b"u8", b"\xff\xfe")),
        ("a lone continuation byte", event("cont").replace(b"cont", b"\x80")), ("NUL in a text", event("nul").replace(b"nul", b"a\x00b")),
        ("NUL bytes only", b"\x00" * 64), ("a new line in a text", event("line").replace(b"line", b"a\nb")),
        ("a broken escape", event("esc").replace(b"esc", b"\\x41")), ("half a surrogate", event("sur").replace(b"sur", b"\\ud800")),
        ("open 10,000 deep", b"[" * 10_000), ("objects open 10,000 deep", b'{"a":' * 10_000),
        ("1 MB of rubbish", b"x" * 900_000), ("UTF-16", event("wide text").decode().encode("utf-16")),
    ]


def oddities():
    """Records that may be read or refused, but must be one of them, and stop nothing."""
    return [
        event("deep", more=b',"y":' + b"[" * 10_000 + b"]" * 10_000), event("deep objects", more=b',"y":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        event("twice", more=b',"n":2'), b"\xef\xbb\xbf" + event("bom"), event("e400", x=b"1e400"), event("tiny", x=b"1e-400"),
        event("minus", n=b"-0"), event("x" * 900_000), event("pad", more=b',"y":"' + b"y" * 900_000 + b'"'), event(""), b" \r\n\t" + event("space") + b"\n",
        event("e0", n=b"1e0"), event("many", more=b"".join(b',"c%d":%d' % (i, i) for i in range(5000))), event("\u20ac\U0001f6b2"),
    ]


@scenario("F9", seconds=45)
def poison_among_good_records(context):
    """Broken JSON, wrong types, invalid UTF-8, nesting of 10,000, huge numbers, NUL: rejected once each, the rest is unaffected.

    The worker is killed within its transactions on the way, so a rejected record that were not part of them would come twice or
    never. Guards: records are decoded one by one (format/json/decode.rs), refusals are outputs of the epoch (engine/worker.rs
    `encode`), and the nesting is bounded (format/json/scan.rs, parse.rs).
    """
    rig = context.rig(Rig("poison", context.place(), POISON_PACK))
    for name in ("events", "items"):
        rig.create(name, 2)
    bad = [(what, value) for what, value in poisons() for _ in range(context.size(2, 8))]
    good = [event(f"g{i}", n=b"%d" % i) for i in range(context.size(400, 5000))]
    mixed = [(False, v) for v in good] + [(True, v) for _, v in bad] + [(None, v) for v in oddities()] + [(True, b""), (True, None)]
    context.choose.shuffle(mixed)
    verdicts = {0: [], 1: []}
    for verdict, value in mixed:
        verdicts[context.choose.randrange(2)].append((verdict, value))
    keys = [b"", b"\x00", b"\xff\xfe", b"null", None, b"{}", b"k" * 1000]
    lives = Lives(context, rig)
    steps = ["commit.sent", "commit.positions", "commit.done", "encode.done"]
    context.choose.shuffle(steps)
    parts = len(steps) + 1
    for number in range(parts):
        for partition, records in verdicts.items():
            own = records[len(records) * number // parts:len(records) * (number + 1) // parts]
            rig.send("events", [(context.choose.choice(keys), value, {"partition": partition}) for _, value in own])
        rig.produce("items", ("item_id",), [f'{{"item_id":"i{number}","at":{DAY},"n":{number}}}'])
        if number < len(steps):
            context.expect(lives.wait_for_abort(lives.start(FAILPOINTS=f"{steps[number]}=return"), 60), f"{steps[number]} was not reached")
    # A table takes poison too: with a key and without, and keys that say something else than the columns.
    rig.send("items", [(b"a", v.replace(b"event_id", b"item_id")) for _, v in bad] + [(None, b'{"item_id":"x","at":%s}' % DAY.encode()),
                                                                                     (b"y", b'{"item_id":"z","at":%s}' % DAY.encode())])
    last_pass(context, rig, ["events", "items"])
    rejected, seen = rig.read("events.rejected"), rig.read("seen")
    for record in rejected:
        headers = record["headers"]
        context.expect(headers["curb_reason"], f"rejected without a reason: {headers}")
        value = verdicts[int(headers["curb_partition"])][int(headers["curb_offset"])][1] or b""
        context.equal((int(headers["curb_length"]), headers["curb_sha256"]), (len(value), hashlib.sha256(value).hexdigest()), "length and digest")
    places = [(int(r["headers"]["curb_partition"]), int(r["headers"]["curb_offset"])) for r in rejected]
    context.equal(len(places), len(set(places)), "rejected records that came twice")
    place_of = {stream_id("seen", f"events/{p}/{o}"): (p, o) for p, records in verdicts.items() for o in range(len(records))}
    used = [place_of[r["headers"]["curb_id"]] for r in seen]
    context.equal(len(used), len(set(used)), "used records that came twice")
    everything = {(p, o): verdict for p, records in verdicts.items() for o, (verdict, _) in enumerate(records)}
    context.equal(set(places) & set(used), set(), "records that were both used and rejected")
    context.equal(set(everything) - set(places) - set(used), set(), "records that vanished")
    name = lambda place: shorten_bytes(verdicts[place[0]][place[1]][1])  # noqa: E731
    context.equal([name(p) for p, v in everything.items() if v is True and p in used], [], "poison that was used")
    context.equal([name(p) for p, v in everything.items() if v is False and p in places], [], "good records that were rejected")
    context.equal(repeated_ids({"seen": seen, "copies": rig.read("copies")}), [], "ids")
    content = {r["key"]: r["value"]["n"] for r in rig.read("copies") if r["value"]}
    context.equal({k: v for k, v in content.items() if k.startswith("i")}, {f"i{i}": i for i in range(parts)}, "rows of the table")
    odd = sum(1 for p, v in everything.items() if v is None and p in used)
    context.note(f"{len(bad) + 2} poisoned records of {len(poisons())} kinds rejected, {odd} of {len(oddities())} odd ones read")


def stream_id(sink, record):
    """The id of the one row that follows from a record of a stream: it depends on the record's place alone."""
    name = sink.encode()
    return hashlib.sha256(len(name).to_bytes(8, "little") + name + bytes(4) + record.encode()).hexdigest()[:32]


def shorten_bytes(value):
    """A value for a message."""
    return value if value is None or len(value) < 80 else value[:40] + b"..." + value[-20:]


HUGE_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM events (event_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL, body VARCHAR)
WITH (topic = 'events', format = 'json', event_time = 'at');
CREATE TABLE items (item_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, body VARCHAR)
WITH (topic = 'items', format = 'json', event_time = 'at', retention = '4000 days');
CREATE SINK bodies WITH (topic = 'bodies', format = 'json') AS SELECT event_id, body FROM events;
CREATE SINK lengths WITH (topic = 'lengths', format = 'json') AS SELECT item_id, character_length(body) AS n FROM items;
"""


@scenario("F10", seconds=45)
def huge_records_in_and_out(context):
    """20 MB in: read or rejected without its bytes; larger than its topic takes: left out and named; the rest is committed.

    A row of 20 MB in a table's state is logged in parts and restored. Guards: kafka/sink.rs `records` (size before it is sent),
    engine/delta.rs (parts below the topic's limit), engine/refusal.rs (raw bytes up to a limit).
    """
    rig = context.rig(Rig("huge", context.place(), HUGE_PACK))
    n_bytes = 20_000_000
    for name in ("events", "items"):
        rig.create(name, 1, "max.message.bytes=30000000")
    big = b"z" * n_bytes
    body = lambda key, value: b'{"event_id":"%s","at":%s,"body":"%s"}' % (key, DAY.encode(), value)  # noqa: E731
    rig.send("events", [(None, body(b"1", b"small")), (None, body(b"2", big)), (None, big), (None, body(b"3", b"small"))])
    rig.send("items", [(b"big", b'{"item_id":"big","at":%s,"body":"%s"}' % (DAY.encode(), big)), (b"small", b'{"item_id":"small","at":%s,"body":"s"}' % DAY.encode())])
    lives = Lives(context, rig)
    context.expect(lives.wait_for_abort(lives.start(FAILPOINTS="commit.sent=return"), 120), "commit.sent was not reached")
    said = last_pass(context, rig, ["events", "items"])
    context.expect("larger than its topic takes" in said, "the log does not name the record that was left out")
    context.equal(sorted(r["value"]["event_id"] for r in rig.read("bodies")), ["1", "3"], "rows")
    rejected = rig.read("events.rejected")
    context.equal([(r["headers"]["curb_length"], r["headers"]["curb_sha256"]) for r in rejected],
                  [(str(n_bytes), hashlib.sha256(big).hexdigest())], "the rejected record")
    context.expect(rejected[0]["value"] is None or len(rejected[0]["value"]) <= 65536, "the rejected record has all its bytes")
    lengths = {"big": n_bytes, "small": 1}
    context.equal({r["key"]: r["value"]["n"] for r in rig.read("lengths")}, lengths, "lengths")
    # The row is in the state: replacing it after a restart must withdraw exactly it.
    rig.send("items", [(b"big", None), (b"small", b'{"item_id":"small","at":%s,"body":"sm"}' % DAY.encode())])
    context.expect(lives.wait_for_abort(lives.start(FAILPOINTS="commit.done=return"), 120), "commit.done was not reached")
    last_pass(context, rig, ["events", "items"])
    found = [(r["key"], r["value"] and r["value"]["n"]) for r in rig.read("lengths")]
    context.equal(sorted(found, key=str), sorted([("big", n_bytes), ("small", 1), ("big", None), ("small", 2)], key=str), "changes")


CLOCK_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM events (event_id VARCHAR NOT NULL PRIMARY KEY, at TIMESTAMP WITH TIME ZONE NOT NULL, town VARCHAR)
WITH (topic = 'events', format = 'json', event_time = 'at', watermark_delay = '30 seconds', idle_timeout = '1 day',
      unique_for = '1 hour', max_future = '10 minutes');
CREATE SINK hourly WITH (topic = 'hourly', format = 'json') AS
SELECT window_start, town, count(*) AS n FROM events GROUP BY tumble(at, INTERVAL '1 hour'), town EMIT FINAL;
"""


def instant(ms):
    """RFC 3339 of milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def row(name, at_ms, town="t"):
    """An event at an instant."""
    return json.dumps({"event_id": name, "at": instant(at_ms), "town": town}).encode()


HOUR, MINUTE = 3_600_000, 60_000


def windows(records):
    """The content of `hourly` in milliseconds; no window comes twice."""
    found = {}
    for record in records:
        value = record["value"]
        at = calendar.timegm(time.strptime(value["window_start"][:19], "%Y-%m-%dT%H:%M:%S")) * 1000 - 8 * HOUR
        if (at, value["town"]) in found:
            raise AssertionError(f"the window of {value['window_start']} came twice")
        found[at, value["town"]] = value["n"]
    return found


def settled(rig):
    """Waits until the worker has committed everything that is in `events`."""
    topic = rig.topic("events")
    rig.wait_for("no lag", lambda: all(rig.committed(topic)[topic][p] == e["high"] for p, e in rig.ends(topic)[topic].items() if e["high"]))


@scenario("F13", seconds=40)
def clocks_that_are_wrong(context):
    """Events far in the future, record timestamps an hour off and stepping back: no window closes early.

    Guards: an event time beyond the record's own timestamp + max_future is rejected before it can move the watermark
    (format/json/decode.rs `max_future_ms`).
    """
    rig = context.rig(Rig("clock", context.place(), CLOCK_PACK))
    rig.create("events", 1, "retention.ms=-1", "message.timestamp.after.max.ms=9223372036854775807")
    start = 1_790_000_000_000 // HOUR * HOUR
    at = lambda minutes: start + minutes * MINUTE  # noqa: E731
    stamp = lambda ms: {"partition": 0, "timestamp": ms}  # noqa: E731
    worker = rig.start(environment=LOG)
    # A device whose clock is a year ahead, and ones that are ten minutes and a bit ahead of the broker's.
    rig.send("events", [(None, row("a", at(0)), stamp(at(0))), (None, row("year", at(365 * 24 * 60)), stamp(at(1))),
                        (None, row("ahead", at(12)), stamp(at(1))), (None, row("b", at(5)), stamp(at(1)))])
    settled(rig)
    # Timestamps of the log step back by an hour; the events themselves are in time.
    rig.send("events", [(None, row("c", at(7)), stamp(at(-53))), (None, row("d", at(8)), stamp(at(8))), (None, row("e", at(50)), stamp(at(50)))])
    settled(rig)
    context.equal(rig.read("hourly"), [], "windows closed before their time")
    context.ran(4)
    worker.kill()
    worker.wait()
    # The hour passes by the clock of the devices that are right.
    rig.send("events", [(None, row("f", at(61)), stamp(at(61))), (None, row("g", at(62)), stamp(at(62)))])
    last_pass(context, rig, ["events"])
    rig.send("events", [(None, row("h", at(125)), stamp(at(125)))])
    worker = rig.start(environment=LOG)
    rig.wait_for("two windows", lambda: len(rig.read("hourly")) >= 2, 30)
    rejected = sorted(int(r["headers"]["curb_offset"]) for r in rig.read("events.rejected"))
    context.equal(rejected, [1, 2, 4], "rejected: a year ahead, 11 minutes ahead, and an hour ahead of its own timestamp")
    context.equal(windows(rig.read("hourly")), {(start, "t"): 4, (start + HOUR, "t"): 2}, "windows")
    context.equal(rig.read("events.late"), [], "late records")
    worker.kill()
    worker.wait()
    last_pass(context, rig, ["events"])


@scenario("F14", seconds=40)
def devices_that_send_twice(context):
    """The same id again, within `unique_for` and beyond it, over restarts and kills: one effect within.

    Guards: the ids are part of the logged state (operators/deduplicate.rs), committed with the records that brought them.
    """
    rig = context.rig(Rig("twice", context.place(), CLOCK_PACK))
    rig.create("events", 1)
    start = 1_690_000_000_000 // HOUR * HOUR
    lives = Lives(context, rig)
    n, sent, counted = context.size(60, 400), [], {}
    for i in range(n):
        if sent and context.choose.random() < 0.4:
            name, at_ms = context.choose.choice(sent[-40:])
        else:
            name, at_ms = f"e{i}", start + i * 2 * MINUTE
            sent.append((name, at_ms))
        rig.send("events", [(None, row(name, at_ms))])
        if i % 15 == 7:
            step = context.choose.choice(["commit.sent", "commit.done", "commit.positions", "encode.done"])
            context.expect(lives.wait_for_abort(lives.start(FAILPOINTS=f"{step}=return"), 60), f"{step} was not reached")
        if i % 15 == 14:
            rig.catch_up()
    last_pass(context, rig, ["events"])
    # Closes all windows.
    rig.send("events", [(None, row("end", start + 400 * 24 * HOUR))])
    rig.catch_up()
    rig.send("events", [(None, row("end 2", start + 401 * 24 * HOUR))])
    worker = rig.start()
    for name, at_ms in sent:
        key = (at_ms // HOUR * HOUR, "t")
        counted[key] = counted.get(key, 0) + 1
    counted[(start + 400 * 24 * HOUR) // HOUR * HOUR, "t"] = 1
    rig.wait_for("all windows", lambda: len(rig.read("hourly")) >= len(counted), 60)
    context.equal(windows(rig.read("hourly")), counted, "events by hour; one that is sent again must not count again")
    worker.kill()
    worker.wait()
    n_late = len(rig.read("events.late"))
    context.note(f"{n - len(sent)} of {n} records were repetitions, {n_late} of them so late that their window was closed")
    last_pass(context, rig, ["events"])


@scenario("F15", seconds=40)
def shuffled_and_late_records(context):
    """Out of order within the delay: as if in order. Beyond it: counted as late, with the record in the side topic.

    No partition may be idle here, and one that lags holds the watermark back. Guards: the watermark is the least over all
    partitions (engine/watermark.rs) and is part of the committed state, so that a kill does not move it.
    """
    rig = context.rig(Rig("late", context.place(), CLOCK_PACK))
    rig.create("events", 2)
    start = 1_690_000_000_000 // HOUR * HOUR
    lives = Lives(context, rig)
    expected, n = {}, context.size(240, 3000)
    for name, partition, at_ms in shuffled(context, start, n):
        expected.setdefault((at_ms // HOUR * HOUR, "t"), []).append((name, partition, at_ms))
    records = [r for own in expected.values() for r in own]
    # Displaced by 25 seconds at most: within the delay of 30.
    records.sort(key=lambda r: r[2] + context.choose.randrange(25_000))
    parts = 8
    for part in range(parts):
        own = records[n * part // parts:n * (part + 1) // parts]
        rig.send("events", [(None, row(name, at_ms), {"partition": p}) for name, p, at_ms in own])
        step = context.choose.choice(["commit.sent", "commit.done", "encode.done"])
        if part % 2:
            context.expect(lives.wait_for_abort(lives.start(FAILPOINTS=f"{step}=return"), 60), f"{step} was not reached")
        else:
            rig.catch_up()
    last_pass(context, rig, ["events"])
    context.equal(rig.read("events.late"), [], "late records among those within the delay")
    end = max(at_ms for _, _, at_ms in records)
    # The watermark passes everything, on both partitions; then come records of closed hours.
    for i in range(2):
        rig.send("events", [(None, row(f"end {i} {p}", end + (2 + i) * 24 * HOUR), {"partition": p}) for p in (0, 1)])
        rig.catch_up()
    late = [(None, row(f"late {i}", start + i * MINUTE), {"partition": i % 2}) for i in range(20)]
    rig.send("events", late[:10])
    context.expect(lives.wait_for_abort(lives.start(FAILPOINTS="commit.sent=return"), 60), "commit.sent was not reached")
    rig.send("events", late[10:])
    last_pass(context, rig, ["events"])
    found = windows(rig.read("hourly"))
    wanted = {key: len(own) for key, own in expected.items()}
    context.equal({k: v for k, v in found.items() if k in wanted}, wanted, "windows of records within the delay")
    side = rig.read("events.late")
    places = [(r["headers"]["curb_partition"], r["headers"]["curb_offset"]) for r in side]
    context.equal((len(side), len(set(places))), (20, 20), "late records, each once")
    context.equal({r["headers"]["curb_reason"] for r in side}, {"late"}, "reasons")
    context.equal(repeated_ids({"hourly": rig.read("hourly")}), [], "ids")
    context.note(f"{n} records shuffled over two partitions, {len(wanted)} windows, 20 late records")


def shuffled(context, start, n):
    """Records of some hours, on two partitions."""
    return [(f"e{i}", context.choose.randrange(2), start + i * 5 * HOUR // n) for i in range(n)]


IDLE_PACK = """
SET TIME ZONE = 'Asia/Shanghai';
CREATE STREAM events (event_id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL)
WITH (topic = 'events', format = 'json', event_time = 'at', watermark_delay = '2 seconds', idle_timeout = '2 seconds');
CREATE SINK counted WITH (topic = 'counted', format = 'json') AS
SELECT window_start, count(*) AS n FROM events GROUP BY tumble(at, INTERVAL '2 seconds') EMIT FINAL;
"""


@scenario("F15", seconds=60)
def idle_partitions(context):
    """A partition that is silent holds no window back; one that lags is not silent, also after an outage.

    Guards: idle is only who was read to the end the broker confirms, behind the timeout (kafka/partition_progress.rs), and
    a partition that was not read since the start is not (engine/watermark.rs).
    """
    rig = context.rig(Rig("idle", context.place(), IDLE_PACK))
    rig.create("events", 3)
    sent = []
    n_counted = lambda: sum(r["value"]["n"] for r in rig.read("counted"))  # noqa: E731

    def send(partition, ago_ms=0):
        sent.append(partition)
        at_ms = int(time.time() * 1000) - ago_ms
        rig.send("events", [(None, json.dumps({"event_id": f"e{len(sent)}", "at": instant(at_ms)}).encode(), {"partition": partition})])

    worker = rig.start(environment=LOG)
    # Partition 2 never has a record, and 1 falls silent; 0 goes on.
    send(1)
    until = time.monotonic() + 30
    while not rig.read("counted"):
        context.expect(time.monotonic() < until, f"no window closed while partitions were silent: {rig.log()[-2000:]}")
        send(0)
        time.sleep(0.2)
    # All are silent: the clock closes what is left.
    rig.wait_for("all windows, by the clock", lambda: n_counted() == len(sent), 30)
    # Who wakes up is in time, and holds the watermark from then on.
    send(1)
    send(0)
    rig.wait_for("the windows of who woke up", lambda: n_counted() == len(sent), 30)
    for _ in range(context.size(2, 10)):
        worker.kill()
        worker.wait()
        context.ran()
        # An outage: records of one partition are older than those of the other by far more than delay and timeout.
        for _ in range(5):
            send(0)
            time.sleep(0.3)
        for ago_ms in (1400, 1000, 600):
            send(1, ago_ms)
        time.sleep(3 * context.choose.random())
        worker = rig.start(environment=LOG)
        rig.wait_for("the windows of the backlog", lambda: n_counted() == len(sent), 60)
    context.equal(rig.read("events.late"), [], "late records")
    context.equal(repeated_ids({"counted": rig.read("counted")}), [], "ids")
    # Too late is who comes when the clock has closed its window.
    send(2, ago_ms=60_000)
    rig.wait_for("a late record", lambda: len(rig.read("events.late")) == 1, 30)
    worker.kill()
    worker.wait()
    last_pass(context, rig, ["events"])
    context.note(f"{len(sent)} records over three partitions, one of them empty for long")
