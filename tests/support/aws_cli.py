"""Stands in for the AWS CLI in tests of documented commands: `python -m tests.support.aws_cli SERVICE OPERATION --option value ...`.

It takes options as JSON, as text, or as `file://...`, and `--query` with `--output text`. AWS_ENDPOINT_URL names the emulator.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import botocore.session
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name


def main(arguments: list[str]) -> None:
    service, operation, *rest = arguments
    options: dict[str, list[str]] = {}
    for word in rest:
        if word.startswith("--"):
            options[word.removeprefix("--")] = []
        else:
            options[list(options)[-1]].append(word)
    query, output = options.pop("query", None), options.pop("output", None)
    session = botocore.session.get_session()
    client = session.create_client(service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    [name] = [each for each in client.meta.service_model.operation_names if xform_name(each, "-") == operation]
    shape = client.meta.service_model.operation_model(name).input_shape
    members = {xform_name(member, "-"): (member, kind.type_name) for member, kind in shape.members.items()}
    given = {members[option][0]: _value(members[option][1], words) for option, words in options.items()}
    answer = getattr(client, xform_name(name))(**given)
    answer.pop("ResponseMetadata", None)
    found = jmespath.search(query[0], answer) if query else answer
    if output == ["text"]:
        print("\t".join(map(str, found)) if isinstance(found, list) else found)
    elif found:
        print(json.dumps(found, indent=2, default=str))


def _value(kind: str, words: list[str]) -> Any:
    [*_, text] = words
    text = Path(text.removeprefix("file://")).read_text() if text.startswith("file://") else text
    if kind == "list" and not text.startswith("["):
        return words
    return json.loads(text) if kind in ("list", "map", "structure") else text


if __name__ == "__main__":
    main(sys.argv[1:])
