"""An object store: moto's S3 server, reached by nothing but the usual environment variables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vexarrow
from tests.commands import DEBIAN, MEMORY, json_lines, lines, names, process, vex
from tests.engines.moto import client_environment, moto_server
from tests.projections import TARGET, projection
from vexarrow.errors import AccessError, NotFound, TooManyRejects, TransientError, UsageError

pytestmark = pytest.mark.s3

PART = 5 << 20  # the smallest part of a multipart upload


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as address:
        yield address


def use(address: str, monkeypatch: pytest.MonkeyPatch, **keys: str) -> None:
    """Send this process to a server, as the environment of a command would."""
    for name, value in client_environment(address, **keys).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


class Bucket:
    """A new bucket, seen with boto3."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name

    def put(self, key: str, body: bytes) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)
        return self.url(key)

    def get(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body

    def names(self) -> set[str]:
        return {one["Key"] for one in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())}

    def uploads(self) -> list[Any]:
        """Multipart uploads that nobody finished: they cost money and show nowhere."""
        found: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    import boto3

    use(server, monkeypatch)
    monkeypatch.chdir(tmp_path)
    name = "test-" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    return Bucket(client, name)


@pytest.fixture
def source(bucket: Bucket) -> str:
    return bucket.put("in.vmig.jsonl", DEBIAN.read_bytes())


def test_the_documented_line_runs(bucket: Bucket, source: str) -> None:
    """As a process of its own, that has nothing but its environment."""
    done = process("convert", source, bucket.url("out/"), "--partition-by", "namespace", "--json").ok()
    assert done.report["written"] == 160
    parts = {key for key in bucket.names() if key.startswith("out/")}
    assert "out/namespace=games/part-00000.parquet" in parts
    assert sum(pq.read_metadata(pa.BufferReader(bucket.get(key))).num_rows for key in parts) == 160
    assert bucket.names() == parts | {"in.vmig.jsonl"}


def test_an_export_with_its_sidecar(bucket: Bucket) -> None:
    vex("export", "--from", "vektor", "--db", MEMORY, "--output", bucket.url("x.vmig.jsonl")).ok()
    assert bucket.names() == {"x.vmig.jsonl", "x.vmig.meta.json"}
    body, data = json.loads(bucket.get("x.vmig.meta.json")), bucket.get("x.vmig.jsonl")
    assert body["record_count"] == len(data.splitlines()) == 122
    assert body["file_sha256"] == hashlib.sha256(data).hexdigest()
    assert body["checksum"] == "sha256:" + hashlib.sha256(data[:-1]).hexdigest()
    vex("validate", bucket.url("x.vmig.jsonl")).ok()
    bucket.put("x.vmig.jsonl", data.replace(b"vektor", b"vector", 1))
    assert "checksum" in vex("validate", bucket.url("x.vmig.jsonl")).out


def test_an_import_adds_to_the_sidecar_there(bucket: Bucket, tmp_path: Path) -> None:
    vex("convert", DEBIAN, bucket.url("x.vmig.jsonl")).ok()
    before = json.loads(bucket.get("x.vmig.meta.json"))
    vex("import", "--from", bucket.url("x.vmig.jsonl"), "--to", "vektor", "--db", tmp_path / "new.db").ok()
    after = json.loads(bucket.get("x.vmig.meta.json"))
    assert {key: after[key] for key in before} == before
    assert "imported_at" in after


@pytest.mark.parametrize("suffix", ["vmig.jsonl", "vmig.jsonl.gz", "vmig.jsonl.zst", "parquet", "arrow", "arrows"])
def test_every_format_goes_there_and_comes_back(suffix: str, bucket: Bucket, tmp_path: Path) -> None:
    vexarrow.copy(str(DEBIAN), bucket.url(f"a/b/x.{suffix}"))
    assert vexarrow.inspect(bucket.url(f"a/b/x.{suffix}")).to_json()["records"] == 160
    vexarrow.copy(bucket.url(f"a/b/x.{suffix}"), str(tmp_path / "back.vmig.jsonl"))
    vexarrow.copy(str(DEBIAN), str(tmp_path / "here.vmig.jsonl"))
    assert (tmp_path / "back.vmig.jsonl").read_bytes() == (tmp_path / "here.vmig.jsonl").read_bytes()


def test_globs_and_prefixes_are_all_of_their_files_in_order(bucket: Bucket) -> None:
    records = lines(DEBIAN)
    for at in range(3):
        bucket.put(f"day/{at}/part.vmig.jsonl", b"\n".join(records[at * 10 : at * 10 + 10]) + b"\n")
    bucket.put("day/_SUCCESS", b"")
    bucket.put("day/notes.txt", b"no data")
    wanted = [json.loads(line)["id"] for line in records[:30]]
    for number, place in enumerate(("day/", "day", "day/*/*.vmig.jsonl", "day/[012]/part.vmig.jsonl")):
        vexarrow.copy(bucket.url(place), f"{number}.vmig.jsonl")
        assert [one["id"] for one in json_lines(Path(f"{number}.vmig.jsonl"))] == wanted, place
    assert vexarrow.inspect(bucket.url("day/1/")).to_json()["records"] == 10
    with pytest.raises(NotFound):
        vexarrow.inspect(bucket.url("night/*.vmig.jsonl"))


