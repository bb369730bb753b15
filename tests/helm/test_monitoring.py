"""Alerts fire when they should and not otherwise, name a runbook that exists, and measure what the program measures."""
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from chart import CHART, HERE, ROOT, one, rendered, values_of

PROMETHEUS = CHART / "ci/prometheus-values.yaml"
TUNED = CHART / "ci/alerts-tuned-values.yaml"
CASES = HERE / "alerts.test.yaml"
OPERATIONS = ROOT / "helm/OPERATIONS.md"
# Of Kubernetes, its kubelet, kube-state-metrics, cert-manager and Prometheus itself.
FOREIGN = {
    "up", "kube_statefulset_replicas", "kube_pod_status_ready", "kube_pod_container_status_ready", "kube_pod_container_state_started",
    "kube_pod_container_status_last_terminated_exitcode", "kube_pod_container_status_restarts_total", "kube_pod_container_resource_limits",
    "kube_pod_init_container_status_waiting_reason", "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes",
    "container_memory_working_set_bytes", "container_cpu_usage_seconds_total", "certmanager_certificate_expiration_timestamp_seconds",
}


def measured():
    """The names of the program's measurements with their labels, from its sources."""
    files = [ROOT / "src/metrics.rs", *sorted((ROOT / "src/metrics").glob("*.rs"))]
    text = "\n".join(file.read_text() for file in files)
    names = set(re.findall(r'"((?:curb|process)_[a-z0-9_]+)"', text))
    histograms = set(re.findall(r'(?:describe_histogram|histogram)!\(\s*"(\w+)"', text))
    constants = dict(re.findall(r'pub const (\w+): &str = "(curb_\w+)"', text))
    histograms |= {constants[name] for name in re.findall(r"histogram!\((\w+)", text) if name in constants}
    return names | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def used(expression):
    """The names of measurements in a query."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    return {name for name in re.findall(r"\b[a-z][a-z0-9]*_[a-z0-9_]+\b|\bup\b", bare) if not re.search(rf"\b{name}\s*\(", bare)}


def rules(values=PROMETHEUS):
    return one(rendered(values), "PrometheusRule")["spec"]["groups"]


def alerts(values=PROMETHEUS):
    return [rule for group in rules(values) for rule in group["rules"] if "alert" in rule]


def load_cases():
    """All values as text: `0x30` is thirty times 0 here, but the number 48 in YAML, and for promtool too."""
    cases = yaml.load(CASES.read_text(), Loader=yaml.BaseLoader)
    for case in cases:
        case["series"] = {series: re.sub(r"(^| )0x", r"\g<1>0+0x", values) for series, values in case["series"].items()}
    return cases


class Alerts(unittest.TestCase):
    def promtool(self, *arguments, groups, cases=None):
        with tempfile.TemporaryDirectory() as tmp:
            (Path(tmp) / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
            if cases:
                (Path(tmp) / "cases.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": cases}))
            return subprocess.run(["promtool", *arguments], cwd=tmp, capture_output=True, text=True, check=False)

    def test_prometheus_takes_the_rules(self):
        for values in (PROMETHEUS, TUNED):
            done = self.promtool("check", "rules", "rules.yaml", groups=rules(values))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"{len([r for g in rules(values) for r in g['rules']])} rules found", done.stdout)

    def test_alerts_fire_when_they_should_and_not_otherwise(self):
        # Of the annotations only the summary is compared: it is the one with a value in it.
        rules_of = {alert["alert"]: alert | {"annotations": {"summary": alert["annotations"]["summary"]}} for alert in alerts()}
        cases = [self.case(case, rules_of) for case in load_cases()]
        done = self.promtool("test", "rules", "cases.yaml", groups=[{"name": "alerts", "rules": list(rules_of.values())}], cases=cases)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def case(self, case, rules_of):
        """A case of alerts.test.yaml as promtool wants it."""
        def expected(name, alert):
            labels = alert.get("labels", {})
            if labels:
                labels = labels | {"namespace": "streaming"}
            elif "by (namespace" in rules_of[name]["expr"]:
                labels = {"namespace": "streaming"}
            return {"exp_labels": rules_of[name]["labels"] | labels, "exp_annotations": {"summary": alert["summary"]}}
        fires = [{"eval_time": case["at"], "alertname": name, "exp_alerts": [expected(name, alert)]} for name, alert in case.get("fires", {}).items()]
        silent = [{"eval_time": case["at"], "alertname": name, "exp_alerts": []} for name in case.get("silent", [])]
        pod = 'namespace="streaming", pod="rel-curb-0"'
        series = [{"series": re.sub(r"\{pod\b", "{" + pod, s), "values": v} for s, v in case["series"].items()]
        return {"name": case["name"], "interval": "1m", "input_series": series, "alert_rule_test": fires + silent}

    def test_every_alert_has_a_case_that_fires_and_one_that_does_not(self):
        cases = load_cases()
        names = {alert["alert"] for alert in alerts()}
        self.assertEqual({name for case in cases for name in case.get("fires", {})}, names)
        self.assertEqual({name for case in cases for name in case.get("silent", [])}, names)

    def test_every_alert_names_a_runbook_that_exists(self):
        text = OPERATIONS.read_text()
        anchors = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}
        for alert in alerts():
            address, anchor = alert["annotations"]["runbook_url"].split("#")
            self.assertEqual(address, "https://wiki.example.com/curb/OPERATIONS")
            self.assertIn(anchor, anchors)
        for alert in alerts(TUNED):
            self.assertTrue(alert["annotations"]["runbook_url"].startswith("helm/OPERATIONS.md#"))

    def test_every_runbook_says_what_it_means_how_to_look_and_what_to_do(self):
        text = OPERATIONS.read_text()
        for alert in alerts():
            section = re.search(rf"^### {alert['alert']}\n(.*?)(?=^##)", text + "\n##", re.M | re.S)
            for part in ("**Means**", "**Look**", "**Do**"):
                self.assertIn(part, section[1], alert["alert"])

    def test_alerts_measure_what_exists(self):
        known = measured() | FOREIGN
        for alert in alerts():
            names = used(alert["expr"])
            self.assertTrue(names, alert["alert"])
            self.assertEqual(names - known, set(), alert["alert"])
        self.assertEqual(used('rate(curb_gone_total{a="x"}[5m])') - known, {"curb_gone_total"})

    def test_alerts_are_of_this_release_only_and_say_how_grave_they_are(self):
        for alert in alerts():
            self.assertIn('namespace="streaming"', alert["expr"])
            self.assertNotIn("@", alert["expr"])
            self.assertIn(alert["labels"]["severity"], ("critical", "warning", "info"))
            self.assertEqual(alert["labels"]["pipeline"], "rel-curb")
            self.assertEqual(alert["labels"]["team"], "traffic")
            self.assertLess(len(alert["annotations"]["summary"]), 120)

    def test_alerts_can_be_left_out_tuned_and_added_to(self):
        tuned = {alert["alert"]: alert for alert in alerts(TUNED)}
        left_out = values_of(TUNED)["metrics"]["prometheusRule"]["disabled"]
        self.assertEqual({alert["alert"] for alert in alerts()} - set(tuned), set(left_out))
        self.assertIn("> 120", tuned["CurbLagHigh"]["expr"])
        self.assertEqual(tuned["CurbStartSlow"]["for"], "60m")
        self.assertEqual(rules(TUNED)[0]["rules"][-1]["record"], "curb:records:rate5m")
        # Labels of one's own go before the chart's.
        self.assertEqual({alert["labels"]["severity"] for alert in tuned.values()}, {"page"})

    def test_a_name_that_is_left_out_must_exist(self):
        names = {alert["alert"] for alert in alerts()}
        self.assertLessEqual(set(values_of(TUNED)["metrics"]["prometheusRule"]["disabled"]), names)


class Dashboard(unittest.TestCase):
    def setUp(self):
        text = one(rendered(PROMETHEUS), "ConfigMap", "rel-curb-dashboard")["data"]["curb.json"]
        self.dashboard = json.loads(text)
        self.panels = [panel for panel in self.dashboard["panels"] if panel["type"] != "row"]

    def test_every_panel_has_a_unit_a_description_and_the_chosen_data_source(self):
        self.assertGreater(len(self.panels), 25)
        for panel in self.panels:
            with self.subTest(panel["title"]):
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertTrue(panel["description"])
                for part in (panel, *panel["targets"]):
                    self.assertEqual(part["datasource"]["uid"], "${datasource}")

    def test_every_query_measures_what_exists_and_prometheus_can_read_it(self):
        known = measured() | FOREIGN
        expressions = [target["expr"] for panel in self.panels for target in panel["targets"]]
        expressions += [a["expr"] for a in self.dashboard["annotations"]["list"]]
        for expression in expressions:
            self.assertTrue(used(expression))
            self.assertEqual(used(expression) - known, set(), expression)
        filled = [re.sub(r"\$__rate_interval", "5m", e) for e in expressions]
        groups = [{"name": "dashboard", "rules": [{"record": f"panel:{i}", "expr": e} for i, e in enumerate(filled)]}]
        with tempfile.TemporaryDirectory() as tmp:
            (Path(tmp) / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
            done = subprocess.run(["promtool", "check", "rules", f"{tmp}/rules.yaml"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_variables_that_are_used_are_declared_and_the_other_way_round(self):
        declared = {variable["name"] for variable in self.dashboard["templating"]["list"]}
        text = json.dumps(self.dashboard)
        named = set(re.findall(r"\$\{?([a-z]\w*)\}?", text)) - {"__all"}
        self.assertEqual(declared, named)

    def test_all_pods_are_those_of_curb(self):
        """`.*` would be every pod of the namespace."""
        variables = {variable["name"]: variable for variable in self.dashboard["templating"]["list"]}
        self.assertTrue(variables["pod"]["includeAll"])
        self.assertNotIn("allValue", variables["pod"])
        self.assertEqual(variables["source"]["allValue"], ".*")

    def test_panels_do_not_lie_on_one_another(self):
        places = [(p["gridPos"]["x"] + dx, p["gridPos"]["y"] + dy)
                  for p in self.dashboard["panels"] for dx in range(p["gridPos"]["w"]) for dy in range(p["gridPos"]["h"])]
        self.assertEqual(len(places), len(set(places)))
        self.assertLess(max(x for x, _ in places), 24)

    def test_grafana_finds_it(self):
        labels = one(rendered(PROMETHEUS), "ConfigMap", "rel-curb-dashboard")["metadata"]["labels"]
        self.assertEqual(labels["grafana_dashboard"], "1")

    def test_prometheus_finds_the_pods(self):
        resources = rendered(PROMETHEUS)
        monitor = one(resources, "ServiceMonitor")["spec"]
        service = one(resources, "Service")
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        self.assertIn(monitor["endpoints"][0]["port"], [port["name"] for port in service["spec"]["ports"]])
