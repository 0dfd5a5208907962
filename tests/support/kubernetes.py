# SPDX-License-Identifier: MIT
"""The published schema of Kubernetes, as much of it as ``share/kubernetes`` needs, is ``tests/data/kubernetes.json``.

    .venv/bin/python -m tests.support.kubernetes kubernetes_validate-1.37.0-py3-none-any.whl 1.37.0

writes it, from the strict schemas of the package kubernetes-validate of PyPI (``pip download --no-deps``), which has all
of them in 22 MB: the kinds below and what they are made of, without the descriptions.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent.parent / "data" / "kubernetes.json"
KINDS = {
    "v1 ConfigMap": "configmap-v1",
    "v1 Secret": "secret-v1",
    "v1 Service": "service-v1",
    "apps/v1 StatefulSet": "statefulset-apps-v1",
}
NOTICE = "Of Kubernetes {}, Copyright The Kubernetes Authors, Apache License 2.0, without descriptions"
_DEFINITIONS = "/api/_definitions.json#/$defs/"


def trimmed(wheel: Path, release: str) -> dict[str, Any]:
    """Return a schema whose ``$defs`` has the kinds, by API version and name, and what they refer to."""
    with zipfile.ZipFile(wheel) as archive:
        folder = f"kubernetes_validate/kubernetes-json-schema/v{release}-local-strict"
        every = json.loads(archive.read(f"{folder}/_definitions.json"))["$defs"]
        found = {kind: _bare(json.loads(archive.read(f"{folder}/{name}.json"))) for kind, name in KINDS.items()}
    missing = {*found}
    while missing:
        wanted = {name for each in missing for name in _referred(found[each])}
        missing = wanted - {*found}
        found |= {name: _bare(every[name]) for name in missing}
    return {"$comment": NOTICE.format(release), "$defs": found}


def _bare(schema: Any) -> Any:
    """Return a schema without descriptions and without what is Kubernetes's own, its references within this document."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema.replace(_DEFINITIONS, "#/$defs/") if isinstance(schema, str) else schema
    kept = {name: value for name, value in schema.items() if not name.startswith(("x-kubernetes", "$schema", "$id"))}
    if isinstance(kept.get("description"), str):
        del kept["description"]
    return {name: _bare(value) for name, value in kept.items()}


def _referred(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {name for each in schema for name in _referred(each)}
    if not isinstance(schema, dict):
        return set()
    own = {str(schema["$ref"]).removeprefix("#/$defs/")} if isinstance(schema.get("$ref"), str) else set()
    return own | {name for each in schema.values() for name in _referred(each)}


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(trimmed(Path(sys.argv[1]), sys.argv[2]), sort_keys=True, separators=(",", ":")) + "\n")
