"""Every error of the package, each with a stable code and a named addressee.

====================  ==============================  =========================================
Class                 Who can act                     What the caller of the app is told
====================  ==============================  =========================================
`ConfigError`         the developer, at start-up      nothing: the app does not start
`RejectionError`      the caller                      ``status`` and ``code``, nothing else
`IsolationError`      the operator                    500 and the code; the request fails closed
`UnavailableError`    the operator                    503 and the code; the request fails closed
====================  ==============================  =========================================

Codes are stable, wording is free. A message gives the setting, the value and the way out; it
never carries a token, key, SQL text or another tenant's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "ConfigError",
    "ConflictError",
    "ContextContaminationError",
    "ContextExpiredError",
    "ContextMissingError",
    "CrossOriginError",
    "DPoPNonceError",
    "DPoPProofError",
    "EnvelopeRefusedError",
    "ExpansionError",
    "GuardError",
    "InsufficientScopeError",
    "IsolationError",
    "LoginRefusedError",
    "MissingExtraError",
    "NotOwnedError",
    "NotReadyError",
    "PasswordRejectedError",
    "RLSViolationError",
    "RefreshRefusedError",
    "RejectionError",
    "RequestInvalidError",
    "TenantAccessError",
    "TenantInvalidError",
    "TenantMissingError",
    "ThrottledError",
    "UnavailableError",
    "VaultConflictError",
    "VaultError",
    "VaultKeyInUseError",
    "VaultNotConnectedError",
    "VaultOpenError",
    "VaultRefreshError",
    "VaultUnavailableError",
]


class GuardError(Exception):
    """The root of all errors that asgi_guard raises on purpose.

    ``details`` are facts for the event about it, without secrets, from whoever knew them;
    ``reported`` says that there has been an event, so that a layer further out leaves no second.
    """

    code: str = "guard_error"
    details: Mapping[str, str | int | float | bool | None] = MappingProxyType({})
    reported: bool = False


class ConfigError(GuardError):
    """A setting is wrong; raised when the object is built, before any request.

    Args:
        setting: Dotted name of the setting, e.g. ``"cors.allow_origins"``.
        problem: What is wrong with the value given, naming it.
        remedy: What to write instead, one sentence.
    """

    code = "config_invalid"

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        super().__init__(f"{setting}: {problem}. {remedy}")
        self.setting = setting
        self.problem = problem
        self.remedy = remedy


class MissingExtraError(ConfigError, ImportError):
    """A feature was asked for whose third-party package is not installed.

    Args:
        feature: What was asked for, e.g. ``"asgi_guard.integrations.fastapi"``.
        extra: The extra that brings it, e.g. ``"fastapi"``.
    """

    code = "extra_missing"

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            feature,
            f"needs the {extra!r} extra, which is not installed",
            f'Run: pip install "asgi-guard[{extra}]"',
        )


class RejectionError(GuardError):
    """A caller is refused. It learns ``status`` and ``code``; the reason goes to the event.

    Args:
        reason: Stable word for the operator's event, e.g. ``"membership_suspended"``.
        headers: Response fields the refusal must carry, lower-case names (RFC 9110
            section 11.6.1 asks for ``www-authenticate`` on a 401).
    """

    code = "rejected"
    status: int = 403
    title: ClassVar[str] = "Refused"

    def __init__(self, reason: str = "", *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(self.code)
        self.reason = reason or self.code
        self.headers = headers


class RequestInvalidError(RejectionError):
    """The request is ambiguous or malformed, e.g. a security header was sent twice."""

    code = "request_invalid"
    status = 400
    title = "Malformed request"


class ConflictError(RejectionError):
    """What the request would store contradicts what is stored; nothing was (RFC 9110 15.5.10)."""

    code = "conflict"
    status = 409
    title = "Conflict"


class CrossOriginError(RejectionError):
    """A page of another site made this request in its visitor's name, or may have."""

    code = "cross_origin_refused"
    status = 403
    title = "Cross-origin request refused"


class AuthenticationError(RejectionError):
    """No acceptable credential came with the request (RFC 9110 section 15.5.2)."""

    code = "unauthenticated"
    status = 401
    title = "Authentication required"


class DPoPProofError(AuthenticationError):
    """The DPoP proof is missing, or does not prove what it must (RFC 9449 sections 5 and 7.1)."""

    code = "invalid_dpop_proof"
    title = "DPoP proof not accepted"


class DPoPNonceError(DPoPProofError):
    """The proof needs the nonce that comes with this answer (RFC 9449 sections 8 and 9)."""

    code = "use_dpop_nonce"
    title = "DPoP nonce required"


class LoginRefusedError(RejectionError):
    """A login or logout through another provider did not hold; beginning anew may help."""

    code = "login_refused"
    status = 400
    title = "Login refused"


