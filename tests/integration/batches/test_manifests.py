"""Manifests: uploaded in parts, cut into chunks, imported once, refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.batches import MARGARET, Batch, linked, manifest
from tests.support.sandbox import Sandbox, client
from titleholder.batches import bucket, manifests, steps
from titleholder.bootstrap import application
from titleholder.errors import ManifestError, UnexpectedError
from titleholder.store.batches import Batches

pytestmark = pytest.mark.slow


def test_manifest_is_deleted_once_it_is_imported(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    keys = [item["Key"] for item in client("s3").list_objects_v2(Bucket="titleholder-batches")["Contents"]]
    assert not [key for key in keys if key.startswith("manifests/")]


@pytest.mark.parametrize("dies_before", ["update", "tally"])
def test_import_that_died_at_its_end_is_repeated(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, dies_before: str) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)) + b"no json\n")
    batch.start()
    for part in batch.cut():
        batch.step("import", range=part)
    with monkeypatch.context() as patch:

        def die(*_: Any, **__: Any) -> None:
            raise ConnectionError

        patch.setattr(Batches if dies_before == "update" else steps, dies_before, die)
        with pytest.raises(UnexpectedError, match="ConnectionError"):
            batch.step("imported")
    batch.run(batch.step("imported"))
    assert (batch.shown()["state"], batch.shown()["done"]) == ("completed", {"match": 1})
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == [2]
    assert application().batch_bucket.size(f"manifests/{batch.id}") is None


def test_manifest_without_a_usable_header_fails_with_the_reason(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, b"fca_1,Margaret Testerman\n", "csv")
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    sandbox.store.batches.update(batch.id, {"run": 9})
    shown = batch.shown()
    assert (shown["state"], "header row" in shown["failure"]) == ("failed", True)
    assert "testerman" not in json.dumps(shown).lower()


def test_batch_without_a_manifest_can_not_be_started(sandbox: Sandbox) -> None:
    batch = sandbox.http("POST", "/batches", {"format": "csv"}).json["id"]
    early = sandbox.http("POST", f"/batches/{batch}/start")
    assert (early.problem, early.json["remedy"]) == ("batch-state", "retry")
    assert sandbox.http("GET", f"/batches/{batch}").json["state"] == "waiting_for_upload"
    assert sandbox.http("GET", "/batches/bat_" + "0" * 32).problem == "batch-not-found"


def test_manifest_over_five_gigabytes_gets_a_url_for_each_part(sandbox: Sandbox) -> None:
    upload = sandbox.http("POST", "/batches", {"format": "csv", "bytes": 6 * 1024**3 + 1}).json["upload"]
    assert (len(upload["urls"]), upload["part_bytes"]) == (7, 1024**3)
    assert sandbox.http("POST", "/batches", {"format": "csv", "bytes": manifests.LARGEST_BYTES + 1}).status == 422


def test_parts_are_put_together_at_the_start(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "LARGEST_PUT_BYTES", 5)
    body = manifest(linked(sandbox, 1))
    batch = Batch(sandbox, b"", bytes=len(body))
    s3 = client("s3")
    [upload] = s3.list_multipart_uploads(Bucket="titleholder-batches")["Uploads"]
    s3.upload_part(Bucket="titleholder-batches", Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=1, Body=body)
    batch.start()
    batch.run(batch.imported())
    assert batch.shown()["done"] == {"match": 1}


@pytest.mark.parametrize("piece", [100, 1000])
def test_cut_small_every_line_is_imported_once_under_its_own_number(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: piece)
    monkeypatch.setattr(steps, "BLOCK_BYTES", 7 * piece)
    accounts = [f"fca_{number}" for number in range(40)]
    batch = Batch(sandbox, manifest(accounts[:20]) + b"\n{}\n" + manifest(accounts[20:]))
    batch.start()
    batch.imported()
    found = [row for part in batch.lines("ranges.jsonl") for row in batch.lines(f"rows/{part['number']:06}.jsonl")]
    assert [row["account"] for row in found] == accounts
    assert [row["line"] for row in found] == [*range(1, 21), *range(23, 43)]
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == [22]


@pytest.mark.parametrize("piece", [64, 500, 65536])
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_every_line_is_imported_rejected_or_blank(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, format_: str, piece: int) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: piece)
    monkeypatch.setattr(steps, "BLOCK_BYTES", 5 * piece)
    if format_ == "csv":
        lines = [f"fca_{number},Margaret" for number in range(30)]
        lines[3], lines[7], lines[11] = 'fca_3,"Margaret', 'fca_7,6" Testerman', 'fca_11,"Margaret" Testerman'
        lines[15:17] = ['fca_15,"Margaret\nTesterman"', 'ba_16,"Margaret\nTesterman"']
        lines[20], lines[21] = ",", ""
        body, expected = "account,name\r\n" + "\r\n".join(lines), {"imported": 25, "rejected": 4, "blank": 2, "lines": 31}
        rejected = [5, 13, 19, 20]
    else:
        lines = [json.dumps({"account": f"fca_{number}", "claim": {**MARGARET, "email": ""}}) for number in range(30)]
        lines[3], lines[7], lines[11] = '"', '{"account": "fca_1", "account": "fca_1", "claim": {"name": "x"}}', " "
        body, expected = "\n".join(lines) + "\n", {"imported": 27, "rejected": 2, "blank": 1, "lines": 30}
        rejected = [4, 8]
    batch = Batch(sandbox, body.encode(), format_)
    batch.start()
    batch.imported()
    shown = batch.shown()
    assert {name: shown[name] for name in expected} == expected
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == rejected


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"account;name\r\nfca_1;x\r\n", "semicolons"),
        (b"sep=;\r\naccount;name\r\n", "sep="),
        (b"account,name,,\r\nfca_1,x,,\r\n", "empty cells"),
        ("account,name\nfca_1,x\n".encode("utf-16"), "UTF-16"),
        (b"account,name\rfca_1,x\r", "carriage return"),
        (b"\xef\xbb\xbf", "first line is empty"),
        (b",".join([b"ak"] * 21_000), "and 20980 others"),
    ],
)
def test_manifest_of_another_kind_fails_with_what_to_do(sandbox: Sandbox, body: bytes, word: str) -> None:
    batch = Batch(sandbox, body, "csv")
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    sandbox.store.batches.update(batch.id, {"run": 9})
    assert (batch.shown()["state"], word in batch.shown()["failure"]) == ("failed", True)


def replace(batch: Batch, body: bytes) -> None:
    client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{batch.id}", Body=body)


def failed(batch: Batch, step: str, **more: Any) -> str:
    with pytest.raises(ManifestError):
        batch.step(step, **more)
    batch.sandbox.store.batches.update(batch.id, {"run": 9})
    shown = batch.shown()
    assert shown["state"] == "failed"
    return str(shown["failure"])


def test_manifest_that_is_replaced_while_it_is_imported_fails_the_batch(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: 100)
    batch = Batch(sandbox, manifest(["fca_1", "fca_2", "fca_3", "fca_4"]))
    batch.start()
    first, second, *_ = batch.cut()
    batch.step("import", range=first)
    replace(batch, manifest(["fca_5", "fca_6", "fca_7", "fca_8"]))
    assert "uploaded again" in failed(batch, "import", range=second)
    # What was imported of the first file is not mixed with the second.
    assert batch.shown()["imported"] == len(batch.lines("rows/000000.jsonl"))
    again = sandbox.http("POST", f"/batches/{batch.id}/start")
    assert (again.problem, "create one for the new file" in again.json["detail"]) == ("batch-state", True)


@pytest.mark.parametrize("step", ["plan", "scan", "cut"])
def test_manifest_that_is_replaced_before_anything_is_imported_can_be_started_again(sandbox: Sandbox, step: str) -> None:
    accounts = linked(sandbox, 2)
    batch = Batch(sandbox, manifest(["fca_1", "fca_2", "fca_3"]))
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    replace(batch, manifest(accounts))
    if step == "cut":
        assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    else:
        more = {} if step == "plan" else {"block": plan["blocks"][0]}
        assert "uploaded again" in failed(batch, step, **more)
    sandbox.store.batches.update(batch.id, {"run": 9})
    assert batch.start()["state"] == "importing"
    batch.run(batch.imported())
    assert batch.shown()["done"] == {"match": 2}


def test_scan_of_an_earlier_release_is_looked_at_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: 100)
    batch = Batch(sandbox, b"account,name\n" + b"".join(b'fca_%d,"x\ny"\n' % number for number in range(20)), "csv")
    batch.start()
    ranges = batch.cut()
    assert len(ranges) > 2
    old = [
        {"bytes": scan["bytes"], "quotes": 7, "lines": scan["lines"], "even": None, "odd": [5, 1]}
        for scan in batch.lines("scans/000000.jsonl")
    ]
    application().batch_bucket.write_lines(f"batches/{batch.id}/scans/000000.jsonl", old)
    assert batch.step("cut", blocks=batch.step("plan")["blocks"]) == {"usable": True}
    assert batch.lines("ranges.jsonl") == ranges
