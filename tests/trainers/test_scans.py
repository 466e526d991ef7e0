"""Pictures whose values are measurements: bits, units, patients, and what can't be read."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from trainers.config import Data
from trainers.data import load
from trainers.data.dataset import Examples
from trainers.data.measured import held_out
from trainers.data.scan import scan
from trainers.errors import DataError

SIDE = 8


def sixteen(folder: Path, count: int = 20, low: int = 1000, high: int = 5000) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        levels = rng.integers(low, high, (SIDE, SIDE), endpoint=True).astype(np.uint16)
        levels[0, :2] = low, high
        Image.fromarray(levels).save(folder / f"{number:02}.{'png' if number % 2 else 'tif'}")
    return folder


def settings(folder: Path, intensity: dict[str, object] | None = None, **more: object) -> Data:
    told = {"percentiles": [0, 100]} if intensity is None else intensity
    return Data.model_validate(
        {"name": "images", "path": str(folder), "resolution": SIDE, "channels": 1, "intensity": told, **more}
    )


def ct(folder: Path, number: int, patient: str | None = None, **changed: object) -> Path:
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    image.PatientID = patient if patient is not None else str(number)
    stored = image.pixel_array + number
    for name, value in changed.items():
        setattr(image, name, value)
    image.PixelData = stored.tobytes()
    file = folder / f"{number}.dcm"
    image.save_as(file)
    return file


def save(values: np.ndarray, affine: np.ndarray, file: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(values, affine), file)  # type: ignore[no-untyped-call]


def in_units(examples: object, window: tuple[float, float] | None) -> np.ndarray:
    assert isinstance(examples, Examples) and window
    return (examples.values.numpy().astype(np.float64) + 1) / 2 * (window[1] - window[0]) + window[0]


def test_sixteen_bits_come_back_from_the_window_and_percentiles_look_at_training_pictures_only(tmp_path):
    train, test = sixteen(tmp_path / "train"), sixteen(tmp_path / "test", low=0, high=60_000)
    data = load(settings(tmp_path))
    assert data.space.window == (1000.0, 5000.0), "held-out pictures reach from 0 to 60,000"
    stored = np.stack([np.asarray(Image.open(file)) for file in sorted(train.iterdir())])
    assert np.abs(in_units(data.train, data.space.window)[:, 0] - stored).max() < 0.01
    assert (
        isinstance(data.test, Examples) and data.test.values.max() == 1 and len(data.test) == len(list(test.iterdir()))
    )


def test_another_window_is_another_data_set(tmp_path):
    folder = sixteen(tmp_path / "a")
    one, other = (load(settings(folder, {"window": [0, high]})) for high in (40_000, 50_000))
    same_values = replace(other, space=one.space)
    assert len({one.fingerprint, other.fingerprint, same_values.fingerprint}) == 3
    assert load(settings(folder, {"window": [0, 2000]})).notes[-2].endswith("of the training values are cut off")


def test_dicom_is_in_hounsfield_units_and_keeps_patients_apart(tmp_path):
    for number in range(24):
        ct(tmp_path, number, patient=f"p{number // 4}")
    data = load(settings(tmp_path, {"window": [-1000, 2000]}))
    assert any("DICOM, HU" in note or "DICOM, rescaled" in note for note in data.notes)
    image = dcmread(tmp_path / "0.dcm")
    expected = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    found = scan(tmp_path / "0.dcm", settings(tmp_path, resolution=128)).slices[0]
    assert np.abs(found - expected).max() == 0
    assert (len(data.train), len(data.test)) == (20, 4), "a tenth is 2, and no patient is cut in two"


def test_monochrome1_is_turned_over(tmp_path):
    plain = scan(ct(tmp_path, 0), settings(tmp_path, resolution=128)).slices[0]
    inverted = scan(
        ct(tmp_path, 0, PhotometricInterpretation="MONOCHROME1"), settings(tmp_path, resolution=128)
    ).slices[0]
    assert np.unique(plain + inverted).size == 1, "what was dark is as bright as what was bright is dark"


def test_slices_of_a_volume_stand_upright_and_belong_to_one_patient(tmp_path):
    values = np.zeros((6, 7, 5), np.float32)
    values[5, 6, 1:] = np.arange(1, 5)  # right, front, and from the second slice up
    save(values[::-1], np.diag([-1, 1, 1, 1]), tmp_path / "a.nii.gz")
    found = scan(tmp_path / "a.nii.gz", settings(tmp_path, resolution=6))
    assert (len(found.slices), found.empty, found.patient) == (4, 1, str(tmp_path / "a.nii.gz"))
    tall = scan(tmp_path / "a.nii.gz", settings(tmp_path, resolution=7, plane="sagittal"))
    assert len(tall.slices) == 1
    whole = settings(tmp_path, resolution=64)
    bright = np.unravel_index(scan(tmp_path / "a.nii.gz", whole).slices[-1].argmax(), (64, 64))
    assert bright[0] < 32 < bright[1], "the patient's front is up, the right is right"


@pytest.mark.parametrize("patients", [["a"] * 9 + ["b"], [str(n) for n in range(30)], ["a", "a", "b", "b", "c", "c"]])
def test_some_patient_is_held_out_and_never_the_most(patients):
    held = held_out(patients)
    assert 0 < held.sum() <= max(len(patients) // 10, 2)
    assert not {p for p, h in zip(patients, held, strict=True) if h} & {
        p for p, h in zip(patients, held, strict=True) if not h
    }


def test_one_patient_or_one_on_both_sides_is_refused(tmp_path):
    for number in range(10):
        ct(tmp_path, number, patient="same")
    with pytest.raises(DataError, match="all pictures are of one patient"):
        load(settings(tmp_path))
    for part in ("train", "test"):
        (tmp_path / "split" / part).mkdir(parents=True)
        for number in range(10):
            ct(tmp_path / "split" / part, number, patient="same" if number else part)
    with pytest.raises(DataError, match="1 patients have pictures to train on and held out ones"):
        load(settings(tmp_path / "split"))


def test_different_bit_depths_are_refused_by_name(tmp_path):
    folder = sixteen(tmp_path / "a")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "eight.png")
    with pytest.raises(DataError, match=r"20 in 16 bits .*; 1 in 8 bits \(as .*eight.png\); keep one kind"):
        load(settings(folder))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("report.dcm", "without pixels"),
        ("short.dcm", "broken image"),
        ("text.dcm", "broken image"),
        ("colour.png", "has colours"),
        ("film.nii", "4 axes"),
        ("flat.png", "shows one value only"),
        ("holes.tif", "no numbers"),
    ],
)
def test_what_cannot_be_used_is_named_and_skipped(tmp_path, bad, why):
    folder = sixteen(tmp_path / "a")
    file = folder / bad
    if bad == "report.dcm":
        image = dcmread(str(get_testdata_file("CT_small.dcm")))
        del image.PixelData
        image.save_as(file)
    elif bad == "short.dcm":
        file.write_bytes(Path(str(get_testdata_file("MR_truncated.dcm"))).read_bytes())
    elif bad == "text.dcm":
        file.write_text("no DICOM at all")
    elif bad == "film.nii":
        save(np.zeros((4, 4, 4, 2), np.float32), np.eye(4), file)
    elif bad == "holes.tif":
        Image.fromarray(np.where(np.eye(8) > 0, np.nan, 1).astype(np.float32)).save(file)
    else:
        Image.new("RGB" if bad == "colour.png" else "L", (8, 8)).save(file)
    with pytest.raises(DataError, match=f"{bad}: .*{why}"):
        load(settings(folder))
    data = load(settings(folder, max_broken=0.1))
    assert len(data.train) + len(data.test) == 20 and bad in data.notes[0]


def test_files_that_need_a_window_or_a_library_say_so(tmp_path, monkeypatch):
    ct(tmp_path, 0)
    with pytest.raises(DataError, match=r"1 DICOM or NIfTI files, whose values need a window; give data.intensity"):
        load(settings(tmp_path).model_copy(update={"intensity": None}))
    monkeypatch.setattr("trainers.data.scan.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"DICOM files need pydicom: pip install 'gansweep\[medical\]'"):
        load(settings(tmp_path))


def test_a_window_is_read_strictly():
    for wrong in ({"window": [5, 5]}, {"percentiles": [90, 10]}, {"percentiles": [-1, 50]}, {"windows": [0, 1]}):
        with pytest.raises(ValueError):
            Data.model_validate({"name": "images", "intensity": wrong})


def test_a_window_beside_all_values_is_named_with_what_there_is(tmp_path):
    folder = sixteen(tmp_path / "a")
    for window in ([-160, 240], [6000, 7000]):
        told = rf"the window {window[0]} to {window[1]} holds none of the training values, 1000 to 5000; choose"
        with pytest.raises(DataError, match=told):
            load(settings(folder, {"window": window}))


def test_dicom_without_an_ending_is_read_as_a_pacs_exports_it(tmp_path):
    for number in range(20):
        file = ct(tmp_path, number)
        file.rename(tmp_path / (f"IM{number:04}" if number % 2 else f"1.2.840.{number}"))
    (tmp_path / "README").write_text("x" * 200)
    ct(tmp_path, 20).rename(tmp_path / "DICOMDIR")
    data = load(settings(tmp_path))
    assert len(data.train) + len(data.test) == 20 and any("left aside: 2 nameless files" in n for n in data.notes)


def test_flat_percentiles_ask_for_a_window(tmp_path):
    folder = sixteen(tmp_path / "a", low=7, high=7)
    for file in folder.iterdir():
        levels = np.full((SIDE, SIDE), 7, np.uint16)
        levels[0, 0] = 9
        Image.fromarray(levels).save(file)
    with pytest.raises(DataError, match="both percentiles of the training values are 7; give a window"):
        load(settings(folder, {"percentiles": [1, 90]}))
