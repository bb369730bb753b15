"""The chart, rendered: what all tests of it share."""
import functools
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm/curb"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
UPDATES = bool(os.environ.get("UPDATE_EXPECT"))
# The oldest that the chart supports, one of the middle, the newest that is known here.
KUBERNETES = ("1.28", "1.33", "1.37")
APIS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1")
MINIMAL = CHART / "ci/minimal-values.yaml"


def helm(*arguments):
    return subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True, check=False)


def template(values, *arguments, apis=APIS, kubernetes="1.33", release="rel", namespace="streaming"):
    """Renders with files of values; fails as helm does."""
    files = [part for file in ([values] if isinstance(values, Path) else values) for part in ("-f", file)]
    known = [part for api in apis for part in ("--api-versions", api)]
    return helm("template", release, CHART, "-n", namespace, "--kube-version", f"{kubernetes}.0", *files, *known, *arguments)


@functools.cache
def rendered(values, kubernetes=KUBERNETES[1]):
    """The resources of a file of values, sorted by kind and name."""
    done = template(values, kubernetes=kubernetes)
    if done.returncode:
        raise AssertionError(f"{values.name}: {done.stderr}")
    resources = [r for r in yaml.safe_load_all(done.stdout) if r]
    return sorted(resources, key=lambda r: (r["kind"], r["metadata"]["name"]))


def render_all(versions):
    """Renders everything at once, so that tests find it done."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda pair: rendered(*pair), [(v, k) for v in CI for k in versions]))


def inline(tmp, **values):
    """A file of values of the minimal ones and `values`."""
    file = Path(tmp) / "values.yaml"
    # JSON is YAML in which every text is quoted; PyYAML leaves 1e3 bare, which is a number to Helm.
    file.write_text(json.dumps(values))
    return [MINIMAL, file]


def one(resources, kind, name=None):
    found = [r for r in resources if r["kind"] == kind and name in (None, r["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]


def values_of(file):
    return yaml.safe_load(file.read_text())


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def pods(resources):
    """Every pod that would be made: its name and its spec."""
    for resource in resources:
        if resource["kind"] in ("StatefulSet", "Job"):
            yield resource["metadata"]["name"], resource["spec"]["template"]["spec"]
        elif resource["kind"] == "Pod":
            yield resource["metadata"]["name"], resource["spec"]


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]
