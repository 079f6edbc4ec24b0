"""Somebody with write access to the log's files, and without its key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from asgi_guard.audit_log import AuditSigningKey, AuditTamperedError, AuditVerifyKeys
from asgi_guard.audit_log.chain import Chains
from asgi_guard.audit_log.jsonl.segments import read_head, write_head
from asgi_guard.audit_log.record import AuditRecord, Head, parse_line
from tests.support.audit_logs import (
    ACME,
    GLOBEX,
    KEY,
    audit_log,
    event,
    lines,
    of_chain,
    put,
    segment,
    verified,
    written,
)

Entries = list[dict[str, Any]]
Attack = Callable[[Entries], Entries]


def alter(entries: Entries) -> Entries:
    """Change who did it."""
    entries[of_chain(entries, ACME)[1]]["event"]["user_id"] = "somebody-else"
    return entries


def alter_and_rehash(entries: Entries) -> Entries:
    """Change it, and give the record the hash that fits."""
    _rehash(alter(entries)[of_chain(entries, ACME)[1]])
    return entries


def rewrite_the_rest(entries: Entries) -> Entries:
    """Change it, and compute the whole chain anew from there on."""
    places = of_chain(alter(entries), ACME)
    for before, place in pairwise(places):
        entries[place]["prev"] = entries[before]["hash"]
        _rehash(entries[place])
    return entries


def drop(entries: Entries) -> Entries:
    """Take out one record in the middle."""
    del entries[of_chain(entries, ACME)[1]]
    return entries


def drop_the_last_of_a_chain(entries: Entries) -> Entries:
    """Take out the newest record of a tenant, and keep the checkpoint after it."""
    del entries[of_chain(entries, ACME)[-1]]
    return entries


def drop_a_whole_tenant(entries: Entries) -> Entries:
    """As if the tenant had never been."""
    return [each for each in entries if each.get("chain") != GLOBEX]


def drop_a_checkpoint(entries: Entries) -> Entries:
    """Take out a signature in the middle."""
    places = [place for place, each in enumerate(entries) if each["kind"] == "checkpoint"]
    del entries[places[3]]
    return entries


def cut_a_batch_off(entries: Entries) -> Entries:
    """Cut off the end together with the checkpoint that covers it."""
    return entries[:-2]


def cut_the_last_checkpoint_off(entries: Entries) -> Entries:
    """Leave records that nothing covers."""
    return entries[:-1]


def swap(entries: Entries) -> Entries:
    """Exchange two records of one tenant."""
    first, second = of_chain(entries, ACME)[1:3]
    entries[first], entries[second] = entries[second], entries[first]
    return entries


def repeat(entries: Entries) -> Entries:
    """Say it twice."""
    place = of_chain(entries, ACME)[1]
    return [*entries[:place], entries[place], *entries[place:]]


def repeat_a_batch(entries: Entries) -> Entries:
    """Say it twice, with its signature."""
    return [*entries, *entries[-2:]]


def add_a_record(entries: Entries) -> Entries:
    """Put a well-formed record where nobody signed one."""
    place = of_chain(entries, ACME)[-1]
    last = entries[place]
    made = AuditRecord.following(
        Head(last["seq"], last["hash"]), log=last["log"], chain=ACME, fields=last["event"]
    )
    return [*entries[: place + 1], json.loads(made.line()), *entries[place + 1 :]]


def put_another_tenants_name_on(entries: Entries) -> Entries:
    """Blame another tenant, in a chain of its own making."""
    record = entries[of_chain(entries, GLOBEX)[1]]
    record["chain"] = ACME
    _rehash(record)
    return entries


def cut_the_beginning_off(entries: Entries) -> Entries:
    """Forget the oldest."""
    return entries[3:]


def garbage(entries: Entries) -> Entries:
    """Write a line that is no record."""
    return [*entries[:4], {"kind": "record", "hello": 1}, *entries[4:]]


ATTACKS: list[tuple[Attack, set[str]]] = [
    (alter, {"altered"}),
    (alter_and_rehash, {"forged"}),
    (rewrite_the_rest, {"forged"}),
    (drop, {"dropped"}),
    (drop_the_last_of_a_chain, {"dropped"}),
    (drop_a_whole_tenant, {"dropped"}),
    (drop_a_checkpoint, {"dropped", "forged"}),
    (cut_a_batch_off, {"truncated"}),
    (cut_the_last_checkpoint_off, {"truncated"}),
    (swap, {"reordered"}),
    (repeat, {"duplicated"}),
    (repeat_a_batch, {"duplicated"}),
    (add_a_record, {"forged"}),
    (put_another_tenants_name_on, {"foreign"}),
    (cut_the_beginning_off, {"dropped"}),
    (garbage, {"altered"}),
]


def _rehash(entry: dict[str, Any]) -> None:
    names = ("log", "chain", "seq", "prev", "hash")
    record = AuditRecord(fields=entry["event"], **{name: entry[name] for name in names})
    entry["hash"] = record.recomputed_hash()


@pytest.mark.parametrize(("attack", "kinds"), ATTACKS, ids=[a.__name__ for a, _ in ATTACKS])
async def test_every_edit_of_the_file_is_found_and_named(
    tmp_path: Path, attack: Attack, kinds: set[str]
) -> None:
    """An auditor is told what was done, and where it begins."""
    path = await written(tmp_path / "log")

    put(path, attack(lines(path)))

    report = verified(path)
    assert report.first is not None
    assert report.first.kind in kinds, report.findings
    assert report.first.where


async def test_a_log_that_nobody_touched_is_found_whole(tmp_path: Path) -> None:
    """Negative control: a verifier that always complains proves nothing."""
    path = await written(tmp_path / "log")

    put(path, lines(path))

    report = verified(path)
    assert report.ok, report.findings
    assert (report.records, report.chains) == (12, 3)


async def test_the_first_bad_record_is_the_one_that_was_altered(tmp_path: Path) -> None:
    """The alarm must lead to the line, not to its consequences."""
    path = await written(tmp_path / "log")
    place = of_chain(lines(path), ACME)[1]

    put(path, alter(lines(path)))

    first = verified(path).first
    assert first is not None
    assert (first.where, first.chain, first.seq) == (f"audit-00000001.jsonl:{place + 1}", ACME, 2)


async def test_no_single_changed_byte_goes_unseen(tmp_path: Path) -> None:
    """Whatever byte it is, in a record, a checkpoint, a signature or between them."""
    path = await written(tmp_path / "log", batches=1)
    file = segment(path)
    original = file.read_bytes()

    unseen = []
    for place in range(len(original)):
        changed = bytearray(original)
        changed[place] ^= 1
        file.write_bytes(changed)
        if verified(path).ok:
            unseen.append(place)

    assert unseen == []
    file.write_bytes(original)
    assert verified(path).ok


async def test_a_log_signed_with_another_key_is_forged(tmp_path: Path) -> None:
    """Whoever can write files can also run this package."""
    path = await written(tmp_path / "log", key=AuditSigningKey.generate())

    report = verified(path)

    assert report.first is not None
    assert report.first.kind == "forged"


async def test_a_verifier_that_believes_every_signature_is_deceived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the signature is what finds the forgery above, and nothing else is."""
    path = await written(tmp_path / "log", key=AuditSigningKey.generate())
    assert not verified(path).ok

    monkeypatch.setattr(AuditVerifyKeys, "verify", lambda *_: True)

    assert verified(path).ok


