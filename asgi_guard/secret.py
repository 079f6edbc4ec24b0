"""Secret: a value that can be used but not seen.

Log lines, tracebacks with locals, debuggers' reprs and serialisers are where credentials leak
(OWASP Logging Cheat Sheet, "Data to exclude"). A `Secret` shows stars to all of them.
"""

from __future__ import annotations

from typing import Final, NoReturn

__all__ = ["Secret"]

_MASK: Final = "**********"


class Secret:
    """A string whose repr, str, format and pickle forms do not show it.

    Call `reveal` at the one place that needs the value. Two secrets never compare equal by
    ``==`` unless they are the same object: comparing values belongs to a constant-time home.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised; reveal() it where it is used")
