"""Pods meet the Pod Security Standard `restricted`, and secrets are files that the chart never sees."""
import json
import re
import unittest

from chart import CI, containers, pods, rendered

# The volumes of https://kubernetes.io/docs/concepts/security/pod-security-standards/ that `restricted` allows.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


class Restricted(unittest.TestCase):
    def each_pod(self):
        for values in CI:
            for name, pod in pods(rendered(values)):
                with self.subTest(values=values.name, pod=name):
                    yield pod

    def test_nobody_is_root_nor_may_become_it(self):
        for pod in self.each_pod():
            context = pod["securityContext"]
            self.assertIs(context["runAsNonRoot"], True)
            self.assertGreaterEqual(context["runAsUser"], 10000)
            self.assertGreaterEqual(context["fsGroup"], 10000)
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            for container in containers(pod):
                own = container["securityContext"]
                self.assertIs(own["allowPrivilegeEscalation"], False)
                self.assertIs(own["readOnlyRootFilesystem"], True)
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
                self.assertNotIn("privileged", own)

    def test_nothing_of_the_host_is_shared(self):
        for pod in self.each_pod():
            for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
                self.assertNotIn(key, pod)
            for volume in pod["volumes"]:
                self.assertLessEqual(set(volume) - {"name"}, VOLUMES)
            for container in containers(pod):
                self.assertFalse([p for p in container.get("ports", []) if "hostPort" in p])

    def test_no_pod_has_a_token_or_learns_of_other_services(self):
        for pod in self.each_pod():
            self.assertIs(pod["automountServiceAccountToken"], False)
            self.assertIs(pod["enableServiceLinks"], False)
        kinds = {r["kind"] for values in CI for r in rendered(values)}
        self.assertFalse(kinds & {"Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})

    def test_memory_is_bounded_and_so_is_every_scratch_folder(self):
        for pod in self.each_pod():
            for container in containers(pod):
                if container["name"] in ("curb", "check", "config", "doctor"):
                    self.assertIn("memory", container["resources"]["limits"])
                    self.assertIn("memory", container["resources"]["requests"])
            for volume in pod["volumes"]:
                if "emptyDir" in volume:
                    self.assertIn("sizeLimit", volume["emptyDir"], volume["name"])

    def test_images_are_named_by_version_or_digest(self):
        for pod in self.each_pod():
            for container in containers(pod):
                self.assertRegex(container["image"], r"(@sha256:[0-9a-f]{64}|:[0-9][^:]*)$")


class Secrets(unittest.TestCase):
    def test_secrets_are_mounted_read_only_for_the_group_and_not_in_the_environment(self):
        for values in CI:
            for name, pod in pods(rendered(values)):
                volumes = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
                for container in containers(pod):
                    for mount in container["volumeMounts"] if "volumeMounts" in container else []:
                        if mount["name"] in volumes:
                            self.assertIs(mount.get("readOnly"), True, f"{values.name} {name}")
                            self.assertRegex(mount["mountPath"], r"^/etc/curb/secrets/")
                    for variable in container.get("env", []):
                        if "secretKeyRef" in variable.get("valueFrom", {}):
                            # OpenTelemetry takes its headers from nowhere else.
                            self.assertEqual(variable["name"], "OTEL_EXPORTER_OTLP_HEADERS")
                for volume in volumes.values():
                    self.assertEqual(volume["defaultMode"], 0o440)
                    self.assertTrue(volume["items"], "only the keys that are read")

    def test_the_configuration_names_files_and_holds_no_secret(self):
        for values in CI:
            for resource in rendered(values):
                text = (resource.get("data") or {}).get("curb.toml", "")
                for line in text.splitlines():
                    if re.search(r"password|token|secret|key", line.split("=")[0]):
                        self.assertRegex(line, r'= "/etc/curb/secrets/[a-z.-]+/[a-z.-]+"$', values.name)
                self.assertNotIn("password", json.dumps(resource.get("metadata")))
