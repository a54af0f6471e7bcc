"""The tables: every read and write that Titleholder does in DynamoDB, and the only module that speaks to it.

The table, keys `pk` and `sk`:

| item | pk | sk |
| --- | --- | --- |
| account (observation, newest snapshot, refresh attempt and its lease) | ACCOUNT#<ref> | ACCOUNT |
| snapshot of owners (personal data, sealed) | ACCOUNT#<ref> | SNAPSHOT#<fcaowns id> |
| a part of a large snapshot's owners (sealed) | ACCOUNT#<ref> | SNAPSHOT#<fcaowns id>#PART#<number> |
| what a snapshot changed, in order of time | ACCOUNT#<ref> | HISTORY#<attempted at>#<created>#<fcaowns id> |
| claim (personal data, sealed) | ACCOUNT#<ref> | CLAIM#<verification id> |
| which claims were made within 24 hours, as digests | ACCOUNT#<ref> | DIGESTS |
| waiter | ACCOUNT#<ref> | WAITER#<verification id> |
| which verifications an account has, in order of time | ACCOUNT#<ref> | VERIFICATION#<requested at, ms>#<id> |
| which verifications of all accounts a customer has | CUSTOMER#<mode>/<connected account>/<id> | VERIFICATION#<requested at, ms>#<id> |
| verification and verdict, or a group and its members | VERIFICATION#<id> | VERIFICATION |
| event received from Stripe | EVENT#<id> | EVENT |
| event received that is not for this stack, or malformed | EVENT#<id> | ASIDE#<why> |
| connected account seen | CONNECTED#<mode> | <acct id> |
| record of who asked for what | AUDIT#<UTC day> | <milliseconds>#<random>, of the entry after an effect: <milliseconds>#<random>#after |
| pace of one of Stripe's operations; of `all`, the calls of the last second | PACE#<line> | PACE |
| where reconcile stopped | RECONCILE#<what> | RECONCILE |
| secret that ids are derived with, made once | SECRET#ids | SECRET |
| answer to a repeatable request (Powertools', see `idempotency`) | IDEMPOTENCY#<digest> | IDEMPOTENCY#<digest> |
| batch | BATCH#<id> | BATCH |
| what became of one range of its manifest | BATCH#<id> | RANGE#<number> |
| its verdicts as they come, counted in shards | BATCH#<id> | COUNT#<shard> |

What is not finished (a refresh that has not been fetched, a verification without verdict, an erasure, an announcement that the event bus
has not taken) has `open_kind` and `open_since_ms`, by which the sparse index `open` lists it, the longest waiting first. `repair_tries`
counts the failed repairs of such an item. For the kind `disconnection`, `open_since_ms` is when the next try is due.

An announcement that follows a change is kept in the same write as the change: the item is listed as `announcement` until the event bus has
taken it. A verification's announcement is made from its verdict, any other one is in the attribute `announcement`.

The table of keys, key `pk` alone, never backed up, holds under ACCOUNT#<ref> the account's wrapped data key, or its tombstone
(`erased_ms`). What is sealed is written in one transaction with a check that this very key still stands, so that nothing can be written
once it is destroyed.

`<ref>` is `AccountRef.key`. `expires_at` (Unix seconds) is the table's TTL attribute; what has expired and is not deleted yet counts as
gone.
"""

from titleholder.store.store import Retention, Store

__all__ = ["Retention", "Store"]