class ThrottledError(RejectionError):
    """Too many refused credentials came from here, or for this account (RFC 6585 section 4).

    Args:
        reason: Which limit, e.g. ``"throttled_by_account"``.
        retry_after: Whole seconds until another attempt is heard (RFC 9110 section 10.2.3).
    """

    code = "throttled"
    status = 429
    title = "Too many attempts"

    def __init__(self, reason: str = "", *, retry_after: int = 1) -> None:
        super().__init__(reason, headers=((b"retry-after", str(retry_after).encode()),))
        self.retry_after = retry_after


class PasswordRejectedError(RejectionError):
    """A new password may not be used; ``code`` tells the person who chose it why.

    ``code`` says what is wrong:

    - ``password_too_short``: fewer characters than asked for;
    - ``password_too_long``: more characters than are taken;
    - ``password_malformed``: not Unicode text, or with control characters;
    - ``password_breached``: it is in a list of breached passwords.

    Args:
        code: One of these.
    """

    code = "password_rejected"
    status = 422
    title = "Password not accepted"

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.args = (code,)


class RefreshRefusedError(RejectionError):
    """A refresh token is not accepted (RFC 6749 section 5.2); the reason is for the event alone.

    ``code`` says what the client can do:

    - ``invalid_grant``: nothing but a new login: it is foreign, old, used, revoked or none;
    - ``invalid_scope``: ask for less; the token was not used up.

    Args:
        reason: Stable word for the operator's event, e.g. ``"refresh_reused"``.
        code: One of these.
    """

    code = "invalid_grant"
    status = 400
    title = "Refresh token not accepted"

    def __init__(self, reason: str = "", *, code: str = "invalid_grant") -> None:
        super().__init__(reason)
        self.code = code
        self.args = (code,)


class InsufficientScopeError(RejectionError):
    """The credential is good but grants too little (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    status = 403
    title = "Insufficient scope"


class TenantMissingError(RejectionError):
    """No tenant could be resolved, so no row may be read."""

    code = "tenant_missing"
    status = 403
    title = "No tenant"


class TenantInvalidError(RejectionError):
    """The named tenant does not have the configured shape; nothing was looked up."""

    code = "tenant_invalid"
    status = 400
    title = "Invalid tenant"


class TenantAccessError(RejectionError):
    """Unknown, foreign, suspended and deleted tenants: one answer, byte for byte."""

    code = "tenant_not_found"
    status = 404
    title = "Not found"


class EnvelopeRefusedError(RejectionError):
    """A job came without an envelope, or with one that does not hold; it has not run.

    Trying again changes nothing: the integrations let such a job fail, and do not retry it.
    """

    code = "envelope_refused"
    status = 403
    title = "Job refused"


class NotOwnedError(RejectionError):
    """A thread, session or history is another's, or nobody's: one answer for both."""

    code = "not_found"
    status = 404
    title = "Not found"


class UnavailableError(GuardError):
    """Something the decision needs cannot be reached, so the request fails closed with 503.

    Args:
        reason: Stable word for the operator's event, e.g. ``"memberships_unreachable"``.
    """

    code = "unavailable"
    status: int = 503
    title: ClassVar[str] = "Temporarily unavailable"

    def __init__(self, reason: str = "") -> None:
        super().__init__(self.code if not reason else f"{self.code}: {reason}")
        self.reason = reason or self.code


class NotReadyError(UnavailableError):
    """The start-up checks have not passed, so nothing is served.

    Args:
        reason: Stable word for the operator's event.
        detail: What failed and what mends it; for the operator's log, not for callers.
    """

    code = "not_ready"

    def __init__(self, reason: str = "", detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail
        if detail:
            self.args = (detail,)


class IsolationError(GuardError):
    """A wall between tenants was about to be crossed; nothing was read or written."""

    code = "isolation"
    status: int = 500
    title: ClassVar[str] = "Isolation error"


class ContextMissingError(IsolationError):
    """Code that needs a user's context ran without one."""

    code = "context_missing"
    _problem: ClassVar[str] = (
        "no UserExecutionContext is current here. Enter one with use_context(...), or carry it "
        "across a thread boundary with propagate(fn)."
    )

    def __init__(self, operation: str = "") -> None:
        super().__init__(f"{operation}: {self._problem}" if operation else self._problem)
        self.operation = operation


class ContextExpiredError(ContextMissingError):
    """The context outlived the credential behind it, so nothing further runs under it.

    The caller can mend this by coming back with a fresh credential, so it is told 401.
    """

    code = "context_expired"
    status = 401
    title = "Credential expired"
    headers = ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    _problem = (
        "the credential behind the UserExecutionContext has expired. Come back with a fresh one; a "
        "job that outlives its request's credential runs under rls_enforced_session(...)."
    )


class ExpansionError(IsolationError):
    """A child context asked for more than its parent has."""

    code = "context_expansion"


class ContextContaminationError(IsolationError):
    """State that belongs to one user's context was touched under another's, or after its end.

    Args:
        operation: Name of the run that the state belongs to.
        problem: What was wrong, without ids.
        remedy: What to write instead, one sentence.
    """

    code = "CONTEXT_CONTAMINATION"

    def __init__(
        self,
        operation: str = "",
        problem: str = "this state belongs to another user's context",
        *,
        remedy: str = "Make one ExecutionState per run instead of sharing one.",
    ) -> None:
        what = f"{operation}: " if operation else ""
        super().__init__(f"{what}{problem} and was not touched. {remedy}")
        self.operation = operation


