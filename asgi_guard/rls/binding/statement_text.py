"""A courtesy check of statement text: what would undo the binding, and what a statement leaves.

Not a wall. Text can hide what it does in a function or a concatenation; what then holds is that
every transaction is bound anew, that nothing is sent without a tenant, and that the database
shows no row to an unbound transaction. This check tells honest code early that it fights the
binding, and pools when a connection is not as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.binding.sql_text import statements_of, without_comments
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced

__all__ = ["StatementCheck", "Verdict"]

_CACHED_TEXTS: Final = 512
_CACHED_LENGTH: Final = 4096  # a cache of long texts would be a way to fill the memory

# One of these words is in every text that is looked at further.
_WORTH_A_LOOK: Final = re.compile(
    r"set|begin|start|commit|rollback|end|abort|prepare|discard|deallocate|listen|load"
    r"|advisory|temp|hold|\bdo\b",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(
    r"(?:commit|rollback|end|abort)\b(?!\s+(?:(?:work|transaction)\s+)?to\b)"
    r"|prepare\s+transaction\b",
    re.IGNORECASE,
)
_BEGINS: Final = re.compile(r"begin\b|start\s+transaction\b", re.IGNORECASE)
_CHAINS: Final = re.compile(r"\band\s+chain\b", re.IGNORECASE)
# A statement that changes the session, by its first word. DO can hide any other.
_LEAVES: Final = re.compile(
    r"(?:set(?!\s+(?:local|constraints|transaction)\b)|reset|discard|prepare|deallocate|do"
    r"|(?:un)?listen|load)\b",
    re.IGNORECASE,
)
# Anywhere in one: copies of rows that outlive the transaction, locks and settings of the session.
_LEAVES_WITHIN: Final = re.compile(
    r"\b(?:create|into)\s+(?:(?:local|global)\s+)?temp(?:orary)?\b|\bpg_temp\b|\bwith\s+hold\b"
    r"|\bpg_(?:try_)?advisory_lock(?:_shared)?\b"
    r"|\bset_config\s*\((?![^()]*,\s*true\s*\))",
    re.IGNORECASE,
)
# A temporary table that its own transaction drops leaves nothing: asked at the beginning of a
# statement only, where PostgreSQL's grammar lets nothing else be read so; the rest is looked at.
_DROPPED_AT_COMMIT: Final = re.compile(
    r"create\s+temp(?:orary)?\s+table\s+[a-z_][a-z0-9_]*\s+on\s+commit\s+drop\s+as\s+select\b",
    re.IGNORECASE,
)
_COMPUTED_NAME: Final = re.compile(r"\bset_config\s*\(\s*(?![eE]?')", re.IGNORECASE)


class Verdict(NamedTuple):
    """What a text was found to do.

    Args:
        sets_tenant: It sets or resets one of the binding's settings itself.
        ends: It ends the transaction, and nothing of it comes after.
        ends_midway: It ends or chains the transaction, and something comes after unbound.
        begins: It begins a transaction.
        leaves: The session may not be as it was afterwards.
        computes_name: It calls ``set_config`` with a name that is not in the text.
    """

    sets_tenant: bool = False
    ends: bool = False
    ends_midway: bool = False
    begins: bool = False
    leaves: bool = False
    computes_name: bool = False


_HARMLESS: Final = Verdict()


class StatementCheck:
    """Judges statement texts, remembering recent ones.

    Args:
        variables: Names of the settings to look for.
        shared_session: There is a transaction pooler in between, so that what a statement leaves
            on the session meets other clients at once.
    """

    __slots__ = ("_names", "_recent", "_sets", "_shared")

    def __init__(self, variables: RLSVariables, *, shared_session: bool = False) -> None:
        self._names = frozenset({variables.setting, variables.user_setting})
        self._shared = shared_session
        spelled = "|".join(_any_quoting(name) for name in self._names)
        literal = "|".join(re.escape(name) for name in self._names)
        self._sets = re.compile(
            rf"\b(?:re)?set\s+(?:session\s+|local\s+)?(?:{spelled})(?!\w)"
            rf"|\bset_config\s*\(\s*e?'(?:{literal})'"
            r"|(?:^|;)\s*reset\s+all\b",
            re.IGNORECASE,
        )
        self._recent = lru_cache(maxsize=_CACHED_TEXTS)(self._look)

    def judge(self, text: str, *, last_may_end: bool = True) -> Verdict:
        """Judge *text*, one statement or several.

        Args:
            text: As it would be sent.
            last_may_end: What is sent next is bound anew, so the last may end it.

        Raises:
            RLSViolationError: It sets the tenant itself, ends the transaction midway, or leaves
                something on a session that is not this client's alone (``RLS_NOT_ENFORCED``).
        """
        verdict = self._recent(text) if len(text) <= _CACHED_LENGTH else self._look(text)
        if verdict is not _HARMLESS:
            self._refuse(verdict, last_may_end=last_may_end)
        return verdict

    def _refuse(self, verdict: Verdict, *, last_may_end: bool) -> None:
        if verdict.sets_tenant:
            raise _sets_itself()
        if verdict.ends_midway or (verdict.ends and not last_may_end):
            raise not_enforced(
                "a statement text ends the transaction, and what comes after it would run "
                "unbound. Use a transaction block, or commit() and rollback()",
                reason="transaction_ended_midway",
            )
        if verdict.leaves and self._shared:
            raise not_enforced(
                "a statement leaves something on the session (a setting, a prepared statement, a "
                "temporary table, a lock, a LISTEN), which behind a transaction pooler is other "
                "clients' as well. Use what ends with the transaction, e.g. pg_advisory_xact_lock, "
                "or a connection that does not go through the pooler",
                reason="leaves_session_state",
            )

    def refuse_named(self, arguments: Iterable[object]) -> None:
        """Refuse one of the settings' names among the arguments of a computed ``set_config``.

        Raises:
            RLSViolationError: It is there (``RLS_NOT_ENFORCED``).
        """
        for value in arguments:
            if isinstance(value, str) and value.strip().lower() in self._names:
                raise _sets_itself()

    def _look(self, text: str) -> Verdict:
        if not _WORTH_A_LOOK.search(text):
            return _HARMLESS
        parts = statements_of(text)
        last = len(parts)
        endings = [place for place, part in enumerate(parts, start=1) if _ENDS.match(part)]
        verdict = Verdict(
            sets_tenant=self._sets.search(without_comments(text)) is not None,
            ends=last in endings,
            ends_midway=any(
                place < last or _CHAINS.search(parts[place - 1]) is not None for place in endings
            ),
            begins=any(_BEGINS.match(part) for part in parts),
            leaves=any(_leaves(part) for part in parts),
            computes_name=_COMPUTED_NAME.search(text) is not None,
        )
        return _HARMLESS if verdict == _HARMLESS else verdict


def _leaves(part: str) -> bool:
    dropped = _DROPPED_AT_COMMIT.match(part)
    rest = part[dropped.end() :] if dropped else part
    return _LEAVES.match(part) is not None or _LEAVES_WITHIN.search(rest) is not None


def _sets_itself() -> RLSViolationError:
    return not_enforced(
        "a statement sets the tenant itself. The transaction is bound already; enter another "
        "context with use_context(...) to work for another tenant",
        reason="statement_sets_tenant",
    )


def _any_quoting(name: str) -> str:
    prefix, _, leaf = name.partition(".")
    return rf'"?{re.escape(prefix)}"?\s*\.\s*"?{re.escape(leaf)}"?'
