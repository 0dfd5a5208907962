# SPDX-License-Identifier: MIT
"""The manifests for Kubernetes, by its published schema (`tests.support.kubernetes`), and by what the container is."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pdudaemon.config import reader
from pdudaemon.server.routes import OPEN
from tests.support.kubernetes import KINDS, SCHEMA
from tests.support.process import ROOT

MANIFESTS = ROOT / "share" / "kubernetes" / "pdudaemon.yaml"
DOCKERFILE = (ROOT / "share" / "Dockerfile").read_text()


def manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFESTS.read_text())}


def faults(manifest: dict[str, Any]) -> list[str]:
    """Return what the schema says against a manifest, with where."""
    schema = json.loads(SCHEMA.read_text())
    kind = f"{manifest['apiVersion']} {manifest['kind']}".replace("/", "~1")
    validator = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


def pod() -> dict[str, Any]:
    found: dict[str, Any] = manifests()["StatefulSet"]["spec"]["template"]["spec"]
    return found


def test_they_fit_the_schema() -> None:
    found = manifests()
    assert {f"{each['apiVersion']} {each['kind']}" for each in found.values()} == {*KINDS}
    assert {kind: faults(each) for kind, each in found.items()} == {kind: [] for kind in found}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/template/spec/containers/0/livenessProbe/httpGet/prot", "http"),
        ("spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", "yes"),
        ("spec/template/spec/securityContext/runAsUser", "65532"),
        ("spec/template/spec/terminationGracePeriod", 30),
        ("spec/volumeClaimTemplates/0/spec/accessModes", "ReadWriteOnce"),
    ],
)
def test_the_schema_sees_what_is_wrong(path: str, value: object) -> None:
    manifest = copy.deepcopy(manifests()["StatefulSet"])
    *way, last = path.split("/")
    place: Any = manifest
    for name in way:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    assert len(faults(manifest)) == 1


def test_there_is_never_more_than_one() -> None:
    spec = manifests()["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    assert [each["spec"]["accessModes"] for each in spec["volumeClaimTemplates"]] == [["ReadWriteOncePod"]]


def test_it_may_nothing_that_it_does_not_need() -> None:
    """As the Pod Security Standard "restricted" wants it, and no writing but to the volume."""
    security, (container,) = pod()["securityContext"], pod()["containers"]
    assert security["runAsNonRoot"] and security["seccompProfile"] == {"type": "RuntimeDefault"}
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (int(user), int(group), int(group))
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False


def test_the_places_are_those_of_the_image() -> None:
    (container,) = pod()["containers"]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    state = re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)[0]
    conf = re.findall(r'^ENTRYPOINT \["pdudaemon", "--conf=(.*?)"\]$', DOCKERFILE, re.MULTILINE)[0]
    assert mounts[state] == manifests()["StatefulSet"]["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert Path(conf).name in manifests()["ConfigMap"]["data"] and mounts[str(Path(conf).parent)] == "config"
    assert {volume["name"] for volume in pod()["volumes"]} == {*mounts.values()} - {"state"}


def test_the_configuration_is_good_and_the_probes_ask_where_it_listens(tmp_path: Path) -> None:
    secrets = manifests()["Secret"]["stringData"]
    for name, text in secrets.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o440)
    text = manifests()["ConfigMap"]["data"]["pdudaemon.conf"]
    assert {*re.findall(r'"/secrets/(\w+)"', text)} == {*secrets}
    (tmp_path / "conf").write_text(text.replace("/secrets/", f"{tmp_path}/"))
    conf = reader.load(str(tmp_path / "conf"))
    assert not conf.faults and not conf.warnings and conf.pdus
    (listener,) = conf.listeners
    (container,) = pod()["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": listener.port}] and listener.hostname == "0.0.0.0"
    (port,) = manifests()["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (listener.port, "http")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[name]["httpGet"]
        assert asked["port"] == "http" and asked["path"] in OPEN
        assert container[name]["timeoutSeconds"] > 3  # the daemon takes as long to say that it is not well
