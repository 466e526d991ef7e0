"""Under which conditions a value was measured, and the refusal to rank values of different conditions together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Provenance = Mapping[str, str | int | bool]


class IncomparableError(ValueError):
    """Values measured under different conditions were to be ranked together; the text says which part differs."""


def require_comparable(provenances: Mapping[str, Provenance]) -> None:
    """Passes where all values, by the name of their owner, were measured alike.

    Raises IncomparableError that names every part that differs, with the values and who has them.
    """
    differences = []
    for part in sorted({part for provenance in provenances.values() for part in provenance}):
        owners: dict[object, list[str]] = {}
        for owner, provenance in provenances.items():
            owners.setdefault(provenance.get(part, "unknown"), []).append(owner)
        if len(owners) > 1:
            differences.append(f"{part} is " + ", ".join(f"{value} ({_some(who)})" for value, who in owners.items()))
    if differences:
        raise IncomparableError(f"these values cannot be ranked together: {'; '.join(differences)}")


def _some(owners: Iterable[str]) -> str:
    names = list(owners)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
