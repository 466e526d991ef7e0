"""One suite for every store: what went in comes back, or one line says why not and what to do."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from orchestrator.artifacts import Store, open_store
from orchestrator.artifacts.directory import DirectoryStore
from orchestrator.artifacts.s3 import S3Store
from orchestrator.errors import DamagedArtifactError, StoreError


class StoreCase:
    """A store, and a way round it to the bytes that it keeps."""

    def __init__(self, store: Store, bucket: str | None = None) -> None:
        self.store, self._bucket = store, bucket

    def write(self, key: str, content: bytes) -> None:
        if self._bucket:
            self._client.put_object(Bucket=self._bucket, Key=f"some/prefix/{key}", Body=content)
        else:
            path = Path(self.store.url) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def remove(self, key: str) -> None:
        if self._bucket:
            self._client.delete_object(Bucket=self._bucket, Key=f"some/prefix/{key}")
        else:
            (Path(self.store.url) / key).unlink()

    def keys(self) -> set[str]:
        if self._bucket:
            found = self._client.list_objects_v2(Bucket=self._bucket).get("Contents", ())
            return {item["Key"].removeprefix("some/prefix/") for item in found}
        root = Path(self.store.url)
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    @property
    def _client(self) -> Any:
        return boto3.Session().client("s3")


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.s3)])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreCase]:
    if request.param == "directory":
        yield StoreCase(DirectoryStore(tmp_path / "store"))
    else:
        s3 = request.getfixturevalue("s3")
        yield StoreCase(S3Store(f"{s3.url}/some/prefix"), s3.bucket)


CONTENT = {"weights.bin": b"\x00\x01weights" * 1000, "state.json": b"{}", "nested/more.bin": b""}


def folder(path: Path, content: dict[str, bytes] | None = None) -> Path:
    """A folder with its manifest, as a checkpoint has."""
    content = CONTENT if content is None else content
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    files = {n: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in content.items()}
    (path / "manifest.json").write_text(json.dumps({"version": 1, "files": files}))
    return path


def files_of(path: Path) -> dict[str, bytes]:
    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    files.pop("manifest.json")
    return files


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


# -- what it is for ----------------------------------------------------------------------------------------------------


def test_a_folder_comes_back_as_it_went_in(case: StoreCase, tmp_path: Path):
    case.store.check()
    assert not case.store.exists("a/b")
    case.store.put(folder(tmp_path / "in"), "a/b")
    assert case.store.exists("a/b")
    back = case.store.get("a/b", tmp_path / "deep" / "out")
    assert back == tmp_path / "deep" / "out"
    assert files_of(back) == CONTENT
    assert case.keys() == {f"a/b/{name}" for name in (*CONTENT, "manifest.json")}, "no probe, no leftovers"


def test_a_file_comes_back_as_it_went_in(case: StoreCase, tmp_path: Path):
    (tmp_path / "grid.png").write_bytes(b"picture")
    case.store.put(tmp_path / "grid.png", "samples/10.png")
    assert case.store.exists("samples/10.png") and not case.store.exists("samples/1")
    assert case.store.get("samples/10.png", tmp_path / "deep" / "out.png").read_bytes() == b"picture"


def test_the_same_store_is_made_of_its_url(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in"), "a")
    again = open_store(case.store.url, tmp_path / "unused")
    assert (type(again), again.url) == (type(case.store), case.store.url)
    assert files_of(again.get("a", tmp_path / "out")) == CONTENT


def test_putting_again_replaces(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "old"), "a")
    case.store.put(folder(tmp_path / "new", {"weights.bin": b"other"}), "a")
    assert files_of(case.store.get("a", tmp_path / "out")) == {"weights.bin": b"other"}


def test_delete_takes_all_of_one_and_nothing_of_another(case: StoreCase, tmp_path: Path):
    for key in ("a/1", "a/10"):
        case.store.put(folder(tmp_path / key), key)
    (tmp_path / "file").write_bytes(b"x")
    case.store.put(tmp_path / "file", "a/1.png")
    for key in ("a/1", "a/1", "never/there"):
        case.store.delete(key)
    assert not case.store.exists("a/1")
    assert case.keys() == {"a/1.png", *(f"a/10/{name}" for name in (*CONTENT, "manifest.json"))}
    case.store.delete("a/1.png")
    assert not case.store.exists("a/1.png") and case.store.exists("a/10")


# -- what may have happened meanwhile ----------------------------------------------------------------------------------


def test_a_flipped_byte_is_noticed(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in"), "a")
    flipped = bytearray(CONTENT["weights.bin"])
    flipped[5000] ^= 1
    case.write("a/weights.bin", bytes(flipped))
    with pytest.raises(DamagedArtifactError, match=r"^a/weights\.bin is damaged"):
        case.store.get("a", tmp_path / "out")


def test_another_size_is_noticed(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in"), "a")
    for content in (b"short", CONTENT["weights.bin"] + b"x"):
        case.write("a/weights.bin", content)
        with pytest.raises(DamagedArtifactError):
            case.store.get("a", tmp_path / "out")


def test_a_missing_file_is_noticed(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in"), "a")
    case.remove("a/state.json")
    with pytest.raises(DamagedArtifactError, match=r"state\.json"):  # so that an older checkpoint is taken
        case.store.get("a", tmp_path / "out")


def test_a_folder_without_its_manifest_does_not_exist(case: StoreCase, tmp_path: Path):
    """Its writer died before the last file."""
    case.store.put(folder(tmp_path / "in"), "a")
    case.remove("a/manifest.json")
    assert not case.store.exists("a")
    with pytest.raises(DamagedArtifactError, match=r"^artifact a ") as caught:
        case.store.get("a", tmp_path / "out")
    one_line(caught.value)


def test_a_manifest_that_names_a_file_outside_is_refused(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in"), "a")
    case.write("outside", b"x")
    for name in ("../outside", str(tmp_path / "x" / "outside"), "nested/../../outside"):
        case.write("a/manifest.json", json.dumps({"files": {name: {"sha256": "0", "size": 1}}}).encode())
        with pytest.raises(StoreError, match="names a file outside its folder"):
            case.store.get("a", tmp_path / "x" / "out")
        assert not (tmp_path / "x" / "outside").exists()


NONSENSE = (
    *(b"", b"{", b"[]", b"{}", b"\xff", b'{"files": []}'),
    *(b'{"files": {"a": null}}', b'{"files": {"a": {"size": 1}}}', b'{"files": {"a": {"sha256": "0"}}}'),
)


def test_a_manifest_that_makes_no_sense_is_damage(case: StoreCase, tmp_path: Path):
    case.store.put(folder(tmp_path / "in", {"a": b"x"}), "a")
    for manifest in NONSENSE:
        case.write("a/manifest.json", manifest)
        with pytest.raises(DamagedArtifactError, match=r"manifest\.json is damaged"):
            case.store.get("a", tmp_path / "out")


def test_what_is_not_there_is_said_so(case: StoreCase, tmp_path: Path):
    case.store.check()
    with pytest.raises(DamagedArtifactError, match="artifact no/such/thing") as caught:
        case.store.get("no/such/thing", tmp_path / "out")
    one_line(caught.value)


def test_a_source_that_is_not_there_is_said_so(case: StoreCase, tmp_path: Path):
    with pytest.raises(StoreError, match="No such file"):
        case.store.put(tmp_path / "nothing", "a")
    (tmp_path / "bare").mkdir()
    with pytest.raises(StoreError, match=r"manifest\.json"):
        case.store.put(tmp_path / "bare", "a")
    assert not case.store.exists("a")


def test_a_key_that_leaves_the_store_is_refused(case: StoreCase, tmp_path: Path):
    case.write("outside", b"x")
    source = folder(tmp_path / "in")
    for key in ("../outside", "a/../../outside", "/etc/hostname", "", "."):
        for work in (
            lambda key=key: case.store.put(source, key),
            lambda key=key: case.store.get(key, tmp_path / "out"),
            lambda key=key: case.store.exists(key),
            lambda key=key: case.store.delete(key),
        ):
            with pytest.raises(StoreError, match="leaves the store"):
                work()


def test_a_store_travels_without_secrets(case: StoreCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    case.store.check()  # an S3 store has its client now, and the client has the keys
    travelled = pickle.dumps(case.store)
    if isinstance(case.store, S3Store):
        client = boto3.Session().get_credentials()
        assert client and client.secret_key and client.access_key
        assert client.secret_key.encode() not in travelled and client.access_key.encode() not in travelled
    arrived: Store = pickle.loads(travelled)  # noqa: S301 (our own, of a moment ago: how Ray sends it to workers)
    arrived.put(folder(tmp_path / "in"), "a")
    assert case.store.exists("a")


# -- what can't be mended from here ------------------------------------------------------------------------------------


def test_no_space_left_says_so_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    case = StoreCase(DirectoryStore(tmp_path / "store"))
    case.store.put(folder(tmp_path / "in"), "a")
    before = case.keys()

    def full(source: Path, target: Path, **options: Any) -> None:
        Path(target).write_bytes(b"the first few by")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    (tmp_path / "file").write_bytes(b"x")
    for source, key in ((tmp_path / "in", "a"), (tmp_path / "in", "b"), (tmp_path / "file", "c")):
        with pytest.raises(
            StoreError, match=r"^artifact . in .*: No space left on device; free some space, then resume$"
        ):
            case.store.put(source, key)
    monkeypatch.undo()
    assert case.keys() == before
    assert files_of(case.store.get("a", tmp_path / "out")) == CONTENT, "the old one stands"


def test_a_folder_that_can_not_be_made_says_so(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^artifact folder .*/file/store: .*; check the path and its permissions$"):
        DirectoryStore(tmp_path / "file" / "store").check()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits between its tries; a test need not."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "not-an-endpoint"])
def test_an_unreachable_endpoint_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str):
    _keys(monkeypatch, endpoint)
    for work in _everything(S3Store("s3://bucket/prefix"), tmp_path):
        with pytest.raises(StoreError, match=r" in s3://bucket/prefix .*check AWS_ENDPOINT_URL") as caught:
            work()
        assert endpoint in one_line(caught.value)


def test_without_keys_the_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _keys(monkeypatch, "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for work in _everything(S3Store("s3://bucket/prefix"), tmp_path):
        with pytest.raises(StoreError, match=r"credentials.*check .*keys"):
            work()


def test_a_bucket_that_can_not_exist_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _keys(monkeypatch, "http://127.0.0.1:1")
    for work in _everything(S3Store("s3://no bucket/prefix"), tmp_path):
        with pytest.raises(StoreError, match="no bucket") as caught:
            work()
        one_line(caught.value)


@pytest.mark.s3
@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_one_line(tmp_path: Path):
    store = S3Store("s3://gone-with-the-wind/prefix")
    for work in _everything(store, tmp_path, but="exists"):
        with pytest.raises(
            StoreError, match=r"the bucket does not exist; create it or correct artifacts\.url"
        ) as caught:
            work()
        one_line(caught.value)


@pytest.mark.s3
@pytest.mark.parametrize(
    ("name", "words"),
    [("AWS_SECRET_ACCESS_KEY", "the secret key is wrong"), ("AWS_ACCESS_KEY_ID", "the access key is unknown")],
)
def test_wrong_keys_are_one_line_without_them(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
):
    monkeypatch.setenv(name, "wrong-and-secret")
    store = S3Store(s3.url)
    for work in (store.check, lambda: store.put(folder(tmp_path / "in"), "a"), lambda: store.delete("a")):
        with pytest.raises(StoreError, match=rf"{words}; check {name}") as caught:
            work()
        assert "wrong-and-secret" not in one_line(caught.value)
    with pytest.raises(StoreError, match="access denied; check the keys"):
        store.exists("a")


def _keys(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }.items():
        monkeypatch.setenv(name, value)


def _everything(store: Store, tmp_path: Path, but: str = "") -> list[Callable[[], object]]:
    source = folder(tmp_path / "in")
    work: dict[str, Callable[[], object]] = {
        "check": store.check,
        "put": lambda: store.put(source, "a"),
        "get": lambda: store.get("a", tmp_path / "out"),
        "exists": lambda: store.exists("a"),
        "delete": lambda: store.delete("a"),
    }
    return [call for name, call in work.items() if name != but]
