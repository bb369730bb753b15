"""What is rendered is valid, is what was last looked at, and can replace what runs."""
import functools
import json
import re
import tempfile
import unittest

import jsonschema
import kubernetes_validate
import yaml
from chart import CHART, CI, HERE, KUBERNETES, MINIMAL, ROOT, UPDATES, helm, inline, one, pods, render_all, rendered, template, values_of

# It reads its schemas again for each resource, megabytes each time.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)
CRDS = {file.stem: json.loads(file.read_text()) for file in (HERE / "crds").glob("*.json")}
IDENTITIES = HERE / "identities.json"


def setUpModule():
    render_all(KUBERNETES[1:2])


class Renderings(unittest.TestCase):
    def test_helm_lint_finds_nothing(self):
        for values in CI:
            with self.subTest(values.name):
                done = helm("lint", "--strict", CHART, "-f", values, "--kube-version", "1.33.0")
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertNotIn("[WARNING]", done.stdout)

    def test_kubernetes_accepts_every_resource_and_knows_every_field(self):
        render_all(KUBERNETES)
        for values in CI:
            for version in KUBERNETES:
                for resource in rendered(values, version):
                    with self.subTest(values=values.name, version=version, kind=resource["kind"]):
                        if schema := CRDS.get(resource["kind"]):
                            jsonschema.validate(resource, schema)
                        else:
                            kubernetes_validate.validate(resource, version, strict=True)

    def test_a_field_that_kubernetes_does_not_know_would_be_found(self):
        broken = json.loads(json.dumps(one(rendered(CI[0]), "StatefulSet")))
        broken["spec"]["podManagment"] = "Parallel"
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, "1.33", strict=True)
        for kind, schema in CRDS.items():
            found = next(r for values in CI for r in rendered(values) if r["kind"] == kind)
            with self.assertRaises(jsonschema.ValidationError):
                jsonschema.validate({**found, "spec": {**found["spec"], "nonsense": 1}}, schema)

    def test_what_is_rendered_is_what_was_last_looked_at(self):
        """UPDATE_EXPECT=1 writes them anew."""
        files = {values.name.replace("-values.yaml", ".yaml"): golden(rendered(values)) for values in CI}
        if UPDATES:
            for name, text in files.items():
                (HERE / "golden" / name).write_text(text)
        known = {file.name: file.read_text() for file in (HERE / "golden").glob("*.yaml")}
        self.assertEqual(sorted(known), sorted(files))
        for name, text in files.items():
            with self.subTest(name):
                self.assertMultiLineEqual(known[name], text)

    def test_names_do_not_collide_and_everything_is_in_the_namespace_of_the_release(self):
        for values in CI:
            resources = rendered(values)
            names = [(r["kind"], r["metadata"]["name"]) for r in resources]
            self.assertEqual(len(names), len(set(names)), values.name)
            for resource in resources:
                # Further resources are the user's own.
                if "helm.sh/chart" in resource["metadata"].get("labels", {}):
                    self.assertEqual(resource["metadata"]["namespace"], "streaming", values.name)
                    self.assertLessEqual(len(resource["metadata"]["name"]), 63)

    def test_a_long_release_name_leaves_room_for_what_kubernetes_adds(self):
        done = template(MINIMAL, release="a-release-whose-name-is-as-long-as-helm-allows-it-12")
        for resource in filter(None, yaml.safe_load_all(done.stdout)):
            kubernetes_validate.validate(resource, "1.33", strict=True)
            if resource["kind"] == "StatefulSet":
                self.assertLessEqual(len(resource["metadata"]["name"]), 52)


class Readable(yaml.SafeDumper):
    """Text of several lines as it is."""


Readable.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def golden(resources):
    """One text, whichever helm wrote it; the dashboard is tested by itself."""
    def text(resource):
        data = resource.get("data") or {}
        if "curb.json" in data:
            resource = resource | {"data": data | {"curb.json": "files/dashboard.json"}}
        return yaml.dump(resource, Dumper=Readable, sort_keys=True, allow_unicode=True, width=140)
    return "---\n".join(map(text, resources))


