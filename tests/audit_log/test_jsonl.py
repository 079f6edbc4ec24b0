"""The directory of a log: who may read it, who may write it, when it turns over."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from pathlib import Path

import pytest

from asgi_guard.audit_log import (
    AuditLockedError,
    AuditLog,
    AuditQuery,
    AuditRecord,
    AuditSigningKey,
    AuditTamperedError,
    AuditUnavailableError,
    JSONLinesAuditSink,
)
from asgi_guard.audit_log.jsonl import writer as writer_module
from asgi_guard.audit_log.jsonl.segments import compress, list_segments
from asgi_guard.errors import ConfigError
from tests.support.audit_logs import ACME, KEY, audit_log, event, lines, segment, verified, written
from tests.support.headers_clock import MovedClock

DAY = 86_400.0


async def names(audit: AuditLog) -> list[str]:
    return [record.fields["name"] async for record in audit.read()]


async def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """Events name users and tenants."""
    before = os.umask(0)
    try:
        path = await written(tmp_path / "log", batches=30, max_bytes=4096)
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two writers would each continue the same chain."""
    async with audit_log(tmp_path / "log"):
        with pytest.raises(AuditLockedError):
            await audit_log(tmp_path / "log").start()

    await written(tmp_path / "log")  # the lock went with its writer
    assert verified(tmp_path / "log").ok


async def test_a_forked_child_does_not_write(tmp_path: Path) -> None:
    """It has inherited the lock, and a chain that its parent goes on with."""
    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1))
        sink = audit._sinks[0]
        assert isinstance(sink, JSONLinesAuditSink)
        assert sink._writer is not None
        sink._writer._pid += 1  # what a child sees

        with pytest.raises(AuditUnavailableError):
            await audit.record(event(2))
        sink._writer._pid -= 1
    assert verified(tmp_path / "log").records == 1


async def test_segments_turn_over_by_size_and_the_chain_goes_on(tmp_path: Path) -> None:
    """Rotation must not be where a record can be lost."""
    path = await written(tmp_path / "log", batches=40, max_bytes=4096)

    segments = list_segments(path)
    report = verified(path)

    assert len(segments) > 3
    assert all(each.compressed for each in segments[:-1])
    assert report.ok, report.findings
    assert report.records == 120
    for each in segments[:-1]:
        closing = lines(path, each.number)[-1]
        assert (closing["kind"], closing["reason"], closing["full"]) == (
            "checkpoint",
            "rotate",
            True,
        )


async def test_segments_turn_over_by_day(tmp_path: Path) -> None:
    """A day's file is what an operator archives."""
    clock = MovedClock()
    async with audit_log(tmp_path / "log", clock=clock) as audit:
        await audit.record(event(1))
        await audit.record(event(2))
        clock.move(DAY)
        await audit.record(event(3))

    assert [each.number for each in list_segments(tmp_path / "log")] == [1, 2]
    assert verified(tmp_path / "log").ok


async def test_segments_are_deleted_after_ninety_days_and_that_is_on_record(tmp_path: Path) -> None:
    """Retention must be told from an attack."""
    clock = MovedClock()
    async with audit_log(tmp_path / "log", clock=clock) as audit:
        for number in range(5):
            await audit.record(event(number))
            clock.move(40 * DAY)

        kept = [record.fields async for record in audit.read()]

    assert list_segments(tmp_path / "log")[0].number > 1
    assert "AUDIT_SEGMENTS_EXPIRED" in {fields["name"] for fields in kept}
    report = verified(tmp_path / "log")
    assert report.ok, report.findings
    assert report.records < 7


async def test_a_young_segment_that_was_deleted_is_no_retention(tmp_path: Path) -> None:
    """Negative control: the same directory, without the signature that says so."""
    clock = MovedClock()
    async with audit_log(tmp_path / "log", clock=clock) as audit:
        for number in range(3):
            await audit.record(event(number))
            clock.move(DAY)

    list_segments(tmp_path / "log")[0].path.unlink()

    first = verified(tmp_path / "log").first
    assert first is not None
    assert first.kind == "dropped"


async def test_a_torn_last_line_is_set_aside_and_told(tmp_path: Path) -> None:
    """A killed writer leaves half a line; it was never acknowledged, and is not hidden."""
    path = await written(tmp_path / "log")
    torn = segment(path).read_bytes()[-700:-350]
    with segment(path).open("ab") as file:
        file.write(torn)
    first = verified(path).first
    assert first is not None
    assert first.kind in {"altered", "truncated"}

    async with audit_log(path) as audit:
        told = [record.event async for record in audit.read(AuditQuery(name="AUDIT_LOG_RECOVERED"))]

    assert [each.details["bytes"] for each in told] == [len(torn)]
    kept = [file.read_bytes() for file in path.glob("torn-*")]
    assert kept == [torn]
    assert verified(path).ok


async def test_a_writer_killed_while_it_made_its_first_file_starts_again(tmp_path: Path) -> None:
    """An empty segment holds nothing to protect."""
    (tmp_path / "log").mkdir()
    segment(tmp_path / "log").write_bytes(b"")
    await written(tmp_path / "log")

    assert verified(tmp_path / "log").ok


