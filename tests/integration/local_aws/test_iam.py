"""With IAM enforced, a function may do what its role allows and nothing else."""

from __future__ import annotations

from local.aws.deploy import deploy
from local.aws.emulator import Emulator

from .conftest import APP, Stack


def test_function_is_denied_what_its_role_does_not_allow() -> None:
    with Emulator(auth=True) as aws:
        stack = Stack(aws, deploy(APP / "template.yaml", aws.endpoint, "guarded", {"Architecture": "x86_64"}))
        read = {"routeKey": "GET /items", "pathParameters": {"id": "x"}}
        assert stack.invoke("ApiFunction", read)["statusCode"] == 404
        iam = aws.client("iam")
        role = aws.client("lambda").get_function_configuration(FunctionName=stack["ApiFunction"])["Role"].rsplit("/", 1)[1]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            iam.delete_role_policy(RoleName=role, PolicyName=policy)
        refusal = stack.invoke("ApiFunction", read)
        assert "is not authorized to perform: dynamodb:GetItem" in refusal["errorMessage"]
