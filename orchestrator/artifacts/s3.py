"""Artifacts in S3-compatible storage, through boto3. Endpoint, region and keys come from the environment, as for every
AWS tool.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.artifacts.store import MANIFEST, Store, manifest_files, verify
from orchestrator.errors import DamagedArtifactError, StoreError

_MEANING = {
    "NoSuchBucket": "the bucket does not exist; create it or correct artifacts.url",
    "AccessDenied": "access denied; check the keys and the bucket's policy",
    "InvalidAccessKeyId": "the access key is unknown; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "UserSuspended": "the account is suspended",
    "QuotaExceeded": "the quota is used up; free some space, then resume",
    "NoSuchKey": "there is no such object",
    "404": "there is no such object or bucket",
    "403": "access denied; check the keys and the bucket's policy",
}


class S3Store:
    """A store under ``s3://bucket/prefix``."""

    def __init__(self, url: str) -> None:
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.prefix = prefix.strip("/")
        _spare_checksums()  # for MLflow and pyarrow too

    @cached_property
    def _client(self) -> S3Client:
        _spare_checksums()
        patience = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 5, "mode": "standard"})
        return boto3.client("s3", config=patience)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to workers as bucket and prefix; each makes its own client, and no key travels."""
        return {"bucket": self.bucket, "prefix": self.prefix}

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def check(self) -> None:
        key = self._key(f".probe-{uuid.uuid4().hex}")
        with self._explained("artifact store"):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=b"gansweep")
            self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def put(self, source: Path, key: str) -> None:
        if not source.is_dir():
            self._upload(source, key)
            return
        for name in manifest_files(source / MANIFEST, key):
            self._upload(source / name, f"{key}/{name}")
        self._upload(source / MANIFEST, f"{key}/{MANIFEST}")

    def get(self, key: str, target: Path) -> Path:
        if not self._is_there(f"{key}/{MANIFEST}"):
            self._download(key, target)
            return target
        self._download(f"{key}/{MANIFEST}", target / MANIFEST)
        for name in manifest_files(target / MANIFEST, key):
            self._download(f"{key}/{name}", target / name)
        verify(target, key)
        return target

    def exists(self, key: str) -> bool:
        return self._is_there(key) or self._is_there(f"{key}/{MANIFEST}")

    def delete(self, key: str) -> None:
        # The manifest goes first: a folder half deleted must not look whole.
        with self._explained(f"artifact {key}"):
            for name in (f"{key}/{MANIFEST}", key):
                self._client.delete_object(Bucket=self.bucket, Key=self._key(name))
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._key(key) + "/"
            )
            for item in (item for page in pages for item in page.get("Contents", ())):
                self._client.delete_object(Bucket=self.bucket, Key=item["Key"])

    def _upload(self, source: Path, key: str) -> None:
        with self._explained(f"artifact {key}"):
            try:
                self._client.upload_file(str(source), self.bucket, self._key(key))
            except S3UploadFailedError as error:
                raise error.__context__ or error from None  # what the server said

    def _download(self, key: str, target: Path) -> None:
        with self._explained(f"artifact {key}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(self._client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"], file)

    def _is_there(self, key: str) -> bool:
        with self._explained(f"artifact {key}"):
            try:
                self._client.head_object(Bucket=self.bucket, Key=self._key(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return False
                raise
        return True

    def _key(self, key: str) -> str:
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise StoreError(f"artifact key {key!r} leaves the store {self.url}")
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            kind = DamagedArtifactError if code == "NoSuchKey" else StoreError
            raise kind(f"{what} in {self.url}: {_MEANING.get(code, code)}") from error
        except (BotoCoreError, S3UploadFailedError, ValueError) as error:  # ValueError: no endpoint could be meant
            where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
            raise StoreError(
                f"{what} in {self.url} at {where}: {' '.join(str(error).split())}; "
                "check AWS_ENDPOINT_URL, the keys and the network"
            ) from error
        except OSError as error:
            way_out = "; free some space, then resume" if error.errno == errno.ENOSPC else ""
            raise StoreError(f"{what}: {error.strerror or error}{way_out}") from error


def _spare_checksums() -> None:
    """Many S3-compatible servers refuse the checksum trailers of newer clients; the manifest is our own check."""
    if os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"):
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")


if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    _: Store = S3Store("s3://bucket")
