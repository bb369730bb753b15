"""What must not be accepted is refused, with a sentence that helps; and every value is documented."""
import json
import re
import tempfile
import unittest

import dashboard
import readme
import yaml
from chart import CHART, CI, UPDATES, inline, schema, template, values_of


def paths(values, prefix=""):
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


class Refusals(unittest.TestCase):
    def refusal(self, *, apis=(), **values):
        with tempfile.TemporaryDirectory() as tmp:
            done = template(inline(tmp, **values), apis=apis)
        self.assertNotEqual(done.returncode, 0, f"accepted: {values}")
        return done.stderr

    def test_every_combination_that_cannot_work_is_refused_with_reason_and_remedy(self):
        sasl = {"mechanism": "SCRAM-SHA-512", "existingSecret": "s"}
        tls = {"enabled": True, "existingSecret": "s"}
        console = {"enabled": True, "auth": {"existingSecret": "s"}}
        cases = [
            ({"kafka": {"bootstrapServers": ""}}, "kafka.bootstrapServers is empty"),
            ({"kafka": {"bootstrapServers": "kafka"}}, "write host:port"),
            ({"pipeline": {"emitFrom": "yesterday"}}, "write earliest, now, or a timestamp"),
            ({"pipeline": {"name": "a b"}}, "only letters, digits"),
            ({"rules": {"pack": ""}}, "there are no rules"),
            ({"rules": {"inline": {"a.sql": "SELECT 1"}}}, "choose one"),
            ({"rules": {"pack": "", "inline": {"a.csv": "a"}}}, "ends in .sql"),
            ({"kafka": {"sasl": {"mechanism": "SCRAM-SHA-512"}}}, "kafka.sasl.existingSecret is not"),
            ({"kafka": {"sasl": {"existingSecret": "s"}}}, "kafka.sasl.mechanism is not"),
            ({"kafka": {"sasl": sasl | {"mechanism": "PLAIN"}}}, "in the clear"),
            ({"kafka": {"tls": {"existingSecret": "s"}}}, "TLS is off"),
            ({"kafka": {"tls": {"clientCertificate": True}}}, "TLS is off"),
            ({"kafka": {"tls": {"enabled": True, "clientCertificate": True}}}, "kafka.tls.existingSecret is empty"),
            ({"kafka": {"properties": {"security.protocol": "SSL"}}}, "the chart sets it"),
            ({"kafka": {"properties": {"sasl.password": "x"}}}, "no place for a secret"),
            ({"kafka": {"properties": {"ssl.key.pem": "x"}}}, "no place for a secret"),
            ({"kafka": {"properties": {"group.id": "x"}}}, "curb sets it itself"),
            ({"kafka": {"tls": tls, "properties": {"ssl.ca.location": "x"}}}, "`ssl.ca.location`: the chart sets it"),
            ({"kafka": {"tls": tls | {"clientCertificate": True}, "properties": {"ssl.certificate.location": "x"}}}, "`ssl.certificate.location`: the chart"),
            ({"kafka": {"tls": tls | {"clientCertificate": True}, "properties": {"ssl.key.location": "x"}}}, "`ssl.key.location`: the chart sets it"),
            ({"schemaRegistry": {"user": "u", "existingSecret": "s"}}, "schemaRegistry.url is not"),
            ({"schemaRegistry": {"url": "http://r", "user": "u"}}, "belong together"),
            ({"autoscaling": {"enabled": True}, "keda": {"enabled": True}}, "choose one"),
            ({"autoscaling": {"enabled": True, "minReplicas": 3}}, "autoscaling.minReplicas is greater"),
            ({"keda": {"enabled": True, "minReplicas": 2, "topics": ["t"]}}, "keda.minReplicas is greater"),
            ({"keda": {"enabled": True, "minReplicas": 0}}, "keda.topics is empty"),
            ({"keda": {"enabled": True, "topics": ["t"]}}, "nothing to decide"),
            ({"replicaCount": 2}, "exit code 6"),
            ({"keda": {"enabled": True, "maxReplicas": 3, "topics": ["t"]}}, "runs a pipeline in one pod"),
            ({"autoscaling": {"enabled": True, "maxReplicas": 3}}, "runs a pipeline in one pod"),
            ({"pipeline": {"multipleWorkers": True}, "replicaCount": 9}, "has 8 shards"),
            ({"pipeline": {"multipleWorkers": True, "shards": 4}, "autoscaling": {"enabled": True, "maxReplicas": 5}}, "has 4 shards"),
            ({"pipeline": {"multipleWorkers": True, "shards": 4}, "keda": {"enabled": True, "maxReplicas": 5, "topics": ["t"]}}, "has 4 shards"),
            ({"console": {"enabled": True}}, "without authentication"),
            ({"console": {"auth": {"adminTokenKey": "a"}}}, "console.auth.existingSecret is not"),
            ({"console": {"enabled": True, "auth": {"userHeader": "X-User"}}}, "networkPolicy.enabled=true"),
            ({"console": {"ingress": {"enabled": True}}}, "console.enabled is not"),
            ({"console": {"enabled": True, "auth": {"existingSecret": "s"}, "ingress": {"enabled": True}}}, "answer for every name"),
            ({"console": console | {"port": 8643}}, "console.port and health.port are both 8643"),
            ({"health": {"port": 8642}}, "console.port and health.port are both 8642"),
            ({"console": {"sql": {"maxTime": "2m"}}}, "console.sql.maxTime is `2m`: write a time from 10ms to 50s"),
            ({"console": {"sql": {"maxPause": "11s"}}}, "console.sql.maxPause is `11s`: write a time from 1ms to 10s"),
            ({"console": {"sql": {"maxRunning": 3}}}, "take 5376 MiB together, but resources.limits.memory is 4Gi"),
            ({"resources": {"limits": {"memory": 3758096383}}}, "take 3584 MiB together, but resources.limits.memory is 3758096383"),
            ({"networkPolicy": {"enabled": True}, "console": console}, "nobody would reach the console"),
            ({"networkPolicy": {"enabled": True, "metricsFrom": []}, "metrics": {"serviceMonitor": {"enabled": True}}}, "Prometheus could not read /metrics"),
            ({"metrics": {"prometheusRule": {"disabled": ["CurbDwon"]}}}, "`CurbDwon`, which is no alert of this chart: write one of CurbDown, CurbRulesRefused"),
            ({"fullnameOverride": "123"}, "the names of resources would be `123`"),
            ({"fullnameOverride": "a.b"}, "set fullnameOverride to such a name"),
            ({"metrics": {"serviceMonitor": {"enabled": True}}}, "metrics.serviceMonitor.enabled is true, but the cluster does not know"),
            ({"metrics": {"prometheusRule": {"enabled": True}}}, "metrics.prometheusRule.enabled is true, but the cluster does not know"),
            ({"keda": {"enabled": True, "minReplicas": 0, "topics": ["t"]}}, "install KEDA first"),
            ({"tracing": {"existingSecret": "s"}}, "tracing.endpoint is not"),
            ({"podLabels": {"app.kubernetes.io/component": "x"}}, "finds its pods by such labels"),
            ({"commonLabels": {"helm.sh/chart": "x"}}, "finds its pods by such labels"),
            ({"extraEnv": [{"name": "CURB_INSTANCE", "value": "0"}]}, "identity hangs on it"),
            ({"extraEnv": [{"name": "CURB_HTTP", "value": ":1"}]}, "would go by another address"),
            ({"extraEnv": [{"name": "CURB_HEALTH", "value": ":1"}]}, "would go by another address"),
            ({"extraEnv": [{"name": "CURB_BROKERS", "value": "b:1"}]}, "would go by another address"),
            ({"extraEnv": [{"name": "CURB_KAFKA_SASL_PASSWORD", "value": "x"}]}, "whoever may read the pod"),
        ]
        said = ""
        for values, words in cases:
            with self.subTest(**values):
                refusal = self.refusal(**values)
                said += refusal
                self.assertIn("The values do not fit together", refusal)
                self.assertIn(words, refusal)
        # No check without a case above.
        text = (CHART / "templates/_validation.tpl").read_text()
        for message in re.findall(r'append \$found \(?(?:printf )?"((?:[^"\\]|\\.)*)"', text):
            # What a printf fills in is not compared.
            plain = max(re.split(r"%[sd]", message), key=len).strip()
            self.assertIn(plain, said, "no test provokes this refusal")

    def test_values_at_the_edge_of_a_refusal_are_taken(self):
        mib = {"maxRunning": 1, "maxMemoryMib": 400, "maxReadMib": 224}  # 1280 MiB
        cases = [{"console": {"sql": {"maxTime": time, "maxPause": pause}}} for time, pause in
                 (("10ms", "1ms"), ("50000ms", "10000ms"), ("50s", "10s"), ("7", "1"), ("1500ms", "20ms"))]
        cases += [{"console": {"sql": mib}, "resources": {"limits": {"memory": limit}}}
                  for limit in ("1280Mi", "1.25Gi", "1343M", "1.4G", "1342177280", 1342177280, "1310720Ki")]
        cases += [
            # Another unit is not reckoned with, and without queries nothing is taken.
            {"resources": {"limits": {"memory": "1Ti"}}},
            {"console": {"sql": {"maxRunning": 0}}, "resources": {"limits": {"memory": "1Mi"}}},
            # What the chart does not write may be set.
            {"kafka": {"tls": {"enabled": True}, "properties": {"ssl.ca.location": "/extra/ca.crt"}}},
            {"kafka": {"tls": {"enabled": True, "existingSecret": "s"}, "properties": {"ssl.certificate.location": "/extra/tls.crt"}}},
            {"rules": {"pack": "", "inline": {"a.sql": "SELECT 1", "a.avsc": "{}", "a.proto": "syntax = 'proto3';", "a.desc": "x"}}},
        ]
        for values in cases:
            with self.subTest(**values), tempfile.TemporaryDirectory() as tmp:
                done = template(inline(tmp, **values))
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_release_whose_name_is_a_number_is_told_what_to_set(self):
        self.assertIn("would be `123-curb`", template(CI[0], release="123").stderr)

    def test_null_for_a_key_that_matters_is_refused(self):
        for key in ("replicaCount", "terminationGracePeriodSeconds", "updatePartition", "minReadySeconds", "health.port", "console.port", "console.sql",
                    "console.service.port", "console.sql.maxRunning", "pipeline.audit", "metrics.prometheusRule.thresholds",
                    "metrics.prometheusRule.thresholds.lagSeconds"):
            with self.subTest(key), tempfile.TemporaryDirectory() as tmp:
                done = template(inline(tmp), "--set", f"{key}=null")
                self.assertRegex(done.stderr, rf"(?s)values don't meet the specifications of the schema.*{key.rsplit('.', 1)[-1]}")

    def test_all_findings_are_given_at_once(self):
        refusal = self.refusal(kafka={"bootstrapServers": ""}, replicaCount=2, console={"enabled": True})
        self.assertEqual(len(re.findall(r"^  - ", refusal, re.M)), 3)

    def test_a_key_that_does_not_exist_is_refused_at_every_level(self):
        known = values_of(CHART / "values.yaml")
        free = set(open_paths(schema()))
        levels = [""] + [p for p in paths(known) if isinstance(at(known, p), dict) and not any(p == f or p.startswith(f + ".") for f in free)]
        self.assertGreater(len(levels), 30)
        root = schema()
        for level in levels:
            part = at_schema(root, level)
            self.assertIs(part.get("additionalProperties"), False, level or "the root")
        for level in ("", "kafka.", "console.ingress.", "metrics.prometheusRule.thresholds."):
            with tempfile.TemporaryDirectory() as tmp:
                done = template(inline(tmp), "--set", f"{level}enabeld=true")
            self.assertRegex(done.stderr, "dditional propert(ies|y) '?enabeld'? (is )?not allowed")

    def test_values_of_the_wrong_kind_are_refused(self):
        cases = ["replicaCount=two", "image.pullPolicy=Sometimes", "health.port=70000", "persistence.size=lots", "persistence.size=10ki", "image.digest=sha256:1",
                 "persistence.accessModes={ReadWriteMany}", "kafka.sasl.mechanism=GSSAPI", "logging.format=xml", "terminationGracePeriodSeconds=5",
                 "resources.limits=null", "rules.inline.notes\\.txt=x", "metrics.prometheusRule.thresholds.abortRatio=5",
                 "console.sql.maxRows=0", "console.sql.maxTime=5 minutes"]
        for case in cases:
            with self.subTest(case), tempfile.TemporaryDirectory() as tmp:
                done = template(inline(tmp), "--set", case)
                self.assertIn("values don't meet the specifications of the schema", done.stderr)

    def test_an_old_cluster_is_refused(self):
        self.assertIn("kubeVersion: >=1.28", template(CI[0], kubernetes="1.27").stderr)


