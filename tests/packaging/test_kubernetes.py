# SPDX-License-Identifier: MIT
"""The manifests for Kubernetes, by its published schema (`tests.support.kubernetes`), and by what the container is."""

from __future__ import annotations

import copy
import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pdudaemon.config import reader
from pdudaemon.server.http import everybody
from pdudaemon.server.messages import Head
from pdudaemon.server.routes import find
from pdudaemon.service import STOP_BOUND
from tests.support.kubernetes import KINDS, SCHEMA
from tests.support.process import ROOT, eventually

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


def container(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {each["name"]: each for each in pod()["containers"]}[name]
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
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] and security["seccompProfile"] == {"type": "RuntimeDefault"}
    user, group = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[0]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (int(user), int(group), int(group))
    for each in pod()["containers"]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["image"] == container("pdudaemon")["image"]
    assert pod()["automountServiceAccountToken"] is False


def test_the_places_are_those_of_the_image() -> None:
    mounts = {each["mountPath"]: each["name"] for each in container("pdudaemon")["volumeMounts"]}
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
    daemon = container("pdudaemon")
    assert daemon["ports"] == [{"name": "http", "containerPort": listener.port}] and listener.hostname == "0.0.0.0"
    (port,) = manifests()["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (listener.port, "http")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = daemon[name]["httpGet"]
        assert asked["port"] == "http" and find(Head("GET", asked["path"]))[0].open_to is everybody
        assert daemon[name]["timeoutSeconds"] > 3  # the daemon takes as long to say that it is not well
    start = daemon["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 600  # a store that has grown is read as a whole


def test_the_daemon_has_time_to_end() -> None:
    """It brings home what acts within its own bound; what it still owes then is on record."""
    assert pod()["terminationGracePeriodSeconds"] > 2 * STOP_BOUND


def test_a_change_is_taken_over(tmp_path: Path) -> None:
    """As Kubernetes brings it: the files are links to those in a folder, of which the link is replaced."""
    tokens = {"jwt_secret": "x" * 40, "apc": "secret"}
    conf = {"daemon": {"hostname": "127.0.0.1", "port": 0, "listener": "both"}, "pdus": {"one": {"driver": "dummy"}}}
    config, secrets = Brought(tmp_path / "config"), Brought(tmp_path / "secrets")
    config.bring({"pdudaemon.conf": json.dumps(conf)})
    secrets.bring(tokens)
    program = tmp_path / "bin" / "pdudaemon"
    program.parent.mkdir()
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom pdudaemon.cli import main\nsys.exit(main())\n"
    )
    shell, option, script = container("reload")["command"]
    script = script.replace("/config", str(config.folder)).replace("/secrets", str(secrets.folder))
    log = tmp_path / "log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [sys.executable, program, f"--conf={config.folder}/pdudaemon.conf"],
            stderr=out,
            env={"STATE_DIRECTORY": str(tmp_path)},
        )
        reload = subprocess.Popen([shell, option, script.replace("sleep 5", "sleep 0.1")], stderr=out)
    try:
        eventually(lambda: "1 PDUs" in log.read_text())
        conf["pdus"] |= {"two": {"driver": "dummy"}}
        config.bring({"pdudaemon.conf": json.dumps(conf)})
        eventually(lambda: "taken over: 2 PDUs" in log.read_text())
        secrets.bring(tokens)
        eventually(lambda: log.read_text().count("taken over: 2 PDUs") == 2)
        config.bring({"pdudaemon.conf": "{"})
        eventually(lambda: "nothing was changed" in log.read_text())
        assert daemon.poll() is None and reload.poll() is None
    finally:
        for process in (reload, daemon):
            process.terminate()
        assert daemon.wait(STOP_BOUND) == 0 and reload.wait(STOP_BOUND) == -signal.SIGTERM


class Brought:
    """A volume of a ConfigMap or a Secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def bring(self, files: dict[str, str]) -> None:
        """Have other files there, all at once."""
        made = Path(tempfile.mkdtemp(prefix="..", dir=self.folder))
        for name, text in files.items():
            (made / name).write_text(text)
            (made / name).chmod(0o440)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..data_tmp").symlink_to(made.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
