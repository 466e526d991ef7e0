"""Pictures and tables as people bring them."""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.trainers.small import config
from trainers.check import data_problems
from trainers.config import Config, Data
from trainers.data import Dataset, describe, load
from trainers.data import shards as shards_module
from trainers.data.pack import pack
from trainers.errors import DataError
from trainers.loop import train
from trainers.world import World


def png(number: int) -> bytes:
    """A grey picture as bright as its number."""
    buffer = io.BytesIO()
    Image.new("L", (6, 6), number).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, count: int = 12, first: int = 0, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:03d}{suffix}").write_bytes(png(number))
    return folder


def images(folder: Path, **values: Any) -> Dataset:
    data: Dataset = load.__wrapped__(Data(name="images", path=str(folder), resolution=4, channels=1, **values))
    return data


def parquet(*paths: Any, **values: Any) -> Dataset:
    path = str(paths[0]) if len(paths) == 1 else tuple(map(str, paths))
    data: Dataset = load.__wrapped__(Data(name="parquet", path=path, resolution=4, channels=1, **values))
    return data


def brightness(rows: Any) -> list[int]:
    """The numbers of the pictures."""
    return sorted(int(v.max()) for v in rows[torch.arange(len(rows))].values)


def by_class(data: Dataset) -> dict[str, list[int]]:
    """The numbers of the training pictures by the names of their classes."""
    examples = data.train[torch.arange(len(data.train))]
    names = data.space.names or tuple(map(str, range(data.space.classes)))
    assert examples.labels is not None
    found: dict[str, list[int]] = {name: [] for name in names}
    for value, label in zip(examples.values, examples.labels, strict=True):
        found[names[int(label)]].append(int(value.max()))
    return {name: sorted(numbers) for name, numbers in found.items()}


# -- folders -----------------------------------------------------------------------------------------------------------


def test_linked_folders_are_classes_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    fill(root / "a"), fill(root / "b", first=20), fill(tmp_path / "elsewhere", first=40)
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "c" / "up").symlink_to(root)
    data = images(root)
    assert data.space.names == ("a", "b", "c")
    assert len(data.train) + len(data.test) == 36


def test_train_and_test_folders_are_splits_of_their_classes(tmp_path: Path) -> None:
    for split, first in (("Train", 0), ("test", 100), ("val", 200)):
        fill(tmp_path / split / "cat", first=first), fill(tmp_path / split / "dog", first=first + 20)
    data = images(tmp_path)
    assert by_class(data) == {"cat": list(range(12)), "dog": list(range(20, 32))}
    assert brightness(data.test) == [*range(100, 112), *range(120, 132)]
    assert "trained on is 'Train', held out is 'test', left aside is val" in describe(data)
    packed = pack(tmp_path, str(tmp_path / "shards"))
    assert [Path(shard).name for shard in packed.shards] == ["test-00000.parquet", "train-00000.parquet"][::-1]
    again = parquet(tmp_path / "shards")
    assert (by_class(again), brightness(again.test)) == (by_class(data), brightness(data.test))


def test_a_class_without_a_picture_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "train"):
        fill(folder / "cat")
        fill(folder / "dog", first=20)
        for empty in ("bird", ".thumbs"):
            (folder / empty).mkdir()
    (tmp_path / "bird" / "notes.txt").write_text("later")
    data = images(tmp_path / "train")
    assert data.space.names == ("cat", "dog") and list(data.notes) == ["left aside: bird, without an image file"]
    assert "left aside: bird, without an image file" in images(tmp_path).notes
    (tmp_path / "train").rename(tmp_path / "split")
    (tmp_path / "whole").mkdir()
    (tmp_path / "split").rename(tmp_path / "whole" / "train")
    assert "left aside: bird, without an image file" in images(tmp_path / "whole").notes


def test_a_class_called_train_among_others_is_a_class(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "car", "plane")):
        fill(tmp_path / name, first=20 * number)
    assert images(tmp_path).space.names == ("car", "plane", "train")


def test_a_held_out_folder_of_other_classes_is_left_aside(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "cat"), fill(tmp_path / "train" / "dog", first=20), fill(tmp_path / "test", first=40)
    data = images(tmp_path)
    assert len(data.test) == 2 and max(brightness(data.train)) < 40
    assert data.notes[-1] == "trained on is 'train', every tenth is held out, left aside is test"


