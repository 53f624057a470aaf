"""The part of the chart's values.schema.json that names settings, made from the settings.

Write it anew with `python -m tests.deploy.chart_schema`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streams.settings import Settings, variable

CHART: Final = Path(__file__).parents[2] / "deploy" / "helm" / "autodeep-id"
SCHEMA: Final = CHART / "values.schema.json"

Field = dataclasses.Field[Any]
FIELDS: Final = {variable(field.name): field for field in dataclasses.fields(Settings)}
FOLDERS: Final = frozenset({"AUTODEEP_WRITER_SCHEMAS"})
FILES: Final = FOLDERS | {
    name for name, field in FIELDS.items() if str(field.metadata["says"]).find("PEM file") >= 0
}
"""Settings whose value is a path."""
TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
IN_A_SECRET: Final = "(a secret: name it under secrets)"
OF_THE_CHART: Final[dict[str, dict[str, Any]]] = {
    "AUTODEEP_WEB_BIND": {"enum": ["0.0.0.0", "::"]},  # probes come by the pod's address
    "AUTODEEP_WEB_PORT": {"type": "integer", "minimum": 1024, "maximum": 65535},
    "AUTODEEP_REDIS_URL": {"type": "string", "pattern": "^[a-z+]+://[^@]*$"},  # with a password: in a Secret
}


def written() -> str:
    """The whole schema as it should be now."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    found = schema["definitions"]
    found["settings"] = _map({name: _value(name) for name in FIELDS})
    found["secrets"] = _map({name: {"$ref": "#/definitions/secretKey"} for name in FIELDS})
    kinds = {True: {"$ref": "#/definitions/folder"}, False: {"$ref": "#/definitions/file"}}
    found["files"] = _map({name: kinds[name in FOLDERS] for name in sorted(FILES)})
    return json.dumps(schema, indent=2) + "\n"


def _map(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def limits(name: str) -> tuple[str, Mapping[str, Any]]:
    """How a setting's text is read: the function that made its parser, and what it was given."""
    parse = FIELDS[name].metadata["parse"]
    if not inspect.isfunction(parse):
        return parse.__name__, {}
    return parse.__qualname__.partition(".")[0], inspect.getclosurevars(parse).nonlocals


def _value(name: str) -> dict[str, Any]:
    """What a value of a setting may be."""
    field = FIELDS[name]
    read, known = limits(name)
    if name in OF_THE_CHART:
        found: dict[str, Any] = dict(OF_THE_CHART[name])
    elif field.metadata["secret"]:
        found = {"const": IN_A_SECRET}
    elif read == "one_of":
        found = {"enum": list(known["choices"])}
    elif read == "at_least":
        most = {"maximum": known["most"]} if "most" in known else {}
        found = {"type": TYPES[known["kind"]], "minimum": known["least"], **most}
    elif read == "share":
        found = {"type": "number", "minimum": 0, "maximum": 1}
    else:
        found = {"type": TYPES[type(field.default)]}
    return found


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