async def test_a_verifier_that_believes_every_hash_is_deceived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the record's own hash is what finds an altered record."""
    path = await written(tmp_path / "log")
    put(path, alter(lines(path)))
    assert not verified(path).ok

    monkeypatch.setattr(AuditRecord, "recomputed_hash", lambda record: record.hash)

    assert verified(path).ok


async def test_lines_of_another_log_of_the_same_key_are_foreign(tmp_path: Path) -> None:
    """The staging log says what the production log should have said."""
    path = await written(tmp_path / "log")
    other = await written(tmp_path / "other")
    entries = lines(path)
    place = of_chain(entries, ACME)[1]
    entries[place] = lines(other)[of_chain(lines(other), ACME)[1]]

    put(path, entries)

    first = verified(path).first
    assert first is not None
    assert first.kind == "foreign"


async def test_a_whole_other_log_with_its_head_is_known_by_the_kept_checkpoint(
    tmp_path: Path,
) -> None:
    """Everything in the directory was replaced at once; only what is elsewhere can tell."""
    path = await written(tmp_path / "log")
    kept = verified(path).latest
    shutil.rmtree(path)
    await written(path)

    assert kept is not None
    assert verified(path).ok  # negative control: without it, nothing shows
    first = verified(path, anchors=[kept]).first
    assert first is not None
    assert first.kind == "forged"


