"""Who listens to what: every tenant's subscriptions over one connection, kept apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asgi_guard._internal.events import emit
from asgi_guard.protocols import Clock
from asgi_guard.rls.shared.channel_seal import ChannelSeal, Topic
from asgi_guard.rls.shared.replay_window import ReplayWindow
from asgi_guard.rls.shared.subscription import Gap, Mailbox

__all__ = ["Topics"]

_QUIET: Final = 60.0  # seconds between two events about one reason on one channel


class _Room:
    """The subscriptions to one topic, and what was heard on it."""

    __slots__ = ("mailboxes", "names", "refused", "topic", "window")

    def __init__(self, topic: Topic, names: tuple[str, ...], clock: Clock) -> None:
        self.topic = topic
        self.names = names
        self.window = ReplayWindow(clock=clock)
        self.mailboxes: set[Mailbox] = set()
        self.refused: dict[str, tuple[float, int]] = {}  # reason: when told, how many since


class Topics:
    """Topics by the names of their channels.

    Args:
        seal: Names topics, and opens what arrives.
        clock: Unix and monotonic seconds.
    """

    def __init__(self, seal: ChannelSeal, clock: Clock) -> None:
        self._seal = seal
        self._clock = clock
        self._rooms: dict[Topic, _Room] = {}
        self._by_name: dict[str, _Room] = {}

    @property
    def names(self) -> set[str]:
        """Every channel that must be listened to."""
        return set(self._by_name)

    def add(self, topic: Topic, mailbox: Mailbox) -> None:
        """Deliver what arrives for *topic* to *mailbox* too."""
        room = self._rooms.get(topic)
        if room is None:
            room = self._rooms[topic] = _Room(topic, self._seal.names(topic), self._clock)
            self._by_name.update(dict.fromkeys(room.names, room))
        room.mailboxes.add(mailbox)

    def sweep(self) -> None:
        """Forget mailboxes that have ended, and topics without one."""
        for room in list(self._rooms.values()):
            room.mailboxes = {mailbox for mailbox in room.mailboxes if not mailbox.closed}
            if not room.mailboxes:
                del self._rooms[room.topic]
                for name in room.names:
                    del self._by_name[name]

    def heard(self, names: Iterable[str], reason: Gap) -> None:
        """Tell the mailboxes of these channels, once, that they are listened to."""
        rooms = {id(room): room for name in names if (room := self._by_name.get(name)) is not None}
        for room in rooms.values():
            for mailbox in room.mailboxes:
                if not mailbox.told:
                    mailbox.told = True
                    mailbox.put(reason)

    def gap(self, gap: Gap) -> None:
        """Tell every mailbox that was told it is listened to that something may be missing."""
        for mailbox in self._mailboxes():
            if mailbox.told:
                mailbox.put(gap)

    def end(self, *, failed: bool) -> None:
        """End every subscription."""
        for mailbox in self._mailboxes():
            mailbox.end(failed=failed)

    def deliver(self, name: str, payload: str) -> None:
        """Put what arrived on channel *name* where it belongs, if it is to be believed."""
        room = self._by_name.get(name)
        if room is None:
            return
        opened = self._seal.open(room.topic, payload)
        if isinstance(opened, str):
            self._refuse(room, opened)
            return
        verdict = room.window.admit(opened)
        if verdict != "fresh":
            self._refuse(room, verdict)
        if verdict != "replayed":
            # Genuine, but from a very long transaction or by a wrong clock: its news must not be
            # lost.
            self._put(room, opened.body if verdict == "fresh" else Gap("late"))

    @staticmethod
    def _put(room: _Room, item: str | Gap) -> None:
        for mailbox in room.mailboxes:
            # What comes before a mailbox was told is in the state that its reader reads then.
            if mailbox.told and not mailbox.closed:
                mailbox.put(item)

    def _mailboxes(self) -> list[Mailbox]:
        return [mailbox for room in self._rooms.values() for mailbox in room.mailboxes]

    def _refuse(self, room: _Room, reason: str) -> None:
        now = self._clock.monotonic()
        told, count = room.refused.get(reason, (now - _QUIET, 0))
        if now - told < _QUIET:
            room.refused[reason] = (told, count + 1)
            return
        room.refused[reason] = (now, 0)
        emit(
            "NOTIFICATION_REFUSED",
            outcome="denied",
            reason=reason,
            operation="listen",
            tenant_id=room.topic.tenant_id,
            details={"channel": room.topic.channel, "more_since_last": count},
        )
