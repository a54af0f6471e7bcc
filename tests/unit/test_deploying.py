"""docs/deploying.md: what it says of names and of overriding parameters."""

from __future__ import annotations

import re
import tomllib

import botocore.session

from tests.support.template import ROOT, template

GUIDE = (ROOT / "docs" / "deploying.md").read_text()
LONGEST_BUCKET_NAME = 63


def test_longest_name_of_a_stack_fits_into_the_buckets_name_in_every_region() -> None:
    [longest] = {int(number) for number in re.findall(r"at most \*{0,2}(\d+) characters", GUIDE)}
    regions = botocore.session.get_session().get_available_regions("s3")
    name = template()["Resources"]["Bucket"]["Properties"]["BucketName"]["Fn::Sub"]
    rest = name.replace("${AWS::StackName}", "").replace("${AWS::AccountId}", "1" * 12).replace("${AWS::Region}", max(regions, key=len))
    assert len(rest) + longest == LONGEST_BUCKET_NAME


def test_nobody_is_asked_to_replace_a_profiles_parameters() -> None:
    """`sam deploy --parameter-overrides` replaces the whole list in samconfig.toml."""
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        code = "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```", document.read_text(), re.M | re.S))
        assert not re.search(r"sam (deploy|build).*--parameter-overrides", code), document.name


def test_secrets_are_named_as_the_profiles_name_them() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    given = dict(each.split("=", 1) for each in config["live"]["deploy"]["parameters"]["parameter_overrides"])
    names = [template()["Parameters"][name]["Default"] for name in ("StripeApiKeySecretName", "StripeWebhookSecretName")]
    for name in (*names, given["StripeApiKeySecretName"], given["StripeWebhookSecretName"]):
        assert name in GUIDE
