#!/usr/bin/env python3
"""Writes the Grafana dashboard of the chart, helm/curb/files/dashboard.json.

A dashboard as JSON is a thousand lines of which forty mean something; these stand here. Run it after a change; a test
compares.
"""
import json
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "helm/curb/files/dashboard.json"
PODS = 'namespace="$namespace", pod=~"$pod"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

# A row is its title and its panels; a panel is title, unit, help, and queries as (expression, legend).
ROWS = [
    ("At a glance", [
        ("stat", "Ready pods", "none", "Pods that have their partitions and their state.",
         [(f'sum(kube_pod_status_ready{{{PODS}, condition="true"}})', "")]),
        ("stat", "Records a second", "cps", "Read and committed, all sources.",
         [(f"sum(rate(curb_records_consumed_total{{{PODS}}}[$__rate_interval]))", "")]),
        ("stat", "Rows written a second", "cps", "Committed, all sinks.",
         [(f"sum(rate(curb_records_produced_total{{{PODS}}}[$__rate_interval]))", "")]),
        ("stat", "Records that wait", "short", "Records in the topics that have not been read. The greatest source.",
         [(f"max(sum by (source) (curb_consumer_lag_records{{{PODS}}}))", "")]),
        ("stat", "Latency p99", "s", "From a record's timestamp to the commit of what follows from it. Says how fast the pipeline "
         "and its devices are, not how current event time is.",
         [(f"histogram_quantile(0.99, sum by (le) (rate(curb_e2e_latency_seconds_bucket{{{PODS}}}[$__rate_interval])))", "")]),
        ("stat", "Version", "none", "The version of the program, by pod.", [(f"count by (version) (curb_build_info{{{PODS}}})", "{{version}}")]),
    ]),
    ("Rate, errors, duration", [
        ("timeseries", "Records by source", "cps", "Read and committed.",
         [(f'sum by (source) (rate(curb_records_consumed_total{{{PODS}, source=~"$source"}}[$__rate_interval]))', "{{source}}")]),
        ("timeseries", "Rows by sink", "cps", "Committed.",
         [(f'sum by (sink) (rate(curb_records_produced_total{{{PODS}, sink=~"$sink"}}[$__rate_interval]))', "{{sink}}")]),
        ("timeseries", "Rows by kind", "cps", "By the column that the sink's option count_by names, for instance the action.",
         [(f'sum by (sink, kind) (rate(curb_sink_rows_total{{{PODS}, sink=~"$sink"}}[$__rate_interval]))', "{{sink}}: {{kind}}")]),
        ("timeseries", "Records that could not be used", "cps", "Rejected and late, by source. They are in the topics .rejected and .late.",
         [(f'sum by (source, fate) (rate(curb_records_consumed_total{{{PODS}, source=~"$source", fate=~"rejected|late"}}[$__rate_interval])) > 0',
           "{{source}}: {{fate}}")]),
        ("timeseries", "Why records were rejected", "cps", "By source and reason.",
         [(f'sum by (source, reason) (rate(curb_records_rejected_total{{{PODS}, source=~"$source"}}[$__rate_interval])) > 0', "{{source}}: {{reason}}")]),
        ("timeseries", "Duplicates", "cps", "Records that change nothing.",
         [(f'sum by (source) (rate(curb_records_consumed_total{{{PODS}, source=~"$source", fate="duplicate"}}[$__rate_interval])) > 0', "{{source}}")]),
        ("timeseries", "Rows left out", "cps", "An expression has no result for them, or their topic does not take them.",
         [(f"sum(rate(curb_failed_rows_total{{{PODS}}}[$__rate_interval]))", "failed"),
          (f"sum by (output) (rate(curb_records_undeliverable_total{{{PODS}}}[$__rate_interval]))", "undeliverable: {{output}}")]),
        ("timeseries", "Latency", "s", "From a record's timestamp to the commit of what follows from it.",
         [(f"histogram_quantile({q}, sum by (le) (rate(curb_e2e_latency_seconds_bucket{{{PODS}}}[$__rate_interval])))", f"p{n}")
          for q, n in ((0.5, 50), (0.95, 95), (0.99, 99))]),
        ("timeseries", "Freshness p95", "s", "From a record's event time to the commit of what follows from it: with the time that the device and "
         "the network took. A source that sends late shows here; the program is not slow for it.",
         [(f'histogram_quantile(0.95, sum by (source, le) (rate(curb_event_latency_seconds_bucket{{{PODS}, source=~"$source"}}[$__rate_interval])))', "{{source}}")]),
        ("timeseries", "Duration of an epoch", "s", "From its first record to its commit.",
         [(f"histogram_quantile({q}, sum by (le) (rate(curb_epoch_duration_seconds_bucket{{{PODS}}}[$__rate_interval])))", f"p{n}")
          for q, n in ((0.5, 50), (0.99, 99))]),
        ("timeseries", "Where an epoch spends its time", "percentunit", "Seconds of each stage in a second; poll includes waiting for records.",
         [(f"sum by (stage) (rate(curb_stage_duration_seconds_sum{{{PODS}}}[$__rate_interval]))", "{{stage}}")]),
    ]),
    ("Lag and event time", [
        ("timeseries", "Records that wait", "short", "Records in the topics that have not been read.",
         [(f'sum by (source) (curb_consumer_lag_records{{{PODS}, source=~"$source"}})', "{{source}}")]),
        ("timeseries", "Seconds behind", "s", "How old the newest record read is of the partition that is most behind; 0 if all is read.",
         [(f'max by (source) (curb_consumer_lag_seconds{{{PODS}, source=~"$source"}})', "{{source}}")]),
        ("timeseries", "Partitions that are most behind", "short", "Records that have not been read, the ten greatest.",
         [(f'topk(10, sum by (source, partition) (curb_partition_lag_records{{{PODS}, source=~"$source"}}) > 0)', "{{source}} {{partition}}")]),
        ("timeseries", "Watermarks behind the clock", "s", "How current the data is, not how fast it is handled: a source that sends late "
         "shows here and not in the lag. The worst pod.",
         [(f'max by (relation) (curb_relation_watermark_lag_seconds{{{PODS}, relation=~"$relation"}})', "{{relation}}")]),
        ("timeseries", "Rows out of relations", "cps", "What each step of the rules hands on.",
         [(f'sum by (relation) (rate(curb_relation_rows_total{{{PODS}, relation=~"$relation", direction="out"}}[$__rate_interval]))', "{{relation}}")]),
        ("timeseries", "Changes after the close", "short", "Changes of a bucket whose final rows had left, since the last restore.",
         [(f'sum by (relation) (curb_changes_after_close{{{PODS}, relation=~"$relation"}}) > 0', "{{relation}}")]),
    ]),
    ("Transactions and sinks", [
        ("timeseries", "Transactions", "ops", "Epochs handed to the brokers, by result.",
         [(f"sum by (result) (rate(curb_transactions_total{{{PODS}}}[$__rate_interval]))", "{{result}}")]),
        ("timeseries", "Duration of a transaction", "s", "p99, by result.",
         [(f"histogram_quantile(0.99, sum by (result, le) (rate(curb_transaction_duration_seconds_bucket{{{PODS}}}[$__rate_interval])))", "{{result}}")]),
        ("timeseries", "Time since the last commit", "s", "By pod. Grows also where nothing arrives and no timer is due.",
         [(f"time() - max by (pod) (curb_last_commit_timestamp_seconds{{{PODS}}})", "{{pod}}")]),
        ("timeseries", "Answers of the brokers", "s", "p99 of the broker that takes longest, by client.",
         [(f'max by (client) (curb_kafka_client_rtt_seconds{{{PODS}, stat="p99"}})', "{{client}}")]),
        ("timeseries", "Restores, rebalances, new producers", "short", "In the last hour.",
         [(f"sum by (pod) (increase(curb_rebalances_total{{{PODS}}}[1h]))", "rebalances: {{pod}}"),
          (f"sum by (pod) (increase(curb_restarts_total{{{PODS}}}[1h]))", "restores: {{pod}}"),
          (f"sum by (pod) (increase(curb_producer_replaced_total{{{PODS}}}[1h]))", "new producers: {{pod}}")]),
        ("timeseries", "Keys that wait in sinks", "short", "Held back by a pause, max_rate, settle, or the bound of an epoch.",
         [(f'sum by (sink) (curb_sink_waiting_keys{{{PODS}, sink=~"$sink"}})', "{{sink}}")]),
        ("state", "Paused sinks", "bool", "Paused by hand, or because a sink exceeded its max_rate.",
         [(f'max by (sink) (curb_sink_paused{{{PODS}, sink=~"$sink"}})', "{{sink}}")]),
    ]),
    ("State and restore", [
        ("timeseries", "State in memory", "bytes", "By relation.",
         [(f'sum by (relation) (curb_state_bytes{{{PODS}, relation=~"$relation"}})', "{{relation}}")]),
        ("timeseries", "Rows of state", "short", "Rows or keys, by relation.",
         [(f'sum by (relation) (curb_state_rows{{{PODS}, relation=~"$relation"}})', "{{relation}}")]),
        ("timeseries", "State logged", "Bps", "To the state topic.",
         [(f"sum(rate(curb_state_logged_bytes_total{{{PODS}}}[$__rate_interval]))", "logged")]),
        ("timeseries", "Duration of the last restore", "s", "By pod.", [(f"max by (pod) (curb_state_restore_seconds{{{PODS}}})", "{{pod}}")]),
        ("state", "What the worker does", "bool", "Starting, restoring and loading are the way to running. Until then nothing leaves.",
         [(f"max by (pod, phase) (curb_worker_phase{{{PODS}}}) == 1", "{{pod}}: {{phase}}")]),
        ("timeseries", "State behind the snapshots", "bytes", "What a restart reads of the state topic.",
         [(f"max by (pod) (curb_snapshot_behind_bytes{{{PODS}}})", "{{pod}}")]),
        ("timeseries", "Snapshots and rewrites", "short", "In the last hour.",
         [(f"sum by (result) (increase(curb_snapshots_total{{{PODS}}}[1h]))", "snapshots {{result}}"),
          (f"sum(increase(curb_state_rewrites_total{{{PODS}}}[1h]))", "rewrites"),
          (f"sum by (result) (increase(curb_state_cuts_total{{{PODS}}}[1h]))", "cuts {{result}}")]),
        ("timeseries", "Snapshots on the volume", "bytes", "By pod.", [(f"sum by (pod) (curb_snapshot_bytes{{{PODS}}})", "{{pod}}")]),
    ]),
    ("Resources", [
        ("timeseries", "Processor", "short", "Cores in use, by pod.",
         [(f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{PODS}, container="curb"}}[$__rate_interval]))', "{{pod}}")]),
        ("timeseries", "Memory", "bytes", "In use, and the limit.",
         [(f'max by (pod) (container_memory_working_set_bytes{{{PODS}, container="curb"}})', "{{pod}}"),
          (f'max(kube_pod_container_resource_limits{{{PODS}, container="curb", resource="memory"}})', "limit")]),
        ("timeseries", "Volumes", "percentunit", "The share that is in use.",
         [('1 - kubelet_volume_stats_available_bytes{namespace="$namespace", persistentvolumeclaim=~"state-$pod"}'
           ' / kubelet_volume_stats_capacity_bytes{namespace="$namespace", persistentvolumeclaim=~"state-$pod"}', "{{persistentvolumeclaim}}")]),
    ]),
]


