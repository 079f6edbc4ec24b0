"""What ``GuardSettings.audit`` means: a log that is open before anything is served."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asgi_guard.errors import GuardError, NotReadyError

if TYPE_CHECKING:  # loads cryptography
    from asgi_guard.audit_log import AuditLog

__all__ = ["open_audit"]

_log = logging.getLogger("asgi_guard")


async def open_audit(audit: AuditLog) -> None:
    """Open *audit*, unless it is open.

    Raises:
        NotReadyError: ``mode="required"``, and it cannot be opened: nothing may be served that
            could not be recorded. With ``"best_effort"`` that is logged.
    """
    try:
        await audit.start()
    except Exception as error:
        reason = error.code if isinstance(error, GuardError) else type(error).__name__
        told = f"The audit log cannot be opened: {reason}: {error}"
        if audit.mode == "required":
            raise NotReadyError("audit_log_not_opened", told) from error
        _log.error("%s. It is best_effort: what happens is counted as dropped.", told)
