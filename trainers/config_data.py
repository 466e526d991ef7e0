"""The settings of what is learned from, as frozen values that refuse wrong states; no torch (see ``config.py``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from trainers.files.places import place

Finite = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """A frozen, hashable group of settings; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Intensity(Settings):
    """Which values of the files a network sees, black to white; others are cut off."""

    window: tuple[Finite, Finite] | None = Field(default=None, description="from and to, in the files' units")
    percentiles: tuple[Percent, Percent] = Field(
        default=(0.5, 99.5), description="of the training pictures' values, where no window is given"
    )

    @model_validator(mode="after")
    def _rising(self) -> Intensity:
        for name in ("window", "percentiles"):
            low, high = getattr(self, name) or (0, 1)
            if low >= high:
                raise ValueError(f"{name} [{low:g}, {high:g}] is empty: the first must be under the second")
        return self


class Data(Settings):
    """What to learn: ``digits``, ``stacked-digits``, ``ring``, ``grid``, ``circular-gaussians``, ``weather-scenes``,
    ``faces``, ``flags``, ``images`` (a folder), ``parquet``, ``grammar``, ``lines`` (of a text file),
    ``moving-digits``, ``clips`` (a folder) or a dotted path.
    """

    name: str = Field(
        default="digits",
        description="digits, stacked-digits, painted-digits, inked-digits, mixed-digits, ring, grid, "
        "circular-gaussians, weather-scenes, faces, flags, images, parquet, grammar, lines, moving-digits, clips, or "
        "./mine.py:data",
    )
    path: str | tuple[str, ...] | None = Field(
        default=None,
        description="a folder, s3://bucket/prefix, or of Parquet also files, patterns (*.parquet) or a list; of "
        "grammar and lines a file",
    )
    source: str | None = Field(
        default=None, description="of family translate: the other domain, whose pictures are translated; like path"
    )
    resolution: int = Field(default=8, ge=1, le=1024, description="height and width in pixels; ignored by 2-D data")
    channels: Literal[1, 3] = Field(
        default=3, description="of image folders and Parquet; the built-in sets know their own"
    )
    intensity: Intensity | None = Field(
        default=None,
        description="of image folders: keeps 12 and 16 bits, and the units of DICOM and NIfTI; {window: [-160, 240]}, "
        "or {percentiles: [0.5, 99.5]} of the training pictures",
    )
    plane: Literal["axial", "coronal", "sagittal"] = Field(
        default="axial", description="of NIfTI volumes: which slices are the pictures"
    )
    per_class: int | None = Field(
        default=None, ge=1, description="training examples of each class that are used; left out: all"
    )
    length: int | None = Field(
        default=None, ge=1, le=512, description="characters of a text, at most; left out: 13 for grammar, 64 for lines"
    )
    frames: int = Field(default=16, ge=3, le=1024, description="of clips: how many are learned at a time")
    max_broken: Share = Field(default=0.01, description="share of images that may be unreadable and are skipped")
    standardise: bool = Field(
        default=True, description="2-D data: networks and penalties see coordinates divided by their spread"
    )
    image_column: str = Field(default="image", description="of Parquet: encoded images, or paths of image files")
    label_column: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default="label",
        description="of Parquet: classes, by name or number; may be missing. A list: conditions, classes and numbers",
    )

    @field_validator("path")
    @classmethod
    def _known_place(cls, path: str | tuple[str, ...] | None, info: ValidationInfo) -> str | tuple[str, ...] | None:
        """Of our own readers; what a path means to a reader from outside, it knows itself."""
        name = info.data.get("name")
        if path is None or name not in ("images", "clips", "parquet", "grammar", "lines"):
            return path
        if isinstance(path, str):
            return place(path)
        if name != "parquet" or not path:
            one = "folder" if name in ("images", "clips") else "file"
            raise ValueError(f"give one {one}; a list is for Parquet" if path else "is an empty list")
        return tuple(map(place, path))

    @field_validator("source")
    @classmethod
    def _other_place(cls, source: str | None, info: ValidationInfo) -> str | None:
        if source is None:
            return None
        if info.data.get("name") not in ("images", "parquet"):
            raise ValueError("is for 'images' and 'parquet'; other data sets bring their two domains themselves")
        path = info.data.get("path") or ()
        if place(source) in ((path,) if isinstance(path, str) else path):
            raise ValueError("is the same place as data.path; give the folder of the other domain")
        return place(source)

    @property
    def places(self) -> tuple[str, ...]:
        """``path`` as a list."""
        return (self.path,) if isinstance(self.path, str) else self.path or ()
