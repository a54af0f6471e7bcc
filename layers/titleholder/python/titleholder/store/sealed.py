"""Items whose personal data is encrypted with their account's data key. Only this module writes and destroys these keys.

Rows: in the table of keys, which is never backed up, ACCOUNT#<ref>: the account's wrapped data key, or the tombstone of an erased account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import AccountErasedError
from titleholder.store.table import CheckFailedError, Item, Table, account_pk
from titleholder.timestamps import to_milliseconds

if TYPE_CHECKING:
    from titleholder.aws.encryption import AccountCipher


class SealedItems:
    """`keys`: the table of keys.

    Encrypted data is written in one transaction with a check that its key still exists, so that nothing can be written after an erasure.
    """

    def __init__(self, table: Table, keys: Table, cipher: Callable[[], AccountCipher], clock: Callable[[], float]) -> None:
        self._table = table
        self._keys = keys
        self._cipher = cipher
        self._clock = clock

    def has_key(self, ref: AccountRef) -> bool:
        """Whether anything was ever encrypted for the account."""
        return self._keys.get(account_pk(ref)) is not None

    def key(self, ref: AccountRef) -> bytes:
        """The account's wrapped key. Makes one if the account has none yet. Raises AccountErasedError."""
        found = self._keys.get(account_pk(ref))
        return self._new_key(ref) if found is None else _wrapped(found)

    def key_and_item(self, ref: AccountRef, sk: str) -> tuple[bytes, Item | None]:
        """As `key`, and an item of the account, read in the same call."""
        key, items = self._read(ref, [sk])
        return self._new_key(ref) if key is None else _wrapped(key), items.get(sk)

    def live_key_and_items(self, ref: AccountRef, sks: Sequence[str]) -> tuple[bytes | None, dict[str, Item]]:
        """The account's wrapped key, None if it was erased or never had one, and those of its items that exist and have not expired, by
        sort key, read in the same call.
        """
        key, items = self._read(ref, sks)
        wrapped = None if key is None or "wrapped_key" not in key else bytes(key["wrapped_key"])
        return wrapped, {sk: item for sk, item in items.items() if self._table.is_live(item)}

    def key_check(self, ref: AccountRef) -> Item:
        """The part of a transaction that checks that the account was not erased."""
        return self._keys.check_part(account_pk(ref), condition="attribute_exists(wrapped_key)")

    def destroy_key_part(self, ref: AccountRef, now: float) -> Item:
        """The part of a transaction that destroys the account's key."""
        return self._keys.update_part(account_pk(ref), set_={"erased_ms": to_milliseconds(now)}, remove=["wrapped_key"])

    def encrypt(self, ref: AccountRef, wrapped: bytes, sk: str, value: Any) -> bytes:
        return self._cipher().encrypt(ref, wrapped, sk, value)

    def digest(self, ref: AccountRef, wrapped: bytes, value: Mapping[str, Any]) -> str:
        return self._cipher().digest(ref, wrapped, dict(value))

    def put_all(self, items: Sequence[Item], ref: AccountRef, wrapped: bytes, *, beside: Sequence[Item] = ()) -> Item | None:
        """As `Table.put_all`, but only if the account's key is still `wrapped`. Raises AccountErasedError if it was destroyed."""
        check = self._keys.check_part(account_pk(ref), condition="wrapped_key = :wrapped", values={":wrapped": wrapped})
        try:
            return self._table.put_all(items, checks=[check], beside=beside)
        except CheckFailedError:
            raise AccountErasedError from None

    def decrypt(self, ref: AccountRef, sealed: Mapping[str, str]) -> dict[str, tuple[Item, Sensitive[Any]]]:
        """Items by sort key, each with the decrypted value of its encrypted attribute. `sealed`: the attributes' names by sort key.

        Items that do not exist or have expired are left out. The key is read in the same call as the items, so that an erasure is noticed
        although unwrapped keys are cached. Raises AccountErasedError.
        """
        items, wrapped = self._live(ref, list(sealed))
        parts = {part: sk for sk, item in items.items() for part in part_sks(item)}
        held: dict[str, Item] = {}
        if parts:
            held, wrapped = self._live(ref, list(parts))
        opened: dict[str, tuple[Item, Sensitive[Any]]] = {}
        for sk, item in items.items():
            if "parts" not in item:
                opened[sk] = (item, self._cipher().decrypt(ref, wrapped, sk, item[sealed[sk]]))
            elif set(part_sks(item)) <= set(held):
                pieces = [self._cipher().decrypt(ref, wrapped, part, held[part][sealed[sk]]) for part in part_sks(item)]
                opened[sk] = (item, Sensitive([one for piece in pieces for one in piece.reveal()]))
        return opened

    def _live(self, ref: AccountRef, sks: Sequence[str]) -> tuple[dict[str, Item], bytes]:
        """Items of an account that exist and have not expired, by sort key, and its wrapped key, read in the same call.

        No items if the account has no key, because then nothing was ever encrypted. Raises AccountErasedError.
        """
        key, items = self._read(ref, sks)
        if key is None:
            return {}, b""
        wrapped = _wrapped(key)
        return {sk: item for sk, item in items.items() if self._table.is_live(item)}, wrapped

    def _read(self, ref: AccountRef, sks: Sequence[str]) -> tuple[Item | None, dict[str, Item]]:
        """The account's item in the table of keys, and those of its items that exist, by sort key, in one call."""
        pk, key, items = account_pk(ref), None, {}
        for item in self._table.get_all([(pk, sk) for sk in sks], with_=(self._keys, pk)):
            if "sk" in item:
                items[item["sk"]] = item
            else:
                key = item
        return key, items

    def _new_key(self, ref: AccountRef) -> bytes:
        """The wrapped key of an account that had none just now. Raises AccountErasedError."""
        item = {"pk": account_pk(ref), "wrapped_key": self._cipher().new_key(ref), "made_ms": to_milliseconds(self._clock())}
        # Another writer, or our own retried request, may have created the key first. Use the stored one.
        return _wrapped(self._keys.insert(item) or item)


def part_sks(item: Mapping[str, Any]) -> list[str]:
    """The sort keys of the items that hold a snapshot's owners in parts; none if its own item holds them."""
    return [f"{item['sk']}#PART#{number:03}" for number in range(int(item.get("parts", 0)))]


def _wrapped(key_item: Mapping[str, Any]) -> bytes:
    """The wrapped key in an item of the table of keys. Raises AccountErasedError if it is a tombstone."""
    if "wrapped_key" not in key_item:
        raise AccountErasedError
    return bytes(key_item["wrapped_key"])