def test_a_file_there_is_not_overwritten_unless_said(bucket: Bucket, source: str) -> None:
    for target in ("in.vmig.jsonl", "x.parquet", "out/"):
        if target != "in.vmig.jsonl":
            vexarrow.copy(source, bucket.url(target))
        before = {key: bucket.get(key) for key in bucket.names()}
        done = vex("convert", DEBIAN, bucket.url(target), "--limit", "3")
        assert (done.code, done.out) == (2, "")
        assert "--overwrite" in done.err
        assert {key: bucket.get(key) for key in bucket.names()} == before
        vex("convert", DEBIAN, bucket.url(target), "--limit", "3", "--overwrite").ok()
        assert vexarrow.inspect(bucket.url(target)).to_json()["records"] == 3
        bucket.put("in.vmig.jsonl", DEBIAN.read_bytes())


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multipart uploads from 5 MB on, which is as early as S3 allows."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"default_block_size": PART})
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """13 MB of records, the last line is none."""
    path = tmp_path / "large.vmig.jsonl"
    path.write_bytes(DEBIAN.read_bytes() * 16 + b"[]\n")
    return path


@pytest.mark.parametrize("name", ["x.vmig.jsonl", "x.vmig.jsonl.zst", "x.parquet", "x.arrow", "out/"])
def test_a_run_that_fails_leaves_no_object_and_no_upload(
    name: str, bucket: Bucket, small_parts: None, large: Path
) -> None:
    with pytest.raises(TooManyRejects):
        vexarrow.copy(str(large), bucket.url(name), strict=True)
    assert bucket.names() == set()
    assert bucket.uploads() == []


def test_a_run_that_fails_leaves_the_old_object(bucket: Bucket, small_parts: None, large: Path) -> None:
    bucket.put("x.vmig.jsonl", b"old")
    with pytest.raises(TooManyRejects):
        vexarrow.copy(str(large), bucket.url("x.vmig.jsonl"), strict=True, overwrite=True)
    assert bucket.get("x.vmig.jsonl") == b"old"


@pytest.mark.parametrize("name", ["x.vmig.jsonl", "x.arrow"])
def test_a_large_file_is_a_multipart_upload_that_is_whole(
    name: str, bucket: Bucket, small_parts: None, large: Path
) -> None:
    report = vexarrow.copy(str(large), bucket.url(name))
    assert report.counts.written == 2560
    assert bucket.uploads() == []
    assert vexarrow.inspect(bucket.url(name)).to_json()["records"] == 2560
    etag = bucket.client.head_object(Bucket=bucket.name, Key=name)["ETag"]
    assert "-" in etag, "S3 marks what was uploaded in parts"


def test_rejects_of_a_run_to_a_bucket_are_kept_here(bucket: Bucket, large: Path) -> None:
    """A reject has to be safe even when the run fails, and an object is written whole or not at all."""
    report = vexarrow.copy(str(large), bucket.url("deep/x.parquet"))
    assert report.rejects_file == "x.parquet.rejects.jsonl"
    assert [one["line"] for one in json_lines(Path(report.rejects_file))] == [2561]


def test_a_bucket_that_does_not_exist_is_not_found(bucket: Bucket, source: str, tmp_path: Path) -> None:
    for left, right in (("s3://no-such-bucket/in.vmig.jsonl", "x.parquet"), (source, "s3://no-such-bucket/x.parquet")):
        with pytest.raises(NotFound, match="no-such-bucket"):
            vexarrow.copy(left, right)
        done = vex("convert", left, right)
        assert (done.code, done.out) == (1, "")
        assert len(done.err.splitlines()) == 1
    assert names(tmp_path) == set()


def test_an_object_that_does_not_exist_is_not_found(bucket: Bucket) -> None:
    with pytest.raises(NotFound, match=r"nothing\.parquet"):
        vexarrow.copy(bucket.url("nothing.parquet"), "x.vmig.jsonl")


@pytest.mark.slow
def test_wrong_credentials_are_refused_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with moto_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:
        use(address, monkeypatch, secret="wrong-secret-hunter2")  # noqa: S106 - wrong on purpose
        for left, right in (("s3://bucket/in.vmig.jsonl", "x.parquet"), (str(DEBIAN), "s3://bucket/x.parquet")):
            with pytest.raises(AccessError, match="bucket") as caught:
                vexarrow.copy(left, right)
            done = vex("convert", left, right)
            assert (done.code, done.out) == (1, "")
            assert "hunter2" not in done.err + str(caught.value)
            assert len(done.err.splitlines()) == 1
    assert names(tmp_path) == set()


def test_no_credentials_at_all_say_so(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(server, monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AccessError, match="credentials"):
        vexarrow.copy(str(DEBIAN), "s3://bucket/x.parquet")


def test_a_server_that_is_not_there_is_worth_another_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use("http://127.0.0.1:1", monkeypatch)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        vexarrow.copy("s3://bucket/in.vmig.jsonl", str(tmp_path / "x.parquet"))


def test_a_sidecar_there_never_overwrites_another_object(bucket: Bucket) -> None:
    bucket.put("x.vmig.meta.json", b"precious")
    with pytest.raises(UsageError, match=r"x\.vmig\.meta\.json"):
        vexarrow.copy(str(DEBIAN), bucket.url("x.vmig.jsonl"))
    assert bucket.names() == {"x.vmig.meta.json"}
    assert bucket.get("x.vmig.meta.json") == b"precious"


def test_a_projection_and_all_that_it_projects_may_be_there(bucket: Bucket) -> None:
    bucket.put("projections/my.safetensors", projection().to_bytes())
    bucket.put("in.vmig.jsonl", DEBIAN.read_bytes())
    vex("adapt", "--projection", bucket.url("projections/my.safetensors"), bucket.url("in.vmig.jsonl")).ok()
    assert {"in.adapted.vmig.jsonl", "in.adapted.vmig.meta.json"} <= bucket.names()
    first = json.loads(bucket.get("in.adapted.vmig.jsonl").splitlines()[0])
    assert (first["model"], first["adapted"]["projection"]) == (TARGET, projection().checksum)
