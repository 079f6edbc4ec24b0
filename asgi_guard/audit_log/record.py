"""The two kinds of line in a log: a record of one event, and a checkpoint that signs the chains.

A record's hash covers the log, the chain (tenant), its number there, the hash before it and the
event, so it fits in one place of one chain of one log. A checkpoint names the latest number and
hash of chains, is chained to the checkpoint before it, and is signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from asgi_guard.audit_log.canonical import canonical, event_of
from asgi_guard.audit_log.signing import AuditSigningKey, AuditVerifyKeys
from asgi_guard.protocols import SecurityEvent

__all__ = ["AuditRecord", "Checkpoint", "Head", "MalformedLineError", "genesis", "parse_line"]

VERSION: Final = 1
# What is signed or hashed says what it is, so that one kind cannot pass for another.
_RECORD: Final = b"asgi-guard audit record v1\x00"
_CHECKPOINT: Final = b"asgi-guard audit checkpoint v1\x00"
_GENESIS: Final = b"asgi-guard audit chain v1\x00"


class MalformedLineError(ValueError):
    """A line is no record and no checkpoint in their one spelling."""


class Head(NamedTuple):
    """Where a chain stands: how many records it has, and the hash of the last."""

    seq: int
    hash: str


def genesis(log: str, chain: str) -> Head:
    """Return the head of a chain without records."""
    return Head(0, sha256(_GENESIS + canonical({"chain": chain, "log": log})).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One event in its place.

    Args:
        log: Id of the log, 32 hexadecimal digits.
        chain: The event's tenant; ``""`` for events without one.
        seq: Number in the chain, from 1.
        prev: Hash of the record before it in the chain.
        hash: SHA-256 over all of this and the event.
        fields: The event as it is stored.
        key_id: Of the signature.
        signature: Over the hash, where each record is signed (Postgres).
        cursor: Where a reader found it; continues a query there. Not part of the record.
    """

    log: str
    chain: str
    seq: int
    prev: str
    hash: str
    fields: Mapping[str, Any]
    key_id: str | None = None
    signature: str | None = None
    cursor: str = ""

    @classmethod
    def following(
        cls, head: Head, *, log: str, chain: str, fields: Mapping[str, Any]
    ) -> AuditRecord:
        """Return the record that comes after *head*."""
        seq = head.seq + 1
        digest = _record_hash(log, chain, seq, head.hash, fields)
        return cls(log=log, chain=chain, seq=seq, prev=head.hash, hash=digest, fields=fields)

    @property
    def event(self) -> SecurityEvent:
        """The event itself."""
        return event_of(self.fields)

    @property
    def head(self) -> Head:
        """Where the chain stands after it."""
        return Head(self.seq, self.hash)

    def recomputed_hash(self) -> str:
        """Return the hash that this record should have."""
        return _record_hash(self.log, self.chain, self.seq, self.prev, self.fields)

    def signed_bytes(self) -> bytes:
        """Return what a signature of this one record signs."""
        return _RECORD + self.hash.encode()

    def line(self) -> bytes:
        """Return its line in a JSON Lines file, with the newline."""
        body = {
            "chain": self.chain,
            "event": self.fields,
            "hash": self.hash,
            "kind": "record",
            "log": self.log,
            "prev": self.prev,
            "seq": self.seq,
            "v": VERSION,
        }
        return canonical(body) + b"\n"


def _record_hash(log: str, chain: str, seq: int, prev: str, fields: Mapping[str, Any]) -> str:
    body = {"chain": chain, "event": fields, "log": log, "prev": prev, "seq": seq, "v": VERSION}
    return sha256(_RECORD + canonical(body)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement of where chains stand.

    Args:
        log: Id of the log.
        number: Of this checkpoint, from 0.
        prev: Hash of the checkpoint before it; ``""`` for the first.
        time: When, as `time_text`.
        reason: ``"open"``, ``"batch"`` or ``"rotate"``.
        full: Whether *heads* has every chain, or those that moved since the one before.
        heads: Chain to head.
        first: Number of the oldest segment that is kept; 0 where there are no segments.
        key_id: Which key signed.
        signature: Ed25519 over all of it, base64.
    """

    log: str
    number: int
    prev: str
    time: str
    reason: str
    full: bool
    heads: Mapping[str, Head]
    first: int = 0
    key_id: str = ""
    signature: str = ""

    @property
    def hash(self) -> str:
        """What the next checkpoint names as the one before it."""
        return sha256(self._signed_bytes()).hexdigest()

    def signed_by(self, key: AuditSigningKey) -> Checkpoint:
        """Return this checkpoint with its signature."""
        body = {**self._body(), "key_id": key.key_id}
        return _checkpoint(body, key.sign(_CHECKPOINT + canonical(body)))

    def is_signed(self, keys: AuditVerifyKeys) -> bool:
        """Tell whether one of *keys* signed exactly this."""
        return keys.verify(self.key_id, self.signature, self._signed_bytes())

    def line(self) -> bytes:
        """Return its line in a JSON Lines file, with the newline."""
        return canonical({**self._body(), "signature": self.signature}) + b"\n"

    def _signed_bytes(self) -> bytes:
        return _CHECKPOINT + canonical(self._body())

    def _body(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "full": self.full,
            "heads": {chain: list(head) for chain, head in self.heads.items()},
            "key_id": self.key_id,
            "kind": "checkpoint",
            "log": self.log,
            "number": self.number,
            "prev": self.prev,
            "reason": self.reason,
            "time": self.time,
            "v": VERSION,
        }


def _checkpoint(body: Mapping[str, Any], signature: str) -> Checkpoint:
    heads = {chain: Head(int(seq), str(last)) for chain, (seq, last) in body["heads"].items()}
    names = ("log", "number", "prev", "time", "reason", "full", "first", "key_id")
    known = {name: body[name] for name in names}
    return Checkpoint(heads=heads, signature=signature, **known)


def parse_line(line: bytes, *, cursor: str = "") -> AuditRecord | Checkpoint:
    """Read one line, with or without its newline.

    Raises:
        MalformedLineError: It is not exactly what `line` of one of the two would write. A line
            with, say, a key twice would show one value to us and another to other readers.
    """
    try:
        body = json.loads(line)
        if body["kind"] == "checkpoint":
            found: AuditRecord | Checkpoint = _checkpoint(body, body["signature"])
        else:
            names = ("log", "chain", "seq", "prev", "hash")
            found = AuditRecord(
                fields=body["event"], cursor=cursor, **{name: body[name] for name in names}
            )
        if found.line().rstrip(b"\n") != line.rstrip(b"\n"):
            raise MalformedLineError("not in its one spelling")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedLineError("neither a record nor a checkpoint") from error
    return found
