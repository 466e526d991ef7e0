"""What the project relies on in an S3 server, tried on a real one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import pyarrow.fs
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.conftest import S3

pytestmark = pytest.mark.s3


def test_only_one_of_many_writers_creates_an_object(s3: S3) -> None:
    client = boto3.client("s3")  # clients may be shared by threads
    together = threading.Barrier(8)

    def create(writer: int) -> bool:
        together.wait()
        try:
            client.put_object(Bucket=s3.bucket, Key=key, Body=b"writer %d" % writer, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for key in ("first", "second", "third"):
            won = list(pool.map(create, range(8)))
            assert won.count(True) == 1
            kept = client.get_object(Bucket=s3.bucket, Key=key)["Body"].read()
            assert kept == b"writer %d" % won.index(True)


def test_boto3_and_pyarrow_find_each_others_objects_through_the_environment_alone(s3: S3) -> None:
    client = boto3.client("s3")
    filesystem, root = pyarrow.fs.FileSystem.from_uri(s3.url)

    with filesystem.open_output_stream(f"{root}/from/pyarrow") as stream:
        stream.write(b"arrow" * 3_000_000)  # large enough for several parts
    client.put_object(Bucket=s3.bucket, Key="from/boto3", Body=b"boto")

    assert client.get_object(Bucket=s3.bucket, Key="from/pyarrow")["Body"].read() == b"arrow" * 3_000_000
    assert filesystem.open_input_stream(f"{root}/from/boto3").read() == b"boto"


def test_what_was_acknowledged_survives_a_power_cut(s3: S3) -> None:
    client = boto3.client("s3")
    for number in range(20):
        client.put_object(
            Bucket=s3.bucket, Key=f"{number}", Body=bytes([number]) * 100_000, Metadata={"n": f"{number}"}
        )

    s3.server.kill()
    with pytest.raises(EndpointConnectionError):
        client.head_object(Bucket=s3.bucket, Key="0")
    s3.server.start()

    for number in range(20):
        found = client.get_object(Bucket=s3.bucket, Key=f"{number}")
        assert found["Body"].read() == bytes([number]) * 100_000
        assert found["Metadata"] == {"n": f"{number}"}


def test_a_wrong_secret_is_refused(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto3.client("s3").list_objects_v2(Bucket=s3.bucket)
