"""Data sets: what they hold, what they refuse, and that nothing leaks from test to training."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from trainers.config import Data
from trainers.data import Dataset, Examples, describe, load, streamed, told
from trainers.data import shards as shards_module
from trainers.data.pack import pack
from trainers.data.picture import pixels
from trainers.data.streamed import Streamed
from trainers.errors import DataError
from trainers.world import World


def test_digits_are_split_once_and_for_all() -> None:
    data = load(Data(name="digits"))
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.train.values.min() == -1 and data.train.values.max() == 1  # type: ignore[attr-defined]
    assert rows(data.train).isdisjoint(rows(data.test))
    assert load(Data(name="digits")) is data, "read once per process"


def test_stacked_digits_know_their_thousand_modes_and_keep_people_apart() -> None:
    data = load(Data(name="stacked-digits"))
    train, test = everything(data.train), everything(data.test)
    assert train.values.shape == (128_000, 3, 8, 8)
    assert train.labels.unique().tolist() == list(range(1000))
    singles = load(Data(name="digits"))
    levels = {(v + 1).mul(127.5).round().to(torch.uint8).numpy().tobytes() for v in everything(singles.test).values}
    assert {image.numpy().tobytes() for image in train.values[:2000].flatten(0, 1)}.isdisjoint(levels)
    assert {image.numpy().tobytes() for image in test.values[:200].flatten(0, 1)} <= levels


def test_a_stack_is_labelled_by_its_digits() -> None:
    stacked, singles = everything(load(Data(name="stacked-digits")).train), everything(load(Data(name="digits")).train)
    names = {
        (v + 1).mul(127.5).round().to(torch.uint8).numpy().tobytes(): int(label)
        for v, label in zip(singles.values, singles.labels, strict=True)
    }
    for image, label in zip(stacked.values[:50], stacked.labels[:50], strict=True):
        a, b, c = (names[colour.unsqueeze(0).numpy().tobytes()] for colour in image)
        assert int(label) == 100 * a + 10 * b + c


@pytest.mark.parametrize(("name", "modes", "std"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_the_gaussians_are_protocol_p(name: str, modes: int, std: float) -> None:
    data = load(Data(name=name))
    points, centers = everything(data.train).values, torch.tensor(data.space.centers)
    assert points.shape == (100_000, 2)
    nearest = torch.cdist(points, centers).min(1)
    assert nearest.indices.bincount(minlength=modes).min() > 0.9 * 100_000 / modes
    offsets = points - centers[nearest.indices]
    assert offsets.std().item() == pytest.approx(std, rel=0.01)
    assert points.std().item() == pytest.approx(data.space.scale, rel=0.01)
    assert load(Data(name=name, standardise=False)).space.scale == 1


def test_a_fingerprint_is_of_the_content() -> None:
    ring = load(Data(name="ring"))
    changed = Dataset(ring.name, ring.space, ring.train, ring.test[torch.arange(10)])
    assert len(ring.fingerprint) == 64
    assert ring.fingerprint != changed.fingerprint
    assert load.__wrapped__(Data(name="ring")).fingerprint == ring.fingerprint


def encoded(picture: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


COLOUR, GREY = Data(name="images", resolution=4, channels=3), Data(name="images", resolution=4, channels=1)


def test_a_mode_that_has_no_rule_is_told() -> None:
    with pytest.raises(DataError, match="conversion from LAB"):
        pixels(encoded(Image.new("LAB", (8, 8)), "TIFF"), GREY)


@pytest.mark.parametrize(
    ("picture", "format", "expected"),
    [
        (Image.new("RGB", (4, 4), (10, 20, 30)), "PNG", (10, 20, 30)),
        (Image.new("L", (9, 5), 77), "PNG", (77, 77, 77)),
        (Image.new("RGB", (8, 8), (10, 20, 30)).convert("P"), "PNG", None),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", None),
        (Image.new("I;16", (8, 8), 257 * 100), "PNG", (100, 100, 100)),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 255)), "PNG", (0, 0, 0)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("RGB", (1, 30), (1, 2, 3)), "PNG", (1, 2, 3)),
    ],
    ids=["rgb", "grey", "palette", "cmyk", "16-bit", "transparent", "grey-alpha", "bits", "narrow"],
)
def test_any_mode_becomes_bytes_by_one_rule(picture: Image.Image, format: str, expected: Any) -> None:
    made = pixels(encoded(picture, format), COLOUR)
    assert made.shape == (3, 4, 4) and made.dtype == np.uint8
    if expected:
        assert made[:, 2, 2].tolist() == list(expected)
    assert pixels(encoded(picture, format), GREY).shape == (1, 4, 4)


def test_the_central_square_is_kept_and_the_camera_is_turned_upright() -> None:
    wide = Image.new("RGB", (12, 4), "black")
    wide.paste((200, 0, 0), (4, 0, 8, 4))
    assert pixels(encoded(wide), COLOUR)[0].min() == 200
    half = Image.new("RGB", (8, 8), "black")
    half.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    buffer = io.BytesIO()
    half.save(buffer, "PNG", exif=exif)
    assert pixels(buffer.getvalue(), GREY)[0, 0].max() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty grey pictures of two classes; each is as bright as its number."""
    for number in range(40):
        place = tmp_path / "pictures" / ("even" if number % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 6), number).save(place / f"{number:03d}.png")
    return tmp_path / "pictures"