def test_what_tools_and_cameras_leave_beside_pictures(tmp_path: Path) -> None:
    fill(tmp_path / "a", suffix=".JFIF"), fill(tmp_path / "b", first=20, suffix=".jpe")
    fill(tmp_path / "__MACOSX" / "a"), fill(tmp_path / ".ipynb_checkpoints"), fill(tmp_path / "a" / ".thumbs")
    (tmp_path / "a" / "._000.png").write_bytes(b"resource fork")
    (tmp_path / "a" / "photo.heic").write_bytes(b"?")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    data = images(tmp_path, max_broken=0.1)
    assert data.space.names == ("a", "b") and len(data.train) + len(data.test) == 24
    assert list(data.notes) == [
        f"1 of 25 images skipped: {tmp_path}/b/gone.png: broken image (No such file or directory)",
        "left aside: 1 .heic files",
    ]


def test_names_that_are_not_utf8_are_shown_and_stored_as_text(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / "pictures" / os.fsdecode(b"caf\xe9" if number % 2 else b"tea")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / os.fsdecode(b"\xe9%d.png" % number)).write_bytes(b"?" if number == 3 else png(number))
    packed = pack(tmp_path / "pictures", str(tmp_path / "shards"), max_broken=0.1)
    assert packed.classes == (r"caf\xe9", "tea")
    assert packed.notes[0].startswith("1 of 20 images skipped: ") and r"caf\xe9/\xe93.png" in packed.notes[0]
    assert by_class(parquet(tmp_path / "shards")).keys() == {r"caf\xe9", "tea"}


def test_a_photo_with_an_odd_exif_block_keeps_its_pixels_and_its_orientation(tmp_path: Path) -> None:
    half = Image.new("L", (8, 8), 0)
    half.paste(255, (0, 0, 8, 4))
    buffer = io.BytesIO()
    half.save(buffer, "JPEG", quality=95)
    turned = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # orientation 6: turn clockwise
    ifd = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 2) + turned
    ifd += struct.pack("<HHIi", 0x100, 9, 1, -5) + bytes(4)  # a width of -5
    block = b"Exif\0\0" + ifd
    photo = buffer.getvalue()
    photo = photo[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + photo[2:]
    fill(tmp_path), (tmp_path / "photo.jpg").write_bytes(photo)
    data = images(tmp_path)
    assert data.notes == ()
    rows = torch.cat([part[torch.arange(len(part))].values for part in (data.train, data.test)])
    (upright,) = [row[0] for row in rows if row.max() > 200]
    assert upright[:, 3].min() > 200 and upright[:, 0].max() < 50


def test_whatever_a_decoder_raises_is_its_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.setattr(Image.Image, "getexif", lambda self: struct.unpack("<I", b""))
    with pytest.raises(DataError, match=r"000\.png: broken image \(error: unpack requires a buffer of 4 bytes\)"):
        images(tmp_path)


def test_16_bits_that_would_be_nearly_black_are_told_and_never_mixed_with_8(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(np.full((6, 6), 300 * number, np.uint16)).save(tmp_path / f"{number}.png")
    told = "12 pictures of 16 bits use values up to 3,300 only, of 65,535, and are nearly black; set data.intensity"
    assert any(note.startswith(told) for note in describe(images(tmp_path)))
    fill(tmp_path, 2)
    with pytest.raises(DataError, match=r"up to 3,300 only, of 65,535, and 2 have 8 bits: .*keep one kind"):
        images(tmp_path)
    Image.fromarray(np.full((6, 6), 60_000, np.uint16)).save(tmp_path / "bright.png")
    assert not images(tmp_path).notes


def test_pictures_that_are_all_the_same_are_refused_and_repetition_is_told(tmp_path: Path) -> None:
    same = tmp_path / "same"
    fill(same)
    for file in same.iterdir():
        file.write_bytes(png(7))
    with pytest.raises(DataError, match="all 11 pictures are the same"):
        images(same)
    for number in range(4):
        (same / f"more{number}.png").write_bytes(png(number))
    assert "are different" in images(same).notes[-1]
    with pytest.raises(DataError, match=r"2 readable images below .*; at least 10 are needed"):
        images(fill(tmp_path / "two", 2))


# -- Parquet -----------------------------------------------------------------------------------------------------------

PICTURES = [png(number) for number in range(30)]


def write(path: Path, columns: dict[str, Any], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path, row_group_size=10)
    return path


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "dog", "ant"] * 10, ("ant", "cat", "dog")),
        (pa.array(["cat", "dog", "ant"] * 10).dictionary_encode(), ("ant", "cat", "dog")),
        ([1, 2, 3] * 10, ("1", "2", "3")),
        ([10**12, 5, 7] * 10, ("5", "7", "1000000000000")),
        ([0, 1, 2] * 10, ()),
        ([True, False] * 15, ("False", "True")),
    ],
)
def test_classes_are_the_values_that_occur(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: Any, names: tuple[str, ...], streamed: bool
) -> None:
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0 if streamed else 2**30)
    write(tmp_path / "a.parquet", {"image": PICTURES, "label": labels})
    data = parquet(tmp_path)
    given = labels.to_pylist() if isinstance(labels, pa.Array) else labels
    assert data.space.names == names
    trained = [number for number in range(30) if number % 10 != 9]
    expected = {str(value): [n for n in trained if given[n] == value] for value in set(given)}
    assert by_class(data) == expected
    assert data.train.label_counts is not None and min(data.train.label_counts) > 0


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (list(range(10**12, 10**12 + 30)), "holds 30 different values in 30 rows: ids, and no classes"),
        ([1.0] * 30, "holds double; classes are integers or text"),
        ([-1, 1, 1] * 10, "has negative rows"),
        ([None, 1, 1] * 10, "has empty rows"),
        ([[1]] * 30, "holds list<"),
    ],
)
def test_labels_that_are_no_classes_matter_to_conditional_models_only(
    tmp_path: Path, labels: list[Any], says: str
) -> None:
    write(tmp_path / "a.parquet", {"image": PICTURES, "label": labels})
    data = parquet(tmp_path)
    assert (len(data.train), data.space.classes) == (27, 0)
    assert says in describe(data)[-1]
    config = Config.model_validate({"model": {"conditional": True}, "train": {"batch_size": 8}})
    ((where, message),) = data_problems(config, len(data), data.space.classes, data.unlabelled)
    assert where == "model.conditional" and says in message


