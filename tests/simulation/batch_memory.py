"""Measures how much memory the steps of `verify_batch` take, by the manifest's length: python -m tests.simulation.batch_memory

The steps are the real ones over a bucket that makes the manifest up as it is read, and a table that forgets, so that what is measured is
their own. Each size runs in a process of its own.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import resource
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from titleholder.domain.verifications import DigestedClaim, IdSecret

SIZES = (1_000, 10_000, 100_000)
GIGABYTE = 3_300_000
LINE = (
    '{"account": "fca_%012d", "reference": "loan-%012d", "claim": {"name": "Margaret Testerman", "email": "margaret@example.com", '
    '"phone": "+15555550123", "address": {"line1": "1 Example Street", "line2": "Apartment 2", "city": "Springfield", "state": "IL", '
    '"postal_code": "62701", "country": "US"}}}\n'
)
WIDTH = len(LINE % (0, 0))
FIRST_RANGES = 3
"""How many ranges of a very long manifest are imported: they are all alike."""


class Manifest(io.RawIOBase):
    """A part of a manifest of equal lines, made as it is read."""

    def __init__(self, start: int, end: int) -> None:
        self._at, self._end = start, end

    def read(self, size: int = -1) -> bytes:
        end = min(self._end, self._at + size)
        first, skipped = divmod(self._at, WIDTH)
        lines = "".join(LINE % (number, number) for number in range(first, -(-end // WIDTH)))
        found = lines[skipped : skipped + end - self._at].encode()
        self._at = end
        return found


class Bucket:
    """The manifest, and the files that the steps write. Of files that are not read again only the lengths are kept."""

    def __init__(self, lines: int) -> None:
        self._size = lines * WIDTH
        self._kept: dict[str, bytes] = {}

    def head_object(self, *, Bucket: str, Key: str) -> Any:
        return {"ContentLength": self._size, "ETag": "etag"}

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> Any:
        if not Key.startswith("manifests/"):
            return {"Body": io.BytesIO(self._kept.get(Key, b"")), "ETag": "etag"}
        first, last = map(int, Range.removeprefix("bytes=").split("-")) if Range else (0, self._size - 1)
        return {"Body": Manifest(first, min(last + 1, self._size)), "ETag": "etag"}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any:
        if any(kind in Key for kind in ("scans/", "ranges.", "rows/000000")):
            self._kept[Key] = Body

    def create_multipart_upload(self, **_: Any) -> Any:
        return {"UploadId": "upload"}

    def upload_part(self, **_: Any) -> Any:
        return {"ETag": "tag"}

    def complete_multipart_upload(self, **_: Any) -> Any: ...

    def delete_objects(self, **_: Any) -> Any:
        return {}


class Batches:
    """One batch, and the ranges of its manifest."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self._batch = batch
        self._parts: dict[int, dict[str, Any]] = {}

    def get(self, batch: str) -> dict[str, Any]:
        return self._batch

    def mark_announced(self, batch: str) -> None: ...

    def complete(self, batch: str, now: float, announcement: Any) -> bool:
        return True

    def update(self, batch: str, attributes: Any, *, unless: Any = ()) -> bool:
        self._batch |= attributes
        return True

    def get_range(self, batch: str, number: int) -> Any:
        return self._parts.get(number)

    def put_range(self, batch: str, number: int, attributes: Any) -> None:
        self._parts[number] = {"number": number, **attributes}

    def ranges(self, batch: str) -> Iterator[Any]:
        return iter(self._parts.values())


class Verifications:
    """Stores no verification, and answers as if all existed. It also digests claims."""

    def id_secret(self) -> IdSecret:
        return IdSecret(b"secret", 0.0)

    def digest(self, ref: Any, claim: Any) -> Any:
        return DigestedClaim(claim, b"", sha256(json.dumps(claim.reveal()).encode()).hexdigest())

    def create(self, verification: Any, claim: Any) -> Any:
        self.example = verification
        return verification

    def get_all(self, ids: list[str], *, consistent: bool = True) -> dict[str, Any]:
        verdict = {"outcome": "match", "score": 100, "reasons": [], "snapshot": "fcaowns_1"}
        return {id_: replace(self.example, id=id_, verdict=verdict) for id_ in ids}


def measure(lines: int, *, traced: bool) -> dict[str, float]:
    """The peak of each step in MB: allocated by Python, or of the whole process."""
    from titleholder.batches import rows, steps
    from titleholder.batches.bucket import BatchBucket

    class Silent:
        def publish(self, *_: Any) -> None: ...

    batch: dict[str, Any] = {
        "batch": "bat_1", "format": "jsonl", "mode": "test", "stripe_account": None, "max_age": 0, "policy": '{"version": 1}', "scope": "",
        "started_ms": 0, "run": 1, "batch_state": "importing",
    }  # fmt: skip
    files: Any = BatchBucket(Bucket(lines), "bucket")
    verifications = Verifications()
    store: Any = SimpleNamespace(batches=Batches(batch), verifications=verifications, claims=verifications)
    context = rows.BatchStepContext(store, files, Silent(), 1.8e9, 600)  # type: ignore[arg-type]
    peaks: dict[str, float] = {"imports": _resident()}

    def step(name: str, act: Any, *arguments: Any) -> Any:
        if traced:
            tracemalloc.start()
        found = act(context, "bat_1", *arguments)
        peaks[name] = max(peaks.get(name, 0), tracemalloc.get_traced_memory()[1] / 1e6 if traced else _resident())
        tracemalloc.stop()
        return found

    blocks = step("plan", steps.plan)["blocks"]
    for block in blocks:
        step("scan", steps.scan, block)
    step("cut", steps.cut, len(blocks))
    ranges = list(files.lines("batches/bat_1/ranges.jsonl"))
    for part in ranges[:FIRST_RANGES]:
        step("import", steps.import_range, part)
    step("gather", steps.imported)
    for part in ranges[:1]:
        step("collect", steps.collect, part, 1, None)
    step("summarise", steps.summarise)
    return peaks


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    print(f"{'lines':>10} {'MB':>7}  {'largest step':<24} {'whole process':>14}")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for lines in (*SIZES, GIGABYTE):
            own = pool.submit(measure, lines, traced=True).result()
            process = max(pool.submit(measure, lines, traced=False).result().values())
            del own["imports"]
            largest = max(own, key=own.__getitem__)
            print(f"{lines:>10,} {lines * WIDTH / 1e6:>7.1f}  {largest:<10} {own[largest]:>9.1f} MB {process:>11.0f} MB", flush=True)


if __name__ == "__main__":
    main()
