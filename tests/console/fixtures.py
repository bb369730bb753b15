"""Answers of a worker that the demo does not give: for what can only be seen when something is wrong, or with other rules."""

import math

HOSTILE = "<img src=x onerror=alert(1)><script>alert('\"')</script>"

REFUSED = [
    {"at_ms": 1_700_000_002_000, "fate": "rejected", "relation": "captures", "partition": 2, "offset": 77, "reason": HOSTILE,
     "length": 57, "raw": HOSTILE},
    {"at_ms": 1_700_000_001_000, "fate": "late", "relation": "passages", "partition": 0, "offset": 12, "reason": "late",
     "length": 243, "raw": None},
]

ROWS = {"newest": 2, "rows_max": 20, "rows": [
    {"seq": 2, "at_ms": 1_700_000_002_000, "sink": "disposal_actions", "deleted": False, "key": "P1", "id": "P1/2024-03/it's/4",
     "values": [["action_id", "P1/2024-03/it's/4"], ["action", HOSTILE], ["name", None], ["evidence", ["A1", "A2"]], ["points", None]],
     "masked": ["name"]},
    {"seq": 1, "at_ms": 1_700_000_001_000, "sink": "integrity_scores", "deleted": True, "key": "P2", "id": "P2",
     "values": [["person_id", "P2"]], "masked": []},
]}


def ring(lon, lat, size=0.006):
    corners = [(math.pi / 3 * i + 0.3) for i in range(6)]
    return [[lon + size * math.cos(a) / math.cos(math.radians(lat)), lat + size * math.sin(a)] for a in corners]


def map_cells():
    cells = []
    for i in range(-7, 8):
        for k in range(-7, 8):
            z = 5.2 * math.exp(-((i - 2) ** 2 + (k + 1) ** 2) / 6) + 2.8 * math.exp(-((i + 4) ** 2 + (k - 3) ** 2) / 4) - 2.3 * ((i * 7 + k * 3) % 5 == 0)
            if (i * 5 + k * 11) % 3 == 0:
                continue
            lon, lat = 116.3 + 0.0118 * (i + 0.5 * (k % 2)) / math.cos(math.radians(37.4)), 37.45 + 0.0102 * k
            cells.append({"cell": f"8831a{(i + 8) * 16 + k + 8:03x}fffffff"[:15], "ring": ring(lon, lat), "at_ms": 1_700_000_000_000, "rows": 1,
                          "values": [["window_start", "2024-01-01T00:00:00.000+08:00"], ["n", 1 + int(abs(z) * 3)], ["epdo", 1 + int(abs(z) * 9)],
                                     ["z_count", round(z, 3)], ["z_epdo", None]]})
    return {"sink": "hotspot_scores", "columns": ["n", "epdo", "z_count", "z_epdo"], "window": "2024-01-01T00:00:00.000+08:00",
            "n_left_out": 0, "cells": cells}


MAP_LAYERS = {"layers": [{"sink": "hotspot_scores", "n_cells": 150}]}


def in_phase(status, phase, level, reasons):
    """The status as it is while a worker starts, or after it has stopped."""
    status = dict(status, phase=phase, health={"level": level, "reasons": reasons})
    if phase == "loading":
        status["sources"] = [dict(s, lag=183_000 + 7 * i) for i, s in enumerate(status["sources"])]
    return status