class RLSViolationError(IsolationError):
    """Row-level security would not have held, so the statement was not sent.

    ``code`` is one of the event names that operators watch:

    - ``RLS_NOT_ENFORCED``: no tenant is bound, or the database handle is not guarded;
    - ``TENANT_MISMATCH``: two tenants met in one session, transaction or argument list;
    - ``RLS_VERIFICATION_FAILED``: the database answered with another tenant than was bound.

    Args:
        code: One of the three names above.
        problem: What was wrong, without tenant ids, SQL or data.
        operation: Name of the guarded operation, for the operator.

    Raises:
        ConfigError: *code* is none of the three.
    """

    CODES: ClassVar[frozenset[str]] = frozenset(
        {"RLS_NOT_ENFORCED", "TENANT_MISMATCH", "RLS_VERIFICATION_FAILED"}
    )

    def __init__(self, code: str, problem: str, *, operation: str = "") -> None:
        if code not in self.CODES:
            names = ", ".join(sorted(self.CODES))
            raise ConfigError("RLSViolationError.code", f"{code!r} is unknown", f"Use {names}.")
        what = f" in {operation}" if operation else ""
        super().__init__(f"{code}{what}: {problem}")
        self.code = code
        self.problem = problem
        self.operation = operation

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the error whole across process pools, where exceptions travel pickled."""
        return (_rebuild_violation, (self.code, self.problem, self.operation))


def _rebuild_violation(code: str, problem: str, operation: str) -> RLSViolationError:
    return RLSViolationError(code, problem, operation=operation)


class VaultError(GuardError):
    """The root of what the token vault raises; none of it holds a token, a key or an id."""

    code = "vault_error"


class VaultOpenError(VaultError, IsolationError):
    """A stored secret was not opened, because it is not what belongs in its place.

    ``code`` says what is wrong:

    - ``vault_malformed``: truncated, or no envelope at all;
    - ``vault_format_unknown``: written by a newer release, or altered;
    - ``vault_swapped``: an envelope of another tenant, user or provider;
    - ``vault_rolled_back``: an earlier version was put back;
    - ``vault_wrong_key``: it was sealed under another data key than its row says;
    - ``vault_key_missing``: its data key is not in the store;
    - ``vault_master_unknown``: its data key is wrapped by a master that the key ring lacks;
    - ``vault_altered``: authentication failed: a bit was changed, or the key is another;
    - ``vault_shredded``: the tenant's keys were destroyed on purpose.

    Args:
        code: One of these.

    Raises:
        ConfigError: *code* is another.
    """

    CODES: ClassVar[dict[str, str]] = {
        "vault_malformed": "the stored envelope is truncated or is none",
        "vault_format_unknown": "the stored envelope has a format that this release cannot read",
        "vault_swapped": "the stored envelope belongs to another tenant, user or provider",
        "vault_rolled_back": "an earlier version of the secret was put back",
        "vault_wrong_key": "the envelope was sealed under another data key than its row says",
        "vault_key_missing": "the data key of this envelope is not in the store",
        "vault_master_unknown": "the key ring lacks the master that wraps this tenant's data key",
        "vault_altered": "authentication failed: the stored bytes were altered, or the key is "
        "another",
        "vault_shredded": "the keys of this tenant were destroyed",
    }

    def __init__(self, code: str) -> None:
        if code not in self.CODES:
            raise ConfigError("VaultOpenError.code", f"{code!r} is no code of it", "Use one")
        super().__init__(f"{code}: {self.CODES[code]}; nothing was opened")
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the error whole across process pools, where exceptions travel pickled."""
        return (VaultOpenError, (self.code,))


class VaultNotConnectedError(VaultError, RejectionError):
    """There is no usable secret here: never connected, revoked, or in need of a reconnect."""

    code = "vault_not_connected"
    status = 409
    title = "Not connected"


class VaultConflictError(VaultError, ConflictError):
    """The secret is there already, or others kept changing it; nothing was stored."""

    code = "vault_conflict"


class VaultRefreshError(VaultError, UnavailableError):
    """An expired token could not be refreshed; what was stored is still stored."""

    code = "vault_refresh_failed"


class VaultUnavailableError(VaultError, UnavailableError):
    """The store, or the service that keeps the master key, does not answer."""

    code = "vault_unavailable"


class VaultKeyInUseError(VaultError):
    """A master key was to be retired that still wraps data keys of some tenants.

    Args:
        tenants: How many.
    """

    code = "vault_key_in_use"

    def __init__(self, tenants: int) -> None:
        super().__init__(
            f"{self.code}: data keys of {tenants} tenants are still wrapped by this master. "
            "Rotate those tenants first."
        )
        self.tenants = tenants

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the count across process pools."""
        return (VaultKeyInUseError, (self.tenants,))
