"""A batch as its back end and its workflow drive it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.support.sandbox import Sandbox, client

MARGARET = {"name": "Margaret Testerman"}


class Batch:
    """A batch in a sandbox, whose workflow the test plays: the steps as Step Functions calls them."""

    def __init__(self, sandbox: Sandbox, body: bytes, format_: str = "jsonl", headers: dict[str, str] | None = None, **more: Any) -> None:
        self.sandbox, self.headers = sandbox, headers or {}
        answer = sandbox.http("POST", "/batches", {"format": format_, **more}, **self.headers)
        assert answer.status == 201, answer
        self.id = answer.json["id"]
        client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{self.id}", Body=body)

    def step(self, name: str, **more: Any) -> Any:
        return self.sandbox.function("run_batch_step")({"step": name, "batch": self.id, **more})

    def start(self) -> Any:
        answer = self.sandbox.http("POST", f"/batches/{self.id}/start", **self.headers)
        assert answer.status == 202, answer
        return answer.json

    def shown(self) -> Any:
        return self.sandbox.http("GET", f"/batches/{self.id}", **self.headers).json

    def cut(self) -> list[Any]:
        plan = self.step("plan")
        for block in plan["blocks"]:
            self.step("scan", block=block)
        assert self.step("cut", blocks=plan["blocks"]) == {"usable": True}
        return self.lines("ranges.jsonl")

    def imported(self) -> Any:
        """Import every range twice, as after a crash. Returns what the workflow is to do next."""
        for part in self.cut() * 2:
            self.step("import", range=part)
        return self.step("imported")

    def close(self) -> None:
        """Run the workflow that ends a stopped batch."""
        following = self.step("plan")
        assert following["imported"]
        following = {"next": "collect", **following}
        while following["next"] != "summarise":
            for part in self.lines("ranges.jsonl"):
                self.step("collect", range=part, **{"pass": following["pass"], "since": None})
            following = self.step("tally", **{"pass": following["pass"]})
            self.sandbox.clock.now = max(self.sandbox.clock.now, _unix(following["at"]))
        assert self.step("summarise") == {"state": "stopped"}

    def run(self, following: Any) -> None:
        """Go on until the batch is completed, each child's refresh settling at once."""
        while following["next"] != "summarise":
            if following["next"] == "verify":
                self.verify(following["pass"])
                following = {"pass": following["pass"] + 1, "since": following["since"]}
            for part in self.lines("ranges.jsonl"):
                self.step("collect", range=part, **{"pass": following["pass"], "since": following["since"]})
            following = self.step("tally", **{"pass": following["pass"]})
            self.sandbox.clock.now = max(self.sandbox.clock.now, _unix(following["at"]))
        self.step("summarise")

    def todo(self, pass_: int) -> list[Any]:
        keys = client("s3").list_objects_v2(Bucket="titleholder-batches", Prefix=f"batches/{self.id}/todo/{pass_}/").get("Contents", [])
        return [row for key in keys for row in self.lines(key["Key"].removeprefix(f"batches/{self.id}/"))]

    def verify(self, pass_: int) -> None:
        tokens = {}
        for task in self.todo(pass_):
            verification = self.sandbox.store.verifications.get(task["verification"])
            tokens[verification.id] = self.sandbox.enter(verification)
        self.sandbox.consume(self.sandbox.refresh_queue)
        self.sandbox.wait(6)
        self.sandbox.settle()
        for id_, token in tokens.items():
            outcome = self.sandbox.outcome(token)
            if outcome is not None and outcome["outcome"] != "cooling_down":
                self.sandbox.function("complete_verification")({"verification": id_, "refresh": outcome})

    def lines(self, name: str) -> list[Any]:
        body = client("s3").get_object(Bucket="titleholder-batches", Key=f"batches/{self.id}/{name}")["Body"].read()
        return [json.loads(line) for line in body.splitlines()]


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def manifest(accounts: Sequence[str], claim: Any = MARGARET) -> bytes:
    return b"".join(json.dumps({"account": account, "claim": claim}).encode() + b"\n" for account in accounts)


def linked(sandbox: Sandbox, number: int, scenario: str = "single_owner", **options: Any) -> list[str]:
    return [sandbox.link(scenario, **options).account for _ in range(number)]
