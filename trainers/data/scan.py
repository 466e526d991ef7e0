"""Grey values as scanners and microscopes write them, in the file's own units and without loss of bits.

PNG and TIFF of 8 to 32 bits by Pillow; DICOM by pydicom, with its rescale slope and intercept; NIfTI by nibabel, turned
to the canonical orientation (both are of the extra ``medical``). What is read becomes a square as other pictures do.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.config import Data
from trainers.data.picture import decoding, square, upright
from trainers.errors import DataError

Values = NDArray[np.float32]
LIBRARIES = {"DICOM": "pydicom", "NIfTI": "nibabel"}
ENDINGS = {".dcm": "DICOM", ".dicom": "DICOM", ".ima": "DICOM", ".nii": "NIfTI", ".nii.gz": "NIfTI"}
BITS = {"L": 8, "I;16": 16, "I;16L": 16, "I;16B": 16, "I": 32, "F": 32}
"""Of Pillow's modes without colour."""
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Along which NIfTI's canonical orientation counts slices: to the right, to the front, up."""


class Scan(NamedTuple):
    """What a file holds: ``slices`` (n, resolution, resolution) that show more than one value, how many ``empty`` ones
    there are beside, what the values are measured in, and whose they are, where the file says so.
    """

    slices: list[Values]
    empty: int
    unit: str
    patient: str | None


def kind(file: Path) -> str | None:
    """``DICOM`` or ``NIfTI``, by the file's name, without an ending by its first bytes; None for pictures."""
    named = next((kind for ending, kind in ENDINGS.items() if file.name.lower().endswith(ending)), None)
    return named or ("DICOM" if _is_unnamed_dicom(file) else None)


def _is_unnamed_dicom(file: Path) -> bool:
    """As a PACS exports them: called IM0001, or by a UID, whose last number looks like an ending. A DICOMDIR is their
    index.
    """
    if file.suffix.strip(".0123456789") or file.name == "DICOMDIR" or not file.is_file():
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def require(files: Iterable[Path]) -> None:
    """Raises DataError where files are of a kind that nothing here reads."""
    for found in sorted({kind(file) or "" for file in files} - {""}):
        if find_spec(LIBRARIES[found]) is None:
            raise DataError(f"data.path: {found} files need {LIBRARIES[found]}: pip install 'gansweep[medical]'")


def scan(file: Path, settings: Data) -> Scan:
    """Raises DataError where it can't be read, has colours, or shows nothing."""
    with decoding():
        read = {"DICOM": _dicom, "NIfTI": _nifti, None: _picture}[kind(file)]
        slices, unit, patient = read(file, settings)
        if not all(np.isfinite(values).all() for values in slices):
            raise DataError("holds values that are no numbers; replace them")
        seen = [values for values in slices if values.min() < values.max()]
        if not seen:
            raise DataError("shows one value only")
        squares = [np.array(square(Image.fromarray(values), settings.resolution)) for values in seen]
        return Scan(squares, len(slices) - len(seen), unit, patient)


def _picture(file: Path, settings: Data) -> tuple[list[Values], str, None]:
    with Image.open(file) as opened:
        picture = upright(opened)
        if picture.mode not in BITS:
            raise DataError(f"has colours or transparency (mode {picture.mode}); data.intensity is for grey values")
        unit = f"{BITS[picture.mode]} bits{', floating point' if picture.mode == 'F' else ''}"
        return [np.asarray(picture).astype(np.float32)], unit, None


def _dicom(file: Path, settings: Data) -> tuple[list[Values], str, str | None]:
    """MONOCHROME1, in which low values are white, is turned over within the bits that are stored."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut

    image = dcmread(io.BytesIO(file.read_bytes()))
    if not any(name in image for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DataError("a DICOM file without pixels; leave reports and structure sets out")
    if not str(image.PhotometricInterpretation).startswith("MONOCHROME"):
        raise DataError(f"has colours ({image.PhotometricInterpretation}); data.intensity is for grey values")
    stored = image.pixel_array
    if image.PhotometricInterpretation == "MONOCHROME1":
        stored = (-1 if image.PixelRepresentation else 2**image.BitsStored - 1) - stored.astype(np.int64)
    values = np.asarray(apply_modality_lut(stored, image), np.float32)
    scaled = "RescaleSlope" in image or "ModalityLUTSequence" in image
    unit = f"DICOM, {image.get('RescaleType', 'rescaled') if scaled else f'{image.BitsStored} bits'}"
    patient = str(image.get("PatientID") or image.get("StudyInstanceUID") or "")
    return list(values.reshape(-1, *values.shape[-2:])), unit, patient or None


def _nifti(file: Path, settings: Data) -> tuple[list[Values], str, str]:
    """A volume is one patient's. The front is up in axial slices, the head in the others; the patient's right is on
    the right.
    """
    import nibabel

    volume = nibabel.as_closest_canonical(nibabel.load(file))  # type: ignore[no-untyped-call]
    if len(volume.shape) != 3:
        raise DataError(f"has {len(volume.shape)} axes; save one volume of three per file")
    values = volume.get_fdata(dtype=np.float32)
    return [np.rot90(one).copy() for one in np.moveaxis(values, AXES[settings.plane], 0)], "NIfTI", str(file)