def test_a_table_from_pandas(tmp_path: Path) -> None:
    table = pd.DataFrame({"img": PICTURES, "kind": pd.Categorical(["b", "a"] * 15), "extra": range(30)})
    table.to_parquet(tmp_path / "a.parquet")
    data = parquet(tmp_path / "a.parquet", image_column="img", label_column="kind")
    assert data.space.names == ("a", "b")
    with pytest.raises(
        DataError, match=r"data\.image_column: no column 'image'.*name one of its columns: img, kind, extra"
    ):
        parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"data\.label_column: no column 'sort'"):
        parquet(tmp_path / "a.parquet", image_column="img", label_column="sort")


def hub(folder: Path) -> Path:
    """As data sets lie on the Hugging Face hub: splits in shards, class names in the schema, a card beside them."""
    features = '{"info": {"features": {"fine_label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}}}'
    images = [{"bytes": picture, "path": None} for picture in PICTURES]
    for name, part in (("train-00000-of-00002", 0), ("train-00001-of-00002", 1), ("test-00000-of-00001", 2)):
        columns = {"img": images[10 * part :][:10], "fine_label": [0, 1] * 5}
        write(folder / "data" / f"{name}.parquet", columns, huggingface=features)
    (folder / "README.md").write_text("# a card")
    return folder


def test_a_folder_from_the_hub_keeps_its_splits_and_the_names_of_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"image_column": "img", "label_column": "fine_label"}
    data = parquet(hub(tmp_path), **columns)
    assert data.space.names == ("ant", "bee", "cow")
    assert (brightness(data.train), brightness(data.test)) == (list(range(20)), list(range(20, 30)))
    assert describe(data) == [
        "parquet: 20 images of shape 1x4x4 to train on, 10 held out; 3 classes: ant (10), bee (10), cow (0); "
        "1 of them without an example",
        "trained on is 'train', held out is 'test'",
    ]
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    streamed = parquet(tmp_path, **columns)
    assert (by_class(streamed), brightness(streamed.test)) == (by_class(data), brightness(data.test))
    assert sum(streamed.blocks) == 20