async def test_a_writer_killed_between_two_segments_goes_on(tmp_path: Path) -> None:
    """The closing checkpoint is there, the next file is not."""
    path = await written(tmp_path / "log", batches=40, max_bytes=4096)
    segments = list_segments(path)
    segments[-1].path.unlink()
    (path / "audit.head").write_bytes(
        gzip.decompress(segments[-2].path.read_bytes()).splitlines(keepends=True)[-1]
    )

    await written(path, batches=1)

    assert verified(path).ok


async def test_a_writer_killed_while_packing_packs_again(tmp_path: Path) -> None:
    """Half a gzip file must not replace the whole segment."""
    path = await written(tmp_path / "log", batches=40, max_bytes=4096, compress=False)
    assert not any(each.compressed for each in list_segments(path))
    half = path / "audit-00000001.jsonl.gz.tmp"
    half.write_bytes(b"\x1f\x8b half")
    compress(segment(path, 2))

    await written(path, batches=1)

    assert all(each.compressed for each in list_segments(path)[:-1])
    assert not half.exists()
    assert verified(path).ok


async def test_a_full_disk_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a line on the disk would make every later line unreadable."""
    real = writer_module._write_all

    def full(descriptor: int, content: bytes) -> None:
        real(descriptor, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1))
        monkeypatch.setattr(writer_module, "_write_all", full)
        with pytest.raises(AuditUnavailableError):
            await audit.record(event(2))
        broken = audit.healthy
        monkeypatch.setattr(writer_module, "_write_all", real)
        await audit.record(event(3))
        assert (broken, audit.healthy) == (False, True)

    report = verified(tmp_path / "log")
    assert report.ok, report.findings
    assert report.records == 2


async def test_a_failed_fsync_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it nobody knows what the disk holds; a second fsync would say that all is well."""
    real = os.fsync

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1))
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(AuditUnavailableError):
            await audit.record(event(2))
        monkeypatch.setattr(os, "fsync", real)
        await audit.record(event(3))

    assert verified(tmp_path / "log").ok


async def test_a_log_can_change_its_key(tmp_path: Path) -> None:
    """Keys are replaced; what the old one signed stays good while it is named."""
    old, new = AuditSigningKey.generate(), AuditSigningKey.generate()
    await written(tmp_path / "log", key=old)
    with pytest.raises(AuditTamperedError):
        await written(tmp_path / "log", key=new)

    async with audit_log(tmp_path / "log", key=new, former_keys=[old.public_key]) as audit:
        await audit.record(event(1))
        reports = list((await audit.verify()).values())

    assert [report.ok for report in reports] == [True]
    assert not verified(tmp_path / "log", key=new).ok


async def test_a_running_log_is_verified_without_a_false_alarm(tmp_path: Path) -> None:
    """An operator verifies what is in use."""
    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1))
        with segment(tmp_path / "log").open("ab") as file:
            file.write(b'{"half":')  # what a reader may see of a write under way

        assert verified(tmp_path / "log").ok


async def test_a_query_is_answered_by_time_tenant_user_name_and_outcome(tmp_path: Path) -> None:
    """The questions that an incident asks."""
    path = await written(tmp_path / "log", batches=40, max_bytes=4096)

    async def count(**conditions: object) -> int:
        query = AuditQuery(**conditions)  # type: ignore[arg-type]  # as the cases below spell them
        return len([r async for r in JSONLinesAuditSink(path).read(query)])

    assert await count() == 120
    assert await count(tenant_id=ACME) == 40
    assert await count(tenant_id="") == 40
    assert await count(user_id="user-7") == 3
    assert await count(name="TENANT_MISMATCH", outcome="denied") == 120
    assert await count(name="OTHER") == 0
    assert await count(outcome="allowed") == 0
    assert await count(since=event(30).time) == 30
    assert await count(until=event(10).time, tenant_id=ACME) == 10
    assert await count(limit=7) == 7


async def test_a_cursor_continues_where_the_page_ended(tmp_path: Path) -> None:
    """Pages must neither repeat nor skip, also across segments."""
    path = await written(tmp_path / "log", batches=40, max_bytes=4096)
    sink = JSONLinesAuditSink(path)
    seen: list[AuditRecord] = []
    after = None
    while page := [r async for r in sink.read(AuditQuery(limit=7, after=after))]:
        seen += page
        after = page[-1].cursor

    everything = [r async for r in sink.read(AuditQuery())]
    assert seen == everything
    with pytest.raises(ConfigError):
        _ = [r async for r in sink.read(AuditQuery(after="1; DROP"))]


@pytest.mark.parametrize("options", [{"max_bytes": 1}, {"keep_days": 0}])
def test_a_limit_without_meaning_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    """Found at start-up, not when the disk is full."""
    with pytest.raises(ConfigError):
        JSONLinesAuditSink(tmp_path, **options)  # type: ignore[arg-type]  # as above


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Whoever reads the key can forge the log."""
    file = tmp_path / "audit.key"
    key = AuditSigningKey.create_file(file)
    assert AuditSigningKey.from_file(file).public_key == key.public_key
    assert key.public_key not in repr(KEY)

    file.chmod(0o640)

    with pytest.raises(ConfigError, match="0640"):
        AuditSigningKey.from_file(file)
    with pytest.raises(ConfigError):
        AuditSigningKey.create_file(file)
