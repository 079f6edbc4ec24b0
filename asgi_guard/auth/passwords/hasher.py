"""PasswordHasher: Argon2id off the event loop, and old hashes moved on at login."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Final, Literal, TypeVar

from asgi_guard._internal.events import emit
from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.passwords.breached import BreachCheck, BreachedPasswords
from asgi_guard.auth.passwords.counts import PasswordCounts, Tally
from asgi_guard.auth.passwords.parameters import Argon2Parameters, named_profile
from asgi_guard.auth.passwords.rules import PasswordRules, as_secret
from asgi_guard.auth.passwords.stored import (
    Argon2Hash,
    BcryptHash,
    StoredHashBounds,
    parse_stored,
)
from asgi_guard.auth.passwords.who import Who
from asgi_guard.errors import ConfigError, PasswordRejectedError, UnavailableError
from asgi_guard.secret import Secret

__all__ = ["PasswordHasher", "Replace"]

T = TypeVar("T")
Replace = Callable[[str, str], Awaitable[bool]]
"""``await replace(old, new)``: store *new* if *old* is still what is stored; tell whether."""

_COUNTED: Final = {
    "argon2id": "argon2id",
    "argon2i": "argon2_other",
    "argon2d": "argon2_other",
    "bcrypt": "bcrypt",
}


class PasswordHasher:
    """Hash and verify passwords in a small pool of threads.

    Args:
        profile: A name in `PROFILES`, or parameters of your own.
        rules: Lengths.
        breached: A list of breached passwords that new ones are looked up in.
        on_breach_failure: ``"refuse"`` (503) or ``"accept"`` a new password that the list cannot
            be asked about.
        breach_timeout: Seconds for one such answer.
        bounds: The dearest stored hash that is verified.
        old_hashes: One stored hash of each old kind that users still have, as a sample of its
            cost: e.g. any ``$2b$12$`` one. Every check then computes each kind once, whoever it
            is about, and costs what all of them cost. Leave it out when they are gone.
        workers: Hashes at once, each with the profile's memory; by default one less than there
            are processors, 1 to 4, which leaves one to the event loop.
        queue: Hashes that may wait; more are refused with 503 (``password_queue_full``).

    Raises:
        ConfigError: A setting is out of range.
        MissingExtraError: The ``passwords`` extra is not installed.

    Each call leaves one event: ``PASSWORD_HASHED``, ``PASSWORD_VERIFIED`` or ``PASSWORD_REFUSED``,
    and ``PASSWORD_REHASHED`` if a login replaced a hash. Does not count attempts: see
    `PasswordLogin`. Without *old_hashes* it does not hide which users still have an old hash:
    until that is replaced, a check costs what it costs, and an unknown user what the profile
    costs.
    """

    def __init__(
        self,
        *,
        profile: str | Argon2Parameters = "owasp",
        rules: PasswordRules | None = None,
        breached: BreachedPasswords | None = None,
        on_breach_failure: Literal["refuse", "accept"] = "refuse",
        breach_timeout: float = 2.0,
        bounds: StoredHashBounds | None = None,
        old_hashes: Iterable[str] = (),
        workers: int | None = None,
        queue: int = 32,
    ) -> None:
        for module in ("argon2", "bcrypt"):
            require_extra(module, feature="PasswordHasher", extra="passwords")
        from asgi_guard.auth.passwords import work  # noqa: PLC0415 - a missing extra is named first

        self._work = work
        self._parameters = named_profile(profile)
        self._rules = rules or PasswordRules()
        self._breaches = BreachCheck(breached, on_failure=on_breach_failure, timeout=breach_timeout)
        self._bounds = bounds or StoredHashBounds()
        self._pool = BoundedPool(
            "passwords",
            workers=_default_workers() if workers is None else workers,
            queue=queue,
            full="password_queue_full",
        )
        self._nobody = work.unknown_user_hash(self._parameters)
        self._kinds = {form.kind: form for form in (self._nobody, *self._samples(old_hashes))}
        self._tally = Tally()

    async def hash(self, password: str | Secret) -> str:
        """Return a hash to store for a new *password*: a PHC string of about 100 characters.

        Raises:
            PasswordRejectedError: It is too short, too long, malformed or breached.
            UnavailableError: The pool is full, or the list of breached passwords is silent.
        """
        password = as_secret(password)
        try:
            self._rules.check_new(password)
            await self._breaches.check(password)
            made = await self._run(partial(self._work.new_hash, password, self._parameters))
        except PasswordRejectedError as refusal:
            emit("PASSWORD_HASHED", outcome="denied", reason=refusal.reason)
            raise
        except UnavailableError as failure:
            emit("PASSWORD_HASHED", outcome="error", reason=failure.reason)
            raise
        emit("PASSWORD_HASHED", outcome="allowed")
        return made

    async def verify(
        self,
        stored: str | None,
        password: str | Secret,
        *,
        replace: Replace | None = None,
        user_id: str | None = None,
        client: str | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Tell whether *password* is the one that *stored* was made from.

        Args:
            stored: The user's hash; None if there is no such user, which costs the same.
            password: As it was typed.
            replace: Called after a match if the hash should be renewed, as a compare-and-set:
                ``UPDATE users SET hash = :new WHERE id = :id AND hash = :old``. If it fails the
                login holds and the next one tries again.
            user_id: Named by the events of a match.
            client: The client's address, for the events.
            request_id: For the events.

        Raises:
            UnavailableError: The pool is full, or memory is out; nothing is known.
        """
        password = as_secret(password)
        row = None if stored is None else Secret(stored)
        del stored  # error trackers record locals; a careless import may have left a password here
        who = Who(user_id, client, request_id)
        if reason := self._rules.problem(password):
            return self._refused(reason, who)  # whoever it is: no work, and nothing to learn
        known = None if row is None else parse_stored(row.reveal(), self._bounds)
        try:
            same = await self._run(self._check_of(password, known or self._nobody))
        except UnavailableError as failure:
            who.unproven().tell("PASSWORD_REFUSED", "error", failure.reason)
            raise
        if known is None:
            return self._refused("user_unknown" if row is None else "stored_hash_refused", who)
        if not same:
            return self._refused("password_wrong", who)
        self._tally.add(_COUNTED[known.algorithm])
        who.tell("PASSWORD_VERIFIED", "allowed", algorithm=known.algorithm)
        if row is not None and replace is not None and not self._is_current(known):
            await self._renew(row, known, password, replace, who)
        return True

    def needs_rehash(self, stored: str) -> bool:
        """Tell whether *stored* is anything but Argon2id with today's parameters."""
        return not self._is_current(parse_stored(stored, self._bounds))

    def counts(self) -> PasswordCounts:
        """Return what was done so far."""
        return self._tally.read()

    def close(self) -> None:
        """Let the pool's threads end; for an app's shutdown."""
        self._pool.close()

    def _samples(self, old_hashes: Iterable[str]) -> Iterator[Argon2Hash | BcryptHash]:
        for text in [old_hashes] if isinstance(old_hashes, str) else old_hashes:
            form = parse_stored(text, self._bounds)
            if form is None:
                raise ConfigError(
                    "PasswordHasher.old_hashes",
                    "has an entry that is no hash, or beyond the bounds",
                    "Pass a stored hash of each kind, e.g. one that begins with $2b$12$.",
                )
            yield self._work.same_cost(form)

    def _check_of(self, password: Secret, form: Argon2Hash | BcryptHash) -> Callable[[], bool]:
        others = [each for kind, each in self._kinds.items() if kind != form.kind]
        if len(others) == len(self._kinds):
            self._tally.add("cost_told")
            others = []
        return partial(self._work.matches_at_one_cost, password, form, others)

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await self._pool.run(job)
        except UnavailableError:
            self._tally.add("unavailable")
            raise

    def _is_current(self, known: Argon2Hash | BcryptHash | None) -> bool:
        if not isinstance(known, Argon2Hash) or known.algorithm != "argon2id":
            return False
        mine, form = self._parameters, self._nobody
        return (
            (known.memory_cost, known.time_cost, known.parallelism)
            == (mine.memory_cost, mine.time_cost, mine.parallelism)
        ) and (len(known.salt), len(known.digest)) == (len(form.salt), len(form.digest))

    async def _renew(
        self,
        row: Secret,
        known: Argon2Hash | BcryptHash,
        password: Secret,
        replace: Replace,
        who: Who,
    ) -> None:
        reason, error = "", None
        try:
            made = await self._run(partial(self._work.new_hash, password, self._parameters))
            reason = "" if await replace(row.reveal(), made) else "stored_hash_changed"
        except UnavailableError as failure:
            reason = failure.reason
        except Exception as failure:  # noqa: BLE001 - the login has succeeded, whatever this does
            reason, error = "replace_failed", type(failure).__name__
        self._tally.add("rehash_failed" if reason else "rehashed")
        outcome = "error" if reason else "allowed"
        who.tell("PASSWORD_REHASHED", outcome, reason, replaced=known.algorithm, error=error)

    def _refused(self, reason: str, who: Who) -> Literal[False]:
        self._tally.add("refused")
        hostile = reason == "stored_hash_refused"  # the operator's to mend, not the caller's
        who.unproven().tell("PASSWORD_REFUSED", "error" if hostile else "denied", reason)
        return False


def _default_workers() -> int:
    return min(4, max(1, (os.cpu_count() or 1) - 1))
