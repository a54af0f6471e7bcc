"""Large files are written in parts with checksums in the way that S3 asks for, which moto and the emulator do not enforce.

S3 refuses a part whose checksum is of another algorithm than the upload was created with (or of any, if of none), and the completion of an
upload with an algorithm that does not name each part's checksum.
"""

from __future__ import annotations

import base64
import io
import re
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

from titleholder.batches.bucket import BatchBucket
from titleholder.bootstrap import aws_clients


class Raw(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        yield self.read()


class PartsOfS3:
    """S3's rules for uploads in parts. `refused`: why it refused a request."""

    def __init__(self) -> None:
        self.algorithm: str | None = None
        self.sums: dict[str, str] = {}
        self.refused: list[str] = []
        self.completed = False

    def send(self, _: Any, request: Any) -> AWSResponse:
        headers = {name.lower(): value if isinstance(value, str) else value.decode() for name, value in request.headers.items()}
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
        answer: dict[str, str] = {"ETag": '"e"'}
        body = ""
        if "uploads" in query:
            self.algorithm = headers.get("x-amz-checksum-algorithm")
            body = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        elif request.method == "PUT":
            sent = headers.get("x-amz-sdk-checksum-algorithm") or ("CRC32" if "x-amz-checksum-crc32" in headers else None)
            if sent != self.algorithm:
                self.refused.append(
                    f"Checksum Type mismatch occurred, expected checksum Type: {self.algorithm}, actual checksum Type: {sent}"
                )
            data = request.body.read() if hasattr(request.body, "read") else request.body
            self.sums[query["partNumber"][0]] = answer["x-amz-checksum-crc32"] = base64.b64encode(zlib.crc32(data).to_bytes(4)).decode()
        else:
            part = r"<PartNumber>(\d+)</PartNumber><ETag>[^<]+</ETag><ChecksumCRC32>([^<]+)<"
            if self.algorithm and dict(re.findall(part, request.body.decode())) != self.sums:
                self.refused.append(
                    f"The upload was created using a {self.algorithm} checksum. The request must include each part's checksum."
                )
            self.completed = True
            body = '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        return AWSResponse(request.url, 200, answer, Raw(body.encode()))


def test_file_in_parts_has_the_checksums_that_s3_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = PartsOfS3()
    monkeypatch.setattr(URLLib3Session, "send", lambda session, request: s3.send(session, request))
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    BatchBucket(aws_clients()("s3"), "one").write("batches/b/results.csv", [b"x" * 9 * 1024**2, b"y"])
    assert s3.refused == []
    assert (s3.completed, s3.algorithm, set(s3.sums)) == (True, "CRC32", {"1", "2"})
