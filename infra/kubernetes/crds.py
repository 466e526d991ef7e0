"""The manifests against the definitions of an operator's kinds, by hand: they are megabytes, and in no package.

    python -m infra.kubernetes.crds FILE ...     ray.io_rayclusters.yaml and the like, of the version that you install

Every document of every overlay whose kind is defined in a FILE is compared with it. A field that is not known there is
an error too: the API server would drop it. Ends with 1 where there is an error, or where a FILE fits no document.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

FOLDER = Path(__file__).parent
OVERLAYS = ("base", "cluster", "sweep", "queue")

Document = dict[str, Any]


def rendered(overlay: str) -> str:
    """As kubectl would apply it. Raises CalledProcessError."""
    return subprocess.run(
        ["kubectl", "kustomize", FOLDER / overlay], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def schemas(definition: Document) -> dict[tuple[str, str], Document]:
    """Those of a CustomResourceDefinition, by apiVersion and kind."""
    spec = definition["spec"]
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): strict(version["schema"]["openAPIV3Schema"])
        for version in spec["versions"]
    }


def strict(schema: Document) -> Document:
    """With no other fields than it names, and without what JSON Schema does not have."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(inner := made.get(key), dict):
            made[key] = strict(inner)
    if "properties" in made:
        made["properties"] = {name: strict(inner) for name, inner in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


def problems(document: Document, schema: Document) -> Iterator[str]:
    for error in jsonschema.Draft7Validator(schema).iter_errors(document):
        yield f"{'.'.join(map(str, error.path))}: {error.message[:200]}"


def main(files: Sequence[str]) -> int:
    if not files:
        print(__doc__)
        return 2
    found, wrong = set(), 0
    known = {file: schemas(yaml.safe_load(Path(file).read_text())) for file in files}
    for overlay in OVERLAYS:
        for document in yaml.safe_load_all(rendered(overlay)):
            kind = (document["apiVersion"], document["kind"])
            for file in (file for file, defined in known.items() if kind in defined):
                told = list(problems(document, known[file][kind]))
                name = f"{overlay}: {' '.join(kind)} {document['metadata']['name']}"
                print(f"{name}: {len(told)} errors", *told, sep="\n  ")
                found.add(file)
                wrong += len(told)
    for file in sorted(known.keys() - found):
        print(f"{file}: no document is of its kind and version")
    return int(wrong > 0 or found != known.keys())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