def settings(path: Any, **values: Any) -> Data:
    return Data(name="parquet", path=str(path), resolution=4, channels=1, **values)


def test_a_folder_gives_pictures_with_the_classes_of_its_subfolders(folder: Path) -> None:
    data = load(Data(name="images", path=str(folder), resolution=4, channels=1))
    train, test = everything(data.train), everything(data.test)
    assert (len(train), len(test), data.space.classes) == (36, 4, 2)
    assert all(int(v.max()) % 2 == int(label) for v, label in zip(train.values, train.labels, strict=True))
    assert sorted(int(v.max()) for v in [*train.values, *test.values]) == list(range(40))


def test_a_data_set_is_described_with_its_classes_and_their_counts(folder: Path) -> None:
    data = load(Data(name="images", path=str(folder), resolution=4, channels=1))
    evens = int((everything(data.train).labels == 0).sum())
    told = f"images: 36 images of shape 1x4x4 to train on, 4 held out; 2 classes: even ({evens}), odd ({36 - evens})"
    assert describe(data) == [told]
    assert describe(load(Data(name="ring"))) == [
        "ring: 100,000 points of shape 2 to train on, 10,000 held out; no labels"
    ]
    assert describe(load(Data(name="stacked-digits")))[0].endswith("6 (118), 7 (109), …")


def test_names_of_classes_leave_the_fingerprint_alone(folder: Path) -> None:
    data = load(Data(name="images", path=str(folder), resolution=4, channels=1))
    assert data.space.names == ("even", "odd")
    nameless = Dataset(data.name, replace(data.space, names=()), data.train, data.test)
    assert nameless.fingerprint == data.fingerprint


def test_a_folder_too_large_for_memory_is_refused_with_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.data.folder._memory", lambda: 2**10)
    with pytest.raises(DataError, match=r"would take 0\.0 GiB of memory; pack them with 'gansweep data import'"):
        load(Data(name="images", path=str(folder), resolution=16))


def test_broken_pictures_are_named_counted_and_skipped_up_to_a_limit(folder: Path) -> None:
    (folder / "odd" / "bad.png").write_bytes(b"no picture")
    (folder / "odd" / "folder.png").mkdir()
    cut = (folder / "odd" / "001.png").read_bytes()[:-30]
    (folder / "odd" / "001.png").write_bytes(cut)
    few = Data(name="images", path=str(folder), resolution=4, channels=1, max_broken=0.05)
    data = load.__wrapped__(few)
    assert len(data.train) + len(data.test) == 39
    (note,) = data.notes
    assert note.startswith("2 of 41 images skipped: ") and describe(data)[1] == note
    assert f"{folder}/odd/bad.png: not an image of any known format" in note and "001.png: broken image (" in note
    with pytest.raises(DataError, match=r"001\.png.*data\.max_broken"):
        load.__wrapped__(few.model_copy(update={"max_broken": 0.0}))


def test_packed_shards_hold_the_same_pictures_as_the_folder(folder: Path, tmp_path: Path) -> None:
    packed = pack(folder, str(tmp_path / "shards"))
    assert (packed.images, packed.broken, packed.classes) == (40, 0, ("even", "odd"))
    data = load(settings(tmp_path / "shards"))
    train, test = everything(data.train), everything(data.test)
    assert data.space.classes == 2
    assert sorted(int(v.max()) for v in [*train.values, *test.values]) == list(range(40))
    assert all(int(v.max()) % 2 == int(label) for v, label in zip(train.values, train.labels, strict=True))