async def test_a_log_set_back_with_its_head_is_known_by_the_kept_checkpoint(tmp_path: Path) -> None:
    """Yesterday's backup put in place hides today."""
    path = await written(tmp_path / "log")
    shutil.copytree(path, tmp_path / "yesterday")
    await written(path, batches=1)
    kept = verified(path).latest
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "yesterday", path)

    assert kept is not None
    assert verified(path).ok
    first = verified(path, anchors=[kept]).first
    assert first is not None
    assert first.kind == "truncated"


async def test_a_head_that_is_missing_forged_or_garbage_is_found(tmp_path: Path) -> None:
    """It is what shows that the end was cut off."""
    path = await written(tmp_path / "log")
    head = path / "audit.head"
    good = head.read_bytes()
    other = Chains("0" * 32).draft((), key=AuditSigningKey.generate(), time="")

    kinds = []
    for content in (None, b"{}\n", other.checkpoint.line()):
        head.unlink() if content is None else write_head(path, content)
        first = verified(path).first
        kinds.append(None if first is None else first.kind)

    assert kinds == ["truncated", "altered", "forged"]
    write_head(path, good)
    assert verified(path).ok


@pytest.mark.parametrize("attack", [cut_a_batch_off, alter, drop, drop_a_checkpoint, swap, garbage])
async def test_nothing_is_added_to_a_log_that_was_tampered_with(
    tmp_path: Path, attack: Attack
) -> None:
    """New records would lend their signatures to what was done before."""
    path = await written(tmp_path / "log")
    put(path, attack(lines(path)))
    before = segment(path).read_bytes()

    with pytest.raises(AuditTamperedError):
        await audit_log(path).start()

    assert segment(path).read_bytes() == before


async def test_a_key_twice_in_one_line_is_found(tmp_path: Path) -> None:
    """Two parsers would read two values; grep would read a third."""
    path = await written(tmp_path / "log")
    text = segment(path).read_bytes()

    segment(path).write_bytes(text.replace(b'"user_id":', b'"user_id":"x","user_id":', 1))

    first = verified(path).first
    assert first is not None
    assert first.kind == "altered"


async def test_a_deleted_segment_is_found(tmp_path: Path) -> None:
    """A month can be deleted as quickly as a line."""
    path = tmp_path / "log"
    await written(path, batches=30, max_bytes=4096)
    files = sorted(path.glob("audit-*.jsonl.gz"))
    assert len(files) > 2

    for gone in (files[0], files[1]):
        content = gone.read_bytes()
        gone.unlink()
        first = verified(path).first
        assert first is not None
        assert first.kind == "dropped"
        gone.write_bytes(content)
    assert verified(path).ok


async def test_an_archived_segment_cannot_be_replaced(tmp_path: Path) -> None:
    """Gzip keeps no secret: its content is chained like the rest."""
    path = tmp_path / "log"
    await written(path, batches=30, max_bytes=4096)
    files = sorted(path.glob("audit-*.jsonl.gz"))

    files[1].write_bytes(files[0].read_bytes())

    first = verified(path).first
    assert first is not None
    assert first.kind in {"duplicated", "dropped"}


async def test_a_checkpoint_says_nothing_but_what_it_signed(tmp_path: Path) -> None:
    """The head of the log is believed for its signature alone."""
    path = await written(tmp_path / "log")
    head = read_head(path)
    assert head is not None
    assert head.is_signed(KEY.verify_keys)

    line = head.line().replace(b'"number":', b'"number":1')

    forged = parse_line(line)
    assert not forged.is_signed(KEY.verify_keys)  # type: ignore[union-attr]  # it is a checkpoint


async def test_an_event_that_names_a_secret_is_stored_without_it(tmp_path: Path) -> None:
    """The audit log is read by more people than the vault."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    details = {"password": "hunter2", "note": f"Bearer {token}", "mail": "a@example.com"}
    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(details=details, session_id="raw-session-id"))

    text = segment(tmp_path / "log").read_text()

    for secret in ("hunter2", token, "a@example.com", "raw-session-id"):
        assert secret not in text
