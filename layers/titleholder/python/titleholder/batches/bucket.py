"""The bucket: every read and write of this project in S3. No file is held in memory as a whole.

manifests/<batch>                 the caller's upload (personal data); deleted once it is imported
batches/<batch>/...               ranges, ids that are still to be verified, rows, rejects, results: ids and verdicts only
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from titleholder.errors import FileReplacedError

LARGEST_PUT_BYTES = 5 * 1024**3
"""S3's own limit for an upload in one piece."""

PART_BYTES = 1024**3
LINK_SECONDS = 3600
"""How long a link is valid at most (seconds). It expires earlier if the credentials of the function that signed it do."""

_BLOCK_BYTES = 256 * 1024
_WRITE_BYTES = 8 * 1024**2
"""The size of a part of a large file. S3 requires at least 5 MiB."""

_CHECKSUM = "CRC32"
"""The SDK sends this checksum with each part. S3 requires it when the upload is created, and again when it is completed."""


class BatchBucket:
    """The bucket named `bucket`, through a boto3 S3 client."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    # -- uploads -----------------------------------------------------------------------------------------------------------------

    def start_upload(self, key: str, size: int) -> str | None:
        """The id of an upload in parts of `PART_BYTES`; None for a size that one PUT can take."""
        if size <= LARGEST_PUT_BYTES:
            return None
        return str(self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"])

    def upload_urls(self, key: str, size: int, upload: str | None) -> list[str]:
        """URLs to PUT a file of `size` bytes to: one, or, for an upload in parts, one for each part in order."""
        if upload is None:
            return [self._link("put_object", Key=key)]
        parts = range(1, -(-size // PART_BYTES) + 1)
        return [self._link("upload_part", Key=key, UploadId=upload, PartNumber=number) for number in parts]

    def complete_upload(self, key: str, upload: str) -> None:
        """Join the parts of an upload. Does nothing if that was done before."""
        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload}
        try:
            pages = self._client.get_paginator("list_parts").paginate(**place)
            parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for page in pages for part in page.get("Parts", ())]
            if parts:
                self._client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":
                raise

    def size(self, key: str) -> int | None:
        """The size of a file in bytes; None if there is none."""
        found = self.stat(key)
        return None if found is None else found[0]

    def stat(self, key: str) -> tuple[int, str] | None:
        """The size of a file in bytes, and its ETag, which changes whenever it is written; None if there is none."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
                raise
            return None
        return int(head["ContentLength"]), str(head["ETag"])

    # -- reading -----------------------------------------------------------------------------------------------------------------

    def read(
        self, key: str, start: int = 0, end: int | None = None, block: int = _BLOCK_BYTES, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """The bytes `start` to `end` (exclusive; None: all) in blocks.

        Raises FileReplacedError if the file's ETag is not `etag`. The ETag of the answer is compared, because an ETag that was read before
        may be outdated by then.
        """
        part = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        answer = self._client.get_object(Bucket=self._bucket, Key=key, **part)
        body = answer["Body"]
        try:
            if etag is not None and answer["ETag"] != etag:
                raise FileReplacedError("The file was replaced after it was chosen to be read.")
            while data := body.read(block):
                yield data
        finally:
            body.close()

    def lines(self, key: str) -> Iterator[Any]:
        """The values in a JSON Lines file."""
        rest = b""
        for block in self.read(key):
            *whole, rest = (rest + block).split(b"\n")
            yield from map(json.loads, whole)
        if rest:
            yield json.loads(rest)

    # -- writing -----------------------------------------------------------------------------------------------------------------

    def write_lines(self, key: str, values: Iterable[Any]) -> None:
        """Write a JSON Lines file that fits into a function's memory."""
        body = b"".join(json.dumps(value).encode() + b"\n" for value in values)
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def write(self, key: str, blocks: Iterable[bytes]) -> None:
        """Write a file of any size. A crash leaves no file, only parts that the bucket's lifecycle rules delete."""
        place = {"Bucket": self._bucket, "Key": key}
        upload, buffer = None, bytearray()
        parts: list[dict[str, Any]] = []
        for block in blocks:
            buffer += block
            if len(buffer) >= _WRITE_BYTES:
                upload = upload or self._client.create_multipart_upload(**place, ChecksumAlgorithm=_CHECKSUM)["UploadId"]
                parts.append(self._part(key, upload, len(parts) + 1, bytes(buffer)))
                buffer.clear()
        if upload is None:
            self._client.put_object(**place, Body=bytes(buffer))
            return
        if buffer:
            parts.append(self._part(key, upload, len(parts) + 1, bytes(buffer)))
        self._client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})

    def _part(self, key: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
        place = {"Bucket": self._bucket, "Key": key, "UploadId": upload, "PartNumber": number}
        answer = self._client.upload_part(**place, Body=data, ChecksumAlgorithm=_CHECKSUM)
        # An emulator may compute no checksum.
        return {"PartNumber": number, "ETag": answer["ETag"]} | {name: answer[name] for name in ("ChecksumCRC32",) if name in answer}

    def delete(self, keys: Sequence[str]) -> None:
        """Delete files. Files that do not exist are ignored."""
        for at in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[at : at + 1000]]
            answer: Mapping[str, Any] = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            if answer.get("Errors"):
                raise RuntimeError(f"S3 did not delete {len(answer['Errors'])} of {len(objects)} files.")

    def link(self, key: str, name: str) -> str:
        """A URL from which a file can be read for an hour, to be saved as `name`."""
        return self._link("get_object", Key=key, ResponseContentDisposition=f'attachment; filename="{name}"')

    def _link(self, operation: str, **parameters: Any) -> str:
        place = {"Bucket": self._bucket, **parameters}
        return str(self._client.generate_presigned_url(ClientMethod=operation, Params=place, ExpiresIn=LINK_SECONDS))