def test_shards_go_to_object_storage_and_come_back(folder: Path, s3: Any) -> None:
    packed = pack(folder, f"{s3.url}/my faces #1")
    for place in ("my faces #1", "my faces #1/part-*.parquet", "my faces #1/part-00000.parquet"):
        data = load.__wrapped__(settings(f"{s3.url}/{place}"))
        assert packed.images == len(data.train) + len(data.test) == 40
    with pytest.raises(DataError, match="holds 1 shards already"):
        pack(folder, f"{s3.url}/my faces #1")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load.__wrapped__(settings(f"{s3.url}/other faces"))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Ninety rows of bytes in 2 files with row groups of 10, without labels."""
    for number in range(2):
        images = [encoded(Image.new("L", (4, 4), number * 45 + i)) for i in range(45)]
        pq.write_table(pa.table({"image": images}), tmp_path / f"{number}.parquet", row_group_size=10)
    return tmp_path


def test_streamed_and_decoded_rows_are_the_same(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load.__wrapped__(settings(shards))
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    streamed = load.__wrapped__(settings(shards))
    assert sum(streamed.blocks) == len(streamed) == len(whole) == 81
    index = torch.tensor([80, 0, 5, 44, 44, 17])
    assert torch.equal(streamed.train[index].values, whole.train[index].values)
    assert torch.equal(everything(streamed.test).values, everything(whole.test).values)


def test_a_streamed_epoch_shows_every_row_once_on_any_number_of_ranks(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    data = load.__wrapped__(settings(shards))
    order = data.order(batch_size=27, seed=0)
    shown = torch.cat([data.train[order.rows(step, World.single())].values for step in range(3)])
    assert len({int(v.max()) for v in shown}) == 81
    ranks = [data.train[order.rows(0, World(r, 3, torch.device("cpu")))].values for r in range(3)]
    assert torch.equal(torch.cat(ranks), shown[:27])


def test_rows_that_are_expected_are_read_meanwhile(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    data = load.__wrapped__(settings(shards))
    one, other = torch.tensor([3, 70]), torch.tensor([12])
    expected = {str(index): data.train[index].values for index in (one, other)}
    reads: list[Tensor] = []
    read = Streamed._read

    def counting(self: Streamed, index: Tensor) -> Examples:
        reads.append(index)
        return read(self, index)

    monkeypatch.setattr(Streamed, "_read", counting)
    data.train.expect(one)
    assert torch.equal(data.train[one].values, expected[str(one)])
    assert len(reads) == 1
    data.train.expect(one)
    assert torch.equal(data.train[other].values, expected[str(other)]), "who asks for something else gets that"
    assert torch.equal(data.train[one].values, expected[str(one)])


def test_a_broken_row_is_told_with_file_and_row(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"image": [b"broken"] * 5 + [encoded(Image.new("L", (4, 4)))] * 5}), shards / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet, row group 0, row 1.*max_broken"):
        load.__wrapped__(settings(shards))
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    data = load.__wrapped__(settings(shards, max_broken=0.1))
    assert int(data.train[torch.tensor([81])].values.max()) == 0, "the next readable row stands in"


def test_a_broken_row_counts_once_and_never_lets_a_held_out_one_in(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [encoded(Image.new("L", (4, 4), number)) for number in range(100, 120)]
    images[8] = b"broken"
    pq.write_table(pa.table({"image": images}), shards / "2.parquet")  # rows 90 to 109; 99 and 109 are held out
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    data = load.__wrapped__(settings(shards, max_broken=0.01))
    order = data.order(batch_size=99, seed=0)
    for epoch in range(3):
        shown = data.train[order.rows(epoch, World.single())].values
        assert not {109, 119} & {int(v.max()) for v in shown}
    assert int(data.train[torch.tensor([89])].values.max()) == 110, "row 98 is broken, 99 is held out"


def test_a_streamed_set_tells_of_its_first_rows_and_of_what_it_met(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, other = (encoded(Image.new("L", (4, 4), shade)) for shade in (7, 9))
    pq.write_table(pa.table({"image": [same] * 60 + [other] * 20}), shards / "0.parquet")
    broken = [encoded(Image.new("L", (4, 4), number)) for number in range(300)]
    broken[290] = b"broken"
    pq.write_table(pa.table({"image": broken}), shards / "1.parquet")
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    monkeypatch.setattr(told, "LOOK", 72)
    data = load.__wrapped__(settings(shards))
    assert describe(data)[1:] == ["only 2 of the first 72 pictures are different"]
    everything(data.train)
    (met,) = data.found()
    assert met.startswith("1 of 380 images skipped: ") and "1.parquet, row group 0, row 290: " in met
    assert describe(data)[2] == met


def test_data_that_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        load(Data(name="images", path=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match=r"no image files below .*\.dcm, .*\.nii, .*\.png"):
        load(Data(name="images", path=str(tmp_path)))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load(settings(tmp_path / "nowhere"))
    pq.write_table(pa.table({"picture": [b""]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"no column 'image'.*picture"):
        load(settings(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="at least 10 are needed"):
        load(settings(tmp_path / "b.parquet"))


def everything(examples: Any) -> Any:
    return examples[torch.arange(len(examples))]


def rows(examples: Any) -> set[bytes]:
    return {row.numpy().tobytes() for row in everything(examples).values}


def test_streamed_rows_are_told_apart_without_reading_them(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    before = load.__wrapped__(settings(shards)).fingerprint
    monkeypatch.setattr(streamed, "pixels", None)
    assert load.__wrapped__(settings(shards)).fingerprint == before
    images = [encoded(Image.new("L", (4, 4), number)) for number in range(45)]
    pq.write_table(pa.table({"image": images[:44]}), shards / "1.parquet", row_group_size=10)
    assert load.__wrapped__(settings(shards)).fingerprint != before