class Upgrades(unittest.TestCase):
    """A release of this chart replaces one of an earlier chart in place, with its pods' names, volumes and pipeline."""

    def identity(self, values):
        """What Kubernetes refuses to change, and what the state of a pipeline hangs on."""
        resources = rendered(values)
        workload = one(resources, "StatefulSet")
        spec, pod = workload["spec"], workload["spec"]["template"]["spec"]
        container = next(c for c in pod["containers"] if c["name"] == "curb")
        configuration = one(resources, "ConfigMap", f"{workload['metadata']['name']}-config")["data"]["curb.toml"]
        keys = r"^(?:pipeline|state_dir|shards) = .*$"
        return {
            "name": workload["metadata"]["name"],
            "serviceName": spec["serviceName"],
            "selector": spec["selector"],
            "podManagementPolicy": spec["podManagementPolicy"],
            "volumeClaimTemplates": spec.get("volumeClaimTemplates"),
            "instance": next(e for e in container["env"] if e["name"] == "CURB_INSTANCE"),
            "configuration": [match[0] for match in re.finditer(keys, configuration, re.M)],
            "state": next(m for m in container["volumeMounts"] if m["name"] == "state"),
        }

    def test_nothing_changes_that_the_state_and_kubernetes_hang_on(self):
        """identities.json is of the first release. A change of it needs a new major version and a way in UPGRADING.md."""
        now = {values.name: self.identity(values) for values in CI}
        known = json.loads(IDENTITIES.read_text()) if IDENTITIES.exists() else {}
        added = {name: identity for name, identity in now.items() if name not in known}
        if UPDATES and added:
            known |= added
            IDENTITIES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        self.assertEqual(sorted(known), sorted(now), "UPDATE_EXPECT=1 adds new files of values")
        for name, identity in now.items():
            with self.subTest(name):
                self.assertEqual(known[name], identity)

    def test_the_pods_of_two_versions_of_the_chart_are_the_same(self):
        """An upgrade of the chart alone restarts nothing."""
        pod = one(rendered(CI[0]), "StatefulSet")["spec"]["template"]
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        self.assertNotIn(f"curb-{version}", json.dumps(pod["metadata"]))

    def test_selectors_find_the_pods_and_only_those(self):
        for values in CI:
            resources = rendered(values)
            workload = one(resources, "StatefulSet")
            labels = workload["spec"]["template"]["metadata"]["labels"].items()
            doctor = one(resources, "Pod")["metadata"]["labels"].items()
            selectors = [workload["spec"]["selector"]["matchLabels"]]
            selectors += [r["spec"]["selector"] for r in resources if r["kind"] == "Service"]
            selectors += [r["spec"]["selector"]["matchLabels"] for r in resources if r["kind"] == "PodDisruptionBudget"]
            for selector in selectors:
                self.assertLessEqual(selector.items(), labels, values.name)
                self.assertFalse(selector.items() <= doctor, "the pod of helm test must not get requests")

    def test_the_chart_is_that_of_this_program(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        self.assertEqual(chart["appVersion"], version)

    def test_a_change_of_rules_or_settings_restarts_the_pods_and_nothing_else_does(self):
        def annotations(*arguments):
            done = template(CHART / "ci/inline-rules-values.yaml", *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            resources = [r for r in yaml.safe_load_all(done.stdout) if r]
            return one(resources, "StatefulSet")["spec"]["template"]
        before = annotations()
        self.assertEqual(before, annotations())
        self.assertEqual(before, annotations("--set", "metrics.serviceMonitor.enabled=true"))
        for change in ("rules.inline.20-rates\\.sql=SELECT 1", "kafka.properties.fetch\\.wait\\.max\\.ms=7", "rules.revision=2"):
            self.assertNotEqual(before["metadata"]["annotations"], annotations("--set-string", change)["metadata"]["annotations"], change)


class Meanings(unittest.TestCase):
    """What files of values ask for is there."""

    def resources(self, name):
        return rendered(CHART / f"ci/{name}-values.yaml")

    def toml(self, name):
        return next(r["data"]["curb.toml"] for r in self.resources(name) if r["kind"] == "ConfigMap" and "curb.toml" in r["data"])

    def test_every_mounted_path_that_the_configuration_names_is_mounted(self):
        for values in CI:
            text = next(r["data"]["curb.toml"] for r in rendered(values) if r["kind"] == "ConfigMap" and "curb.toml" in r["data"])
            for _, pod in pods(rendered(values)):
                volumes = {v["name"]: v for v in pod["volumes"]}
                container = next((c for c in pod["containers"] if c["name"] in ("curb", "doctor")), None)
                if not container:
                    continue  # the check before an upgrade reads rules and nothing else
                mounts = {m["mountPath"]: volumes.get(m["name"]) for m in container["volumeMounts"]}
                for path in re.findall(r'"(/etc/curb/secrets/[^"]+)"', text):
                    folder, file = path.rsplit("/", 1)
                    self.assertIn(file, [i["path"] for i in mounts[folder]["secret"]["items"]], f"{values.name}: {path}")

    def test_large_numbers_are_written_in_full(self):
        """Helm reads all numbers as floating-point, and would write 1e+06."""
        with tempfile.TemporaryDirectory() as tmp:
            keda = {"enabled": True, "minReplicas": 0, "topics": ["a"], "lagThreshold": 2000000, "cooldownPeriod": 1000000}
            done = template(inline(tmp, kafka={"properties": {"fetch.message.max.bytes": 10485760}}, keda=keda))
        resources = [r for r in yaml.safe_load_all(done.stdout) if r]
        scaled = one(resources, "ScaledObject")["spec"]
        self.assertEqual((scaled["cooldownPeriod"], scaled["triggers"][0]["metadata"]["lagThreshold"]), (1000000, "2000000"))
        self.assertIn('"fetch.message.max.bytes" = "10485760"', one(resources, "ConfigMap", "rel-curb-config")["data"]["curb.toml"])

    def test_replicas_are_left_to_an_autoscaler(self):
        for name, kind in (("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler")):
            resources = self.resources(name)
            self.assertNotIn("replicas", one(resources, "StatefulSet")["spec"])
            target = one(resources, kind)["spec"]["scaleTargetRef"]
            self.assertEqual((target["kind"], target["name"]), ("StatefulSet", "rel-curb"))
        self.assertEqual(one(self.resources("minimal"), "StatefulSet")["spec"]["replicas"], 1)

    def test_keda_reads_the_lag_of_the_pipelines_group_with_the_pipelines_secrets(self):
        resources = self.resources("keda")
        triggers = one(resources, "ScaledObject")["spec"]["triggers"]
        self.assertEqual([t["metadata"]["topic"] for t in triggers], ["study-logins", "study-sessions"])
        self.assertEqual({t["metadata"]["consumerGroup"] for t in triggers}, {"rel-curb"})
        self.assertEqual({t["metadata"]["sasl"] for t in triggers}, {"scram_sha512"})
        targets = one(resources, "TriggerAuthentication")["spec"]["secretTargetRef"]
        self.assertEqual({t["parameter"]: (t["name"], t["key"]) for t in targets}, {
            "username": ("curb-kafka-user", "username"), "password": ("curb-kafka-user", "password"),
            "ca": ("curb-kafka-certificate", "ca.crt"), "cert": ("curb-kafka-certificate", "tls.crt"), "key": ("curb-kafka-certificate", "tls.key"),
        })
        self.assertNotIn("TriggerAuthentication", [r["kind"] for r in rendered(CHART / "ci/minimal-values.yaml")])

    def test_the_protocol_follows_from_password_and_tls(self):
        expected = {"minimal": "PLAINTEXT", "sasl-scram": "SASL_SSL", "mtls": "SSL", "diagnostic": "SASL_PLAINTEXT"}
        for name, protocol in expected.items():
            self.assertIn(f'"security.protocol" = "{protocol}"', self.toml(name))

    def test_rules_come_from_the_image_or_one_folder_of_config_maps(self):
        def args(name):
            return one(self.resources(name), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertEqual(args("minimal")[:2], ["run", "/sql/safe-riding"])
        self.assertEqual(args("configmap-rules")[:2], ["run", "/rules"])
        pod = one(self.resources("configmap-rules"), "StatefulSet")["spec"]["template"]["spec"]
        sources = next(v for v in pod["volumes"] if v["name"] == "rules")["projected"]["sources"]
        self.assertEqual([s["configMap"]["name"] for s in sources], ["curb-rules-base", "curb-rules-town", "rel-curb-rules"])
        self.assertEqual(pod["initContainers"][0]["args"], ["check", "/rules"])

    def test_an_upgrade_checks_the_new_rules_before_it_changes_anything(self):
        resources = self.resources("inline-rules")
        job = one(resources, "Job")
        hook = job["metadata"]["annotations"]
        self.assertEqual(hook["helm.sh/hook"], "pre-upgrade")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["args"], ["check", "/rules"])
        mounted = pod["volumes"][0]["projected"]["sources"][-1]["configMap"]["name"]
        rules = one(resources, "ConfigMap", mounted)
        self.assertEqual(rules["data"], one(resources, "ConfigMap", "rel-curb-rules")["data"])
        # It must be there before the job is.
        self.assertLess(int(rules["metadata"]["annotations"]["helm.sh/hook-weight"]), int(hook["helm.sh/hook-weight"]))

    def test_an_upgrade_reads_the_new_settings_before_it_changes_anything(self):
        for name in ("inline-rules", "mtls"):
            resources = self.resources(name)
            job = one(resources, "Job")
            pod = job["spec"]["template"]["spec"]
            container = next(c for c in pod["containers"] if c["name"] == "config")
            self.assertEqual(container["args"], ["config", "show", "--config", "/etc/curb/curb.toml"])
            self.assertEqual([m["mountPath"] for m in container["volumeMounts"]], ["/etc/curb/curb.toml"])
            mounted = next(v for v in pod["volumes"] if v["name"] == "config")["configMap"]["name"]
            copy = one(resources, "ConfigMap", mounted)
            self.assertEqual(copy["metadata"]["annotations"]["helm.sh/hook"], "pre-upgrade")
            self.assertLess(int(copy["metadata"]["annotations"]["helm.sh/hook-weight"]), int(job["metadata"]["annotations"]["helm.sh/hook-weight"]))
            # All but the files that only the worker has.
            self.assertEqual(copy["data"]["curb.toml"].rstrip(), self.toml(name).split("[kafka.property_files]")[0].rstrip())
            self.assertFalse([v for v in pod["volumes"] if "secret" in v])

    def test_time_zone_and_first_load_are_settings_and_no_variables(self):
        self.assertIn('time_zone = "Asia/Shanghai"\n', self.toml("inline-rules"))
        self.assertIn('emit_from = "now"\n', self.toml("shadow"))
        for name in ("inline-rules", "shadow"):
            container = one(self.resources(name), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
            self.assertFalse({"CURB_TIME_ZONE", "CURB_EMIT_FROM"} & {e["name"] for e in container["env"]})

    def test_pods_of_hooks_run_where_and_as_the_worker_does(self):
        resources = self.resources("topology")
        values = values_of(CHART / "ci/topology-values.yaml")
        job, doctor = one(resources, "Job"), one(resources, "Pod")
        worker = one(resources, "StatefulSet")["spec"]["template"]["spec"]
        for pod in (job["spec"]["template"], doctor):
            for key in ("serviceAccountName", "affinity", "priorityClassName", "nodeSelector", "tolerations"):
                self.assertEqual(pod["spec"][key], worker[key])
            self.assertLessEqual(values["podLabels"].items(), pod["metadata"]["labels"].items())
            self.assertLessEqual(values["podAnnotations"].items(), pod["metadata"]["annotations"].items())
        self.assertEqual(doctor["metadata"]["annotations"]["helm.sh/hook"], "test")
        self.assertNotIn("affinity", one(self.resources("minimal"), "Pod")["spec"])
        # A label of pods goes before one of everything.
        with tempfile.TemporaryDirectory() as tmp:
            done = template(inline(tmp, podLabels={"team": "pods"}, commonLabels={"team": "all"}, podAnnotations={"helm.sh/hook": "x"}))
        resources = [r for r in yaml.safe_load_all(done.stdout) if r]
        job, doctor = one(resources, "Job"), one(resources, "Pod")
        self.assertEqual([part["metadata"]["labels"]["team"] for part in (job, job["spec"]["template"], doctor)], ["all", "pods", "pods"])
        self.assertEqual(doctor["metadata"]["annotations"]["helm.sh/hook"], "test")

    def test_names_that_look_like_numbers_stay_names(self):
        names = {
            "nameOverride": "12", "fullnameOverride": "on", "priorityClassName": "007",
            "commonLabels": {"team": "1e3"}, "image": {"repository": "123", "tag": "45"},
            "kafka": {"sasl": {"mechanism": "SCRAM-SHA-512", "existingSecret": "1e3", "usernameKey": "1", "passwordKey": "2"},
                      "tls": {"enabled": True, "existingSecret": "2e3", "caKey": "3", "clientCertificate": True, "certKey": "4", "keyKey": "5", "keyPasswordKey": "6"}},
            "schemaRegistry": {"url": "http://r", "user": "1", "existingSecret": "3e3", "passwordKey": "7", "caSecret": "4e3", "caKey": "8"},
            "pseudonymKeys": {"existingSecret": "5e3", "key": "9"},
            "tracing": {"endpoint": "http://t:1", "existingSecret": "6e3", "headersKey": "10"},
            "console": {"enabled": True, "auth": {"existingSecret": "7e3", "tokenKey": "11", "adminTokenKey": "12"},
                        "tls": {"existingSecret": "8e3", "certKey": "13", "keyKey": "14"}, "ingress": {"enabled": True, "className": "15", "hosts": [{"host": "1.5"}]}},
            "networkPolicy": {"enabled": True, "consoleFrom": [{"podSelector": {}}]},
            "persistence": {"storageClass": "16"}, "serviceAccount": {"name": "9e3"},
            "rules": {"pack": "", "existingConfigMaps": ["17"], "inline": {"a.sql": "SELECT 1"}},
            "keda": {"enabled": True, "minReplicas": 0, "topics": ["18"]},
            "metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}},
        }
        with tempfile.TemporaryDirectory() as tmp:
            done = template(inline(tmp, **names), release="123", namespace="456")
        self.assertEqual(done.returncode, 0, done.stderr)
        resources = [r for r in yaml.safe_load_all(done.stdout) if r]
        for resource in resources:
            with self.subTest(resource["kind"], name=resource["metadata"]["name"]):
                if schema := CRDS.get(resource["kind"]):
                    jsonschema.validate(resource, schema)
                else:
                    kubernetes_validate.validate(resource, "1.33", strict=True)
                self.assertEqual(resource["metadata"]["namespace"], "456")
                self.assertEqual(resource["metadata"]["labels"]["app.kubernetes.io/instance"], "123")
        pod = one(resources, "StatefulSet")["spec"]["template"]["spec"]
        self.assertEqual((pod["priorityClassName"], pod["serviceAccountName"], pod["containers"][0]["image"]), ("007", "9e3", "123:45"))
        named = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        self.assertEqual(named, {"1e3", "2e3", "3e3", "4e3", "5e3", "7e3", "8e3"})
        self.assertIn({"configMap": {"name": "17"}}, next(v for v in pod["volumes"] if v["name"] == "rules")["projected"]["sources"])

    def test_without_a_volume_the_state_lies_in_the_pod(self):
        spec = one(self.resources("ephemeral"), "StatefulSet")["spec"]
        self.assertNotIn("volumeClaimTemplates", spec)
        self.assertIn({"name": "state", "emptyDir": {"sizeLimit": "2Gi"}}, spec["template"]["spec"]["volumes"])

    def test_probes_ask_what_their_names_say_and_a_shell_has_none(self):
        container = one(self.resources("minimal"), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "health"})
        shell = one(self.resources("diagnostic"), "StatefulSet")["spec"]["template"]["spec"]
        self.assertNotIn("initContainers", shell)
        self.assertFalse([k for k in shell["containers"][0] if k.endswith("Probe")])
        self.assertEqual(shell["containers"][0]["image"], "busybox:1.37")

    def test_the_network_policy_lets_through_what_is_configured_and_nothing_else(self):
        policy = one(self.resources("network-policy"), "NetworkPolicy")["spec"]
        self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
        ports = [sorted(p["port"] for p in rule["ports"]) for rule in policy["egress"]]
        self.assertEqual(ports, [[53, 53], [9092, 9095], [8081], [4318], [443]])
        self.assertEqual([p["port"] for rule in policy["ingress"] for p in rule["ports"]], [8643])
        policy = one(self.resources("console-proxy"), "NetworkPolicy")["spec"]
        self.assertEqual([p["port"] for rule in policy["ingress"] for p in rule["ports"]], [8643, 8642])
        self.assertEqual([p["port"] for p in policy["egress"][1]["ports"]], [9092])

    def test_a_console_that_is_not_enabled_listens_only_inside_the_pod(self):
        for values in CI:
            text = next(r["data"]["curb.toml"] for r in rendered(values) if r["kind"] == "ConfigMap" and "curb.toml" in r["data"])
            address = re.search(r'^http = "(.*)"', text, re.M)[1]
            is_open = values_of(values).get("console", {}).get("enabled", False)
            self.assertEqual(address, "0.0.0.0:8642" if is_open else "127.0.0.1:8642", values.name)
            self.assertEqual(is_open, any(r["kind"] == "Service" and r["metadata"]["name"].endswith("-console") for r in rendered(values)))

    def test_templates_in_extras_are_filled_in(self):
        resources = self.resources("extras")
        self.assertEqual(one(resources, "ConfigMap", "rel-tables")["data"]["towns.csv"], "town\nZhicheng\n")
        container = one(resources, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        self.assertIn({"name": "RELEASE", "value": "rel"}, container["env"])

    def test_a_digest_goes_before_the_tag(self):
        container = one(self.resources("topology"), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        self.assertRegex(container["image"], r"^registry\.example\.com/streaming/curb@sha256:[0-9a-f]{64}$")

    def test_notes_say_what_to_do_next_in_the_release_at_hand(self):
        for values in CI:
            done = helm("install", "rel", CHART, "-n", "streaming", "--dry-run=client", "-f", values)
            if done.returncode and "does not know" in done.stderr:
                continue  # a dry run knows no custom resources
            if "cluster unreachable" in done.stderr:
                self.skipTest("Helm 3 asks a cluster even then")
            self.assertEqual(done.returncode, 0, done.stderr)
            notes = done.stdout.split("NOTES:")[1]
            self.assertNotIn("<no value>", notes)
            self.assertIn("-n streaming", notes)
            if values_of(values).get("diagnosticMode", {}).get("enabled"):
                self.assertIn("NO RECORDS ARE HANDLED", notes)
            else:
                for needed in ("helm -n streaming test rel", "port-forward", "a sink that must not write"):
                    self.assertIn(needed, notes, values.name)
            of_port_forward = "port-forward rel-curb-0 8642:8642"
            if "console-proxy" in values.name:
                self.assertNotIn(of_port_forward, notes)
                self.assertIn("Through the proxy that says who asks: without its header, by a port-forward, the pod answers 401.\n", notes)
            elif "shadow" not in values.name and "NO RECORDS" not in notes:
                self.assertIn(of_port_forward, notes)
            if "console-ingress" in values.name:
                self.assertIn("curb pause SINK --url https://localhost:8642 --ca-file /etc/curb/secrets/console-tls/tls.crt "
                              "--token-file /etc/curb/secrets/console-token/admin-token\n", notes)