def variable(name, label, query, multi=True, all_value=".*"):
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": multi, "includeAll": multi,
        **({"allValue": all_value} if multi and all_value else {}),
        **({"current": {"text": "All", "value": "$__all"}} if multi else {}),
    }


def panel(number, kind, title, unit, description, queries, place):
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto",
         **({"instant": True} if kind == "stat" else {})}
        for i, (expression, legend) in enumerate(queries)
    ]
    defaults = {"unit": unit, "min": 0}
    options = {}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        options = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}, "tooltip": {"mode": "multi", "sort": "desc"}}
    elif kind == "stat":
        options = {"colorMode": "none", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
        if title == "Version":
            options["textMode"] = "name"
    return {
        "id": number, "type": "state-timeline" if kind == "state" else kind, "title": title, "description": description,
        "datasource": SOURCE, "gridPos": place, "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
    }


def dashboard():
    panels, y, number = [], 0, 0
    for title, members in ROWS:
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        is_small = all(member[0] == "stat" for member in members)
        width, height = (24 // len(members), 4) if is_small else (8, 8)
        for i, member in enumerate(members):
            number += 1
            x, row = i * width % 24, i * width // 24
            panels.append(panel(number, *member, {"x": x, "y": y + row * height, "w": width, "h": height}))
        y += height * -(-len(members) * width // 24)
    return {
        "title": "Curb", "uid": "curb", "tags": ["curb", "kafka"], "timezone": "browser", "schemaVersion": 39, "editable": True,
        "time": {"from": "now-3h", "to": "now"}, "refresh": "30s", "graphTooltip": 1, "panels": panels,
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
            variable("namespace", "Namespace", "label_values(curb_build_info, namespace)", multi=False),
            # All are those listed: the namespace has pods that are not Curb's.
            variable("pod", "Pod", 'label_values(curb_build_info{namespace="$namespace"}, pod)', all_value=None),
            variable("source", "Source", f"label_values(curb_records_consumed_total{{{PODS}}}, source)"),
            variable("sink", "Sink", f"label_values(curb_records_produced_total{{{PODS}}}, sink)"),
            variable("relation", "Relation", f"label_values(curb_state_bytes{{{PODS}}}, relation)"),
        ]},
        "annotations": {"list": [
            {"name": "Starts", "datasource": SOURCE, "enable": True, "iconColor": "blue", "titleFormat": "worker started: {{pod}}",
             "expr": f'changes(kube_pod_container_state_started{{{PODS}, container="curb"}}[1m]) > 0', "step": "60s"},
            {"name": "Versions", "datasource": SOURCE, "enable": True, "iconColor": "purple", "titleFormat": "version {{version}}",
             "expr": f"count by (version) (curb_build_info{{{PODS}}}) unless count by (version) (curb_build_info{{{PODS}}} offset 2m)", "step": "60s"},
        ]},
    }


def text():
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    print(f"{FILE}: written", file=sys.stderr)