@pytest.mark.parametrize("labels", [[-1] * 10, [None] * 10, ["owl"] * 10, None], ids=["none", "empty", "other", "no"])
def test_a_test_split_without_the_classes_is_left_aside(tmp_path: Path, labels: list[Any] | None) -> None:
    known = ["ant", "bee"] * 10 if labels == ["owl"] * 10 else [0, 1] * 10
    write(tmp_path / "train.parquet", {"image": PICTURES[:20], "label": known})
    write(tmp_path / "test.parquet", {"image": PICTURES[20:], **({"label": labels} if labels else {})})
    data = parquet(tmp_path)
    assert (data.space.classes, len(data.train), len(data.test)) == (2, 18, 2)
    assert data.notes == ("trained on is 'train', every tenth is held out, left aside is test",)


def test_patterns_and_lists_say_what_to_train_on(tmp_path: Path) -> None:
    columns = {"image_column": "img", "label_column": "fine_label"}
    hub(tmp_path)
    some = parquet(tmp_path / "data" / "train-*.parquet", **columns)
    assert len(some.train) + len(some.test) == 20
    every = parquet(tmp_path / "data" / "test-*.parquet", tmp_path / "data" / "train-00000-of-00002.parquet", **columns)
    assert sorted([*brightness(every.train), *brightness(every.test)]) == [*range(10), *range(20, 30)]
    with pytest.raises(DataError, match="no Parquet files in"):
        parquet(tmp_path / "data" / "valid-*.parquet", **columns)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("struct_", [False, True])
def test_images_may_be_files_of_their_own(tmp_path: Path, absolute: bool, struct_: bool) -> None:
    fill(tmp_path / "img", 30)
    paths = [f"{tmp_path if absolute else ''}/img/{n:03d}.png".removeprefix("" if absolute else "/") for n in range(30)]
    write(tmp_path / "a.parquet", {"image": [{"path": path} for path in paths] if struct_ else paths})
    data = parquet(tmp_path / "a.parquet")
    assert sorted([*brightness(data.train), *brightness(data.test)]) == list(range(30))
    (tmp_path / "img" / "003.png").unlink()
    with pytest.raises(DataError, match=r"row 3: there is no file .*img/003\.png; 1 broken.*max_broken"):
        parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[[[0, 0, 0]] * 8] * 8] * 30, pa.list_(pa.list_(pa.list_(pa.uint8())))),
        [[{"bytes": picture, "path": None}] for picture in PICTURES],
        [{"data": picture} for picture in PICTURES],
        list(range(30)),
    ],
    ids=["pixels", "lists of images", "another struct", "numbers"],
)
def test_a_column_that_holds_no_images_is_one_clear_problem(tmp_path: Path, column: Any) -> None:
    write(tmp_path / "a.parquet", {"image": column})
    with pytest.raises(DataError, match=r"data\.image_column: .*column 'image' holds .*; images are encoded"):
        parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("hair", "says"),
    [
        ({}, r"b\.parquet has no column 'hair'; write all files with the same columns"),
        ({"hair": [1] * 12}, r"b\.parquet holds int64 in column 'hair', and .*a\.parquet string"),
    ],
)
@pytest.mark.parametrize("label", ["hair", ("hair", "age")])
def test_a_file_that_is_unlike_the_others_is_named(tmp_path: Path, hair: dict[str, Any], says: str, label: Any) -> None:
    both = {"image": [png(number) for number in range(12)], "age": [20] * 12}
    write(tmp_path / "a.parquet", both | {"hair": ["black", "blond"] * 6})
    write(tmp_path / "b.parquet", both | hair)
    with pytest.raises(DataError, match=rf"data\.label_column: .*{says}"):
        parquet(tmp_path, label_column=label)


def test_a_held_out_file_that_is_unlike_the_others_is_named(tmp_path: Path) -> None:
    both = {"image": [png(number) for number in range(12)], "age": [20] * 12}
    write(tmp_path / "train.parquet", both | {"hair": ["black", "blond"] * 6})
    write(tmp_path / "test.parquet", both | {"hair": [1] * 12})
    with pytest.raises(DataError, match=r"test\.parquet holds int64 in column 'hair', and .*train\.parquet string"):
        parquet(tmp_path, label_column=("hair", "age"))


