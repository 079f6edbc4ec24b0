"""A courtesy check of statement text: refuse what would undo the binding, where it can be seen.

Not a wall. Text can hide what it does in a function or a concatenation; what then holds is that
every transaction is bound anew, that nothing is sent without a tenant, and that the database
shows no row to an unbound transaction. This check tells honest code early that it fights the
binding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced

__all__ = ["StatementCheck"]

# Comments, then every kind of quoted text (PostgreSQL manual, sections 4.1.2 and 4.1.5).
_QUOTED: Final = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | \b[eE]'(?:[^'\\]|\\.|'')*'
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | (?P<tag>\$[A-Za-z_0-9]*\$).*?(?P=tag)""",
    re.VERBOSE | re.DOTALL,
)
_ENDS: Final = re.compile(
    r"\s*(?:commit|rollback|end|abort)\b(?!\s+(?:(?:work|transaction)\s+)?to\b)"
    r"|\s*prepare\s+transaction\b",
    re.IGNORECASE,
)
_BEGINS: Final = re.compile(r"(?:^|;)\s*(?:begin|start\s+transaction)\b", re.IGNORECASE)
_CHAINS: Final = re.compile(r"\band\s+chain\b", re.IGNORECASE)
_MAY_END: Final = re.compile(r"\b(?:commit|rollback|end|abort|prepare)\b", re.IGNORECASE)
# Copies of rows that stay on the connection after the transaction.
_KEEPS: Final = re.compile(
    r"\b(?:create|into)\s+(?:(?:local|global)\s+)?temp(?:orary)?\b|\bpg_temp\b|\bwith\s+hold\b",
    re.IGNORECASE,
)
_COMPUTED_NAME: Final = re.compile(r"\bset_config\s*\(\s*(?![eE]?')", re.IGNORECASE)


class StatementCheck:
    """Looks for statements that set the tenant themselves or end the transaction midway.

    Args:
        variables: Names of the settings to look for.
    """

    __slots__ = ("_leaves", "_names", "_sets")

    def __init__(self, variables: RLSVariables) -> None:
        self._names = frozenset({variables.setting, variables.user_setting})
        self._leaves = ("reset", *(name.partition(".")[2] for name in self._names))
        spelled = "|".join(_any_quoting(name) for name in self._names)
        literal = "|".join(re.escape(name) for name in self._names)
        self._sets = re.compile(
            rf"\b(?:re)?set\s+(?:session\s+|local\s+)?(?:{spelled})(?!\w)"
            rf"|\bset_config\s*\(\s*e?'(?:{literal})'"
            r"|(?:^|;)\s*reset\s+all\b",
            re.IGNORECASE,
        )

    def refuse_setting(self, text: str) -> None:
        """Refuse *text* that sets or resets one of the settings itself.

        Raises:
            RLSViolationError: It does (``RLS_NOT_ENFORCED``).
        """
        lowered = text.lower()
        if "set" not in lowered or not any(leaf in lowered for leaf in self._leaves):
            return
        if self._sets.search(_QUOTED.sub(_drop_comment, text)):
            raise _sets_itself()

    def refuse_midway_end(self, text: str, *, last_may_end: bool = True) -> None:
        """Refuse several statements of which one but the last ends the transaction.

        What follows it would run unbound. ``ROLLBACK TO`` ends nothing.

        Args:
            text: One statement or several.
            last_may_end: What is sent next is bound anew, so the last may end it.

        Raises:
            RLSViolationError: There is one, or a transaction is chained (``RLS_NOT_ENFORCED``).
        """
        if not _MAY_END.search(text):
            return
        parts = [part for part in _QUOTED.sub(_blank, text).split(";") if part.strip()]
        for place, part in enumerate(parts, start=1):
            if not _ENDS.match(part):
                continue
            if place < len(parts) or _CHAINS.search(part) or not last_may_end:
                raise not_enforced(
                    "a statement text ends the transaction, and what comes after it would run "
                    "unbound. Use a transaction block, or commit() and rollback()",
                    reason="transaction_ended_midway",
                )

    def begins(self, text: str) -> bool:
        """Tell whether *text* is meant to leave a transaction open: a BEGIN by hand."""
        return _BEGINS.search(_QUOTED.sub(_blank, text)) is not None

    def keeps_rows(self, text: str) -> bool:
        """Tell whether *text* makes a temporary table, or a cursor kept after its transaction."""
        return _KEEPS.search(text) is not None

    def has_computed_name(self, text: str) -> bool:
        """Tell whether *text* calls ``set_config`` with a name that is not in the text."""
        return "set_config" in text.lower() and bool(_COMPUTED_NAME.search(text))

    def refuse_named(self, arguments: Iterable[object]) -> None:
        """Refuse one of the settings' names among the arguments of such a call.

        Raises:
            RLSViolationError: It is there (``RLS_NOT_ENFORCED``).
        """
        for value in arguments:
            if isinstance(value, str) and value.strip().lower() in self._names:
                raise _sets_itself()


def _sets_itself() -> RLSViolationError:
    return not_enforced(
        "a statement sets the tenant itself. The transaction is bound already; enter another "
        "context with use_context(...) to work for another tenant",
        reason="statement_sets_tenant",
    )


def _any_quoting(name: str) -> str:
    prefix, _, leaf = name.partition(".")
    return rf'"?{re.escape(prefix)}"?\s*\.\s*"?{re.escape(leaf)}"?'


def _drop_comment(found: re.Match[str]) -> str:
    return " " if found["comment"] else found[0]


def _blank(found: re.Match[str]) -> str:
    return " " if found["comment"] else "''"
