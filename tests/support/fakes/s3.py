"""S3 in memory."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

from tests.support.fakes.errors import Cross, refused


class FakeS3:
    """One bucket in memory."""

    def __init__(self, cross: Cross) -> None:
        self._cross = cross
        self.objects: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}

    def lines(self, prefix: str) -> list[Any]:
        """The values in JSON Lines files, as a Map's reader finds them."""
        return [json.loads(line) for key in sorted(self.objects) if key.startswith(prefix) for line in self.objects[key].splitlines()]

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> dict[str, Any]:
        return self._cross("PutObject", lambda: self.objects.update({Key: Body}) or {})  # type: ignore[no-any-return, func-returns-value]

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if Key not in self.objects:
                raise refused("GetObject", "NoSuchKey")
            body = self.objects[Key]
            if Range:
                first, _, last = Range.removeprefix("bytes=").partition("-")
                body = body[int(first) : int(last) + 1]
            return {"Body": io.BytesIO(body), "ETag": _etag(self.objects[Key])}

        return self._cross("GetObject", effect)  # type: ignore[no-any-return]

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if Key not in self.objects:
                raise refused("HeadObject", "404", ResponseMetadata={"HTTPStatusCode": 404})
            return {"ContentLength": len(self.objects[Key]), "ETag": _etag(self.objects[Key])}

        return self._cross("HeadObject", effect)  # type: ignore[no-any-return]

    def delete_objects(self, *, Bucket: str, Delete: Mapping[str, Any]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            for each in Delete["Objects"]:
                self.objects.pop(each["Key"], None)
            return {}

        return self._cross("DeleteObjects", effect)  # type: ignore[no-any-return]

    def create_multipart_upload(self, *, Bucket: str, Key: str, ChecksumAlgorithm: str | None = None) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._parts[Key] = {}
            return {"UploadId": Key}

        return self._cross("CreateMultipartUpload", effect)  # type: ignore[no-any-return]

    def upload_part(
        self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes, ChecksumAlgorithm: str | None = None
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._parts[UploadId][PartNumber] = Body
            return {"ETag": str(PartNumber)}

        return self._cross("UploadPart", effect)  # type: ignore[no-any-return]

    def complete_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str, MultipartUpload: Any) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            parts = self._parts.pop(UploadId)
            self.objects[Key] = b"".join(parts[number] for number in sorted(parts))
            return {}

        return self._cross("CompleteMultipartUpload", effect)  # type: ignore[no-any-return]

    def generate_presigned_url(self, *, ClientMethod: str, Params: Mapping[str, Any], ExpiresIn: int) -> str:
        return f"https://bucket/{Params['Key']}"


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
