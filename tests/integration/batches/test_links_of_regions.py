"""Where links to the bucket lead: to the bucket's own host in its region, or to an emulator if there is one. Nothing is called."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.session import Session

from titleholder.batches.bucket import BatchBucket
from titleholder.bootstrap import aws_clients

BUCKET = "titleholder-batches-123456789012-eu-west-1"
REGIONS = [region for partition in Session().get_available_partitions() for region in Session().get_available_regions("s3", partition)]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def links(client: object) -> list[str]:
    bucket = BatchBucket(client, BUCKET)
    downloads = [bucket.link("batches/b/results.csv", "results.csv")]
    return [*downloads, *bucket.upload_urls("manifests/b", 10, None), *bucket.upload_urls("manifests/b", 10, "upload")]


def test_link_leads_to_the_buckets_own_host_in_each_region_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The global host would answer with a redirect to another one, for which the signature is wrong, or refuse regions from after 2019."""
    clients = aws_clients()
    assert {"eu-west-1", "us-east-1", "il-central-1", "mx-central-1", "cn-north-1", "us-gov-west-1"} <= set(REGIONS)
    wrong = []
    for region in REGIONS:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        client = clients("s3")
        for link in links(client):
            url = urlsplit(link)
            credential = parse_qs(url.query)["X-Amz-Credential"][0]
            own = re.fullmatch(rf"{BUCKET}\.s3\.{region}\.[a-z0-9.-]+", url.netloc)
            if url.scheme != "https" or not own or credential.split("/")[2:4] != [region, "s3"] or BUCKET in url.path:
                wrong.append(f"{region}: {url.netloc} {credential}")
    assert wrong == []


@pytest.mark.parametrize(
    ("variable", "endpoint"), [("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"), ("AWS_ENDPOINT_URL_S3", "http://host.docker.internal:4566")]
)
def test_link_to_an_emulator_names_the_bucket_in_its_path(monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str) -> None:
    """An emulator has one host name, and none that begins with the bucket."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv(variable, endpoint)
    for link in links(aws_clients()("s3")):
        assert link.startswith(f"{endpoint}/{BUCKET}/")
