"""What can go wrong with an audit log, each as one of the package's kinds of error."""

from __future__ import annotations

from asgi_guard.errors import ConfigError, UnavailableError

__all__ = ["AuditLockedError", "AuditTamperedError", "AuditUnavailableError"]


class AuditUnavailableError(UnavailableError):
    """An event that must be on record could not be recorded, so what it is about is refused."""

    code = "audit_unavailable"


class AuditTamperedError(UnavailableError):
    """The log is not as this package left it, so nothing is added to it.

    Args:
        reason: Kind of the first finding, e.g. ``"truncated"``.
        detail: Where and what; for the operator, never for callers.
    """

    code = "audit_tampered"

    def __init__(self, reason: str = "", detail: str = "") -> None:
        super().__init__(reason)
        if detail:
            remedy = "Run: asgi-guard audit verify; then move the log aside and begin a new one."
            self.args = (f"{self.code}: {reason}: {detail}. {remedy}",)


class AuditLockedError(ConfigError):
    """Another process writes to this log; two writers would break its chain.

    Args:
        path: The log's directory.
    """

    code = "audit_locked"

    def __init__(self, path: str) -> None:
        super().__init__(
            "audit_log.path",
            f"{path} is being written by another process",
            "Give each worker a directory of its own, or use PostgresAuditSink for all.",
        )
