"""What can go wrong in ``trainers`` by the user's doing.

TrainerError
├── UnusableSettingError   a setting, or a combination, that cannot be trained
│   └── OwnCodeError       code of the user's own that is missing or can't be imported: no other setting will do
├── DataError              data that is missing, broken or too small
└── CheckpointError        a checkpoint that is incomplete, damaged or of another shape
"""

from __future__ import annotations

from collections.abc import Sequence


class TrainerError(Exception):
    """Root of the errors that a user can mend; its text says what, where and what to do."""


class UnusableSettingError(TrainerError):
    """A setting, or a combination of settings, that cannot be trained."""


class OwnCodeError(UnusableSettingError):
    """Code of the user's own that is missing, or that can't be imported here: it fails the same way in every trial."""


class DataError(TrainerError):
    """A data set that is missing, broken or too small."""


class CheckpointError(TrainerError):
    """A checkpoint folder that is incomplete, damaged, or does not fit the settings."""


def refuse(problems: Sequence[tuple[str, str]]) -> None:
    """Raises one UnusableSettingError that names all (dotted name, message) pairs, if there are any."""
    if problems:
        raise UnusableSettingError("\n".join(f"{name}: {message}" for name, message in problems))
