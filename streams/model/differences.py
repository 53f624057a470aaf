"""What the manifests of two models say otherwise, for people who choose between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "architecture": ("architecture",),
    "taxonomy": ("classes", "cost", "vocabulary", "feature_table", "training.taxonomy"),
    "plan": ("training.plan", "training.file", "training.sha256", "training.command"),
    "metrics": ("metrics",),
    "novelty": ("novelty",),
}
_TABLES: Final = ("confusion", "per_class", "per_type")


def differences(
    left: Mapping[str, Any], right: Mapping[str, Any]
) -> dict[str, dict[str, tuple[object, object]]]:
    """What two manifests say otherwise: section -> dotted key -> (left, right); None where one is silent.

    Sections: architecture, taxonomy (classes, costs, vocabulary, features), plan and data of the training,
    metrics (single numbers; not the tables by class), novelty.
    """
    found: dict[str, dict[str, tuple[object, object]]] = {}
    for section, paths in _SECTIONS.items():
        ours, theirs = (_flat(manifest, paths) for manifest in (left, right))
        changed = {
            key: (ours.get(key), theirs.get(key))
            for key in (*ours, *(key for key in theirs if key not in ours))
            if ours.get(key) != theirs.get(key)
        }
        if changed:
            found[section] = changed
    return found


def _flat(manifest: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, object]:
    flat: dict[str, object] = {}

    def walk(key: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name not in _TABLES:
                    walk(f"{key}.{name}", inner)
        else:
            flat[key] = value

    for path in paths:
        value: Any = manifest
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            walk(path, value)
    return flat