def resolve(root, part):
    return root["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def at(values, path):
    for key in path.split(".") if path else []:
        values = values[key]
    return values


def at_schema(root, path):
    part = root
    for key in path.split(".") if path else []:
        part = resolve(root, part["properties"][key])
    return part


def open_paths(root, part=None, path=""):
    """Values whose keys are not the chart's to know: labels, properties of the client, parts of Kubernetes' own resources."""
    part = root if part is None else part
    for key, below in part.get("properties", {}).items():
        below, name = resolve(root, below), f"{path}{key}"
        if below.get("type") == "object" and (below.get("additionalProperties") is not False or "patternProperties" in below):
            yield name
        yield from open_paths(root, below, f"{name}.")


class Schema(unittest.TestCase):
    def test_the_schema_and_the_values_hold_the_same_keys(self):
        root, values = schema(), values_of(CHART / "values.yaml")
        free = set(open_paths(root))
        def known(part, path=""):
            for key, below in part.get("properties", {}).items():
                name = f"{path}{key}"
                yield name
                if name not in free:
                    yield from known(resolve(root, below), f"{name}.")
        in_values = {p for p in paths(values) if not any(p.startswith(f + ".") for f in free)}
        optional = {"resources.claims"}
        self.assertEqual(in_values | optional, set(known(root)) - {p for p in known(root) if any(p.startswith(f + ".") for f in free)})

    def test_what_has_a_value_must_keep_one(self):
        """null takes a key away, and a template would then write nothing in its place."""
        def walk(part, known, path=""):
            for key, below in part.get("properties", {}).items():
                below, value = resolve(schema(), below), known.get(key)
                is_fixed = below.get("type") == "object" and below.get("additionalProperties") is False and "properties" in below
                if is_fixed or (isinstance(value, (bool, int, float, str)) and value != ""):
                    self.assertIn(key, part.get("required", []), path)
                if is_fixed:
                    walk(below, value, f"{path}{key}.")
        walk(schema(), values_of(CHART / "values.yaml"))

    def test_objects_that_are_open_say_why(self):
        def walk(part):
            if isinstance(part, dict):
                if part.get("type") == "object" and part.get("additionalProperties") is True:
                    self.assertIn("$comment", part)
                if part.get("type") == "object":
                    self.assertIn("additionalProperties", part)
                for below in part.values():
                    walk(below)
            elif isinstance(part, list):
                for below in part:
                    walk(below)
        walk(schema())

    def test_every_value_is_used_by_a_template(self):
        text = "".join(file.read_text() for file in (CHART / "templates").rglob("*") if file.is_file())
        for path in paths(values_of(CHART / "values.yaml")):
            name = path.rsplit(".", 1)[-1]
            inside = ("resources.", "podSecurityContext.", "securityContext.", "metrics.prometheusRule.thresholds.", "probes.", "metrics.dashboard.labels.")
            if path != "global" and not path.startswith(inside):
                self.assertRegex(text, rf"\.{re.escape(name)}\b", path)


class Documents(unittest.TestCase):
    def test_every_value_is_documented(self):
        rows, bare = readme.documented()
        self.assertEqual(bare, [])
        self.assertGreater(len(rows), 120)

    def test_the_readme_lists_the_values_as_they_are(self):
        if UPDATES:
            (CHART / "README.md").write_text(readme.text())
        self.assertMultiLineEqual((CHART / "README.md").read_text(), readme.text(), "run tests/helm/readme.py")

    def test_the_dashboard_is_that_of_its_script(self):
        if UPDATES:
            dashboard.FILE.write_text(dashboard.text())
        self.assertEqual(dashboard.FILE.read_text(), dashboard.text(), "run tests/helm/dashboard.py")

    def test_files_of_values_say_what_they_are_for(self):
        self.assertGreaterEqual(len(CI), 14)
        for file in CI:
            self.assertRegex(file.read_text(), r"\A# [A-Z].*\.\n")

    def test_the_upgrade_page_knows_this_version(self):
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        self.assertIn(f"## {version}", (CHART / "UPGRADING.md").read_text())
        json.loads((CHART / "values.schema.json").read_text())