def test_files_may_keep_images_in_different_forms(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": [png(number) for number in range(12)]})
    write(tmp_path / "b.parquet", {"image": [{"bytes": png(number), "path": None} for number in range(12, 24)]})
    assert len(parquet(tmp_path).train) == 22
    write(tmp_path / "c.parquet", {"label": [1]})
    with pytest.raises(DataError, match=r"data\.image_column: .*c\.parquet has no column 'image'"):
        parquet(tmp_path)


def test_empty_cells_are_broken_images(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": [None, *PICTURES[1:]]})
    with pytest.raises(DataError, match=r"row group 0, row 0: .*max_broken"):
        parquet(tmp_path / "a.parquet")
    assert np.array_equal(brightness(parquet(tmp_path / "a.parquet", max_broken=0.1).train)[:3], [1, 2, 3])


# -- several label columns ---------------------------------------------------------------------------------------------


def attributes(folder: Path, **more: list[Any]) -> Path:
    """40 pictures, as bright as their number, with columns as CelebA's."""
    values: dict[str, Any] = {
        "image": [png(number) for number in range(40)],
        "smiling": [1 if number % 2 else -1 for number in range(40)],
        "hair": pa.array([("black", "blond")[number % 2] for number in range(40)]).dictionary_encode(),
        "age": [20 + number for number in range(40)],
        "tilt": [number / 10 for number in range(40)],
    }
    folder.mkdir()
    pq.write_table(pa.table(values | more), folder / "faces.parquet", row_group_size=15)
    return folder


@pytest.mark.parametrize("streamed", [False, True])
def test_several_label_columns_are_conditions_of_classes_and_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0 if streamed else 2**30)
    data = parquet(attributes(tmp_path / "a"), label_column=("smiling", "hair", "age", "tilt"))
    assert [column.told for column in data.space.columns] == [
        "smiling (-1, 1)", "hair (black, blond)", "age (20 to 59)", "tilt (0 to 3.9)"
    ]  # fmt: skip
    assert data.space.classes == 0 and not data.notes
    for split in (data.train, data.test):
        examples = split[torch.arange(len(split))]
        assert examples.labels is not None
        shown = examples.values.flatten(1).amax(1).float()
        told = torch.stack([shown % 2, shown % 2, 20 + shown, shown / 10], 1)
        assert torch.allclose(examples.labels, told)
        assert split.labels is not None and torch.equal(split.labels, examples.labels), "known without the pictures"


def test_splits_agree_on_what_columns_mean(tmp_path: Path) -> None:
    folder = attributes(tmp_path / "a")
    (folder / "faces.parquet").rename(folder / "train-0.parquet")
    other = {"image": [png(90)] * 4, "hair": ["red"] * 4, "age": [70] * 4}
    pq.write_table(pa.table(other), folder / "test-0.parquet")
    data = parquet(folder, label_column=("hair", "age"))
    assert data.space.columns[0].names == ("black", "blond", "red") and data.space.columns[1].high == 70
    assert data.test[torch.arange(4)].labels.tolist() == [[2, 70]] * 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("more", "columns", "says"),
    [
        ({}, ("hair", "hat"), "no column 'hat' .* name one of its columns: image, smiling, hair, age, tilt"),
        ({"hair": [None, *["red"] * 39]}, ("hair", "age"), "'hair' has 1 empty rows"),
        ({"box": [[1, 2]] * 40}, ("hair", "box"), "'box' holds list.*conditions are text or numbers"),
    ],
)
def test_columns_that_are_no_conditions_are_refused(
    tmp_path: Path, more: dict[str, Any], columns: tuple[str, ...], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        parquet(attributes(tmp_path / "a", **more), label_column=columns)


def test_a_streamed_set_with_several_columns_is_trained_on_and_judged_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As published faces with their attributes are, from 64x64 pixels on."""
    path, columns = str(attributes(tmp_path / "a")), ["smiling", "age"]
    settings = config(
        data={"name": "parquet", "path": path, "label_column": columns, "resolution": 16, "channels": 1},
        model={"generator": "dcgan", "discriminator": "dcgan", "conditional": True, "width": 4},
        train={"images": 16, "batch_size": 8},
        evaluate={"every_images": 8, "samples": 16, "extractor": "reader", "metrics": ["attribute_accuracy"]},
    )
    monkeypatch.setattr(shards_module, "IN_MEMORY", 0)
    last = list(train(settings, World.single()))[-1]
    assert 0 <= last.metrics["attribute_accuracy"] <= 1
    assert math.isfinite(last.losses["discriminator"])
