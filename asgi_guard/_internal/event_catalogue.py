"""The catalogue: every event name of the package, in one table.

``docs/events.md`` and dashboards are made from it, and a test fails when the package emits a name
that is not here, or when nothing emits a name that is.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["CATALOGUE", "EVENTS", "EventKind", "Severity"]

Severity = Literal["info", "notice", "warning", "critical"]


class EventKind(NamedTuple):
    """What one event name means.

    Args:
        name: Stable; operators' rules match on it.
        meaning: One sentence.
        outcomes: Which of ``allowed``, ``denied`` and ``error`` it comes with.
        severity: ``critical``: a wall was about to be crossed, or the record itself is at stake;
            somebody should look now. ``warning``: a refusal or fault; watch its rate.
            ``notice``: an administrative act, kept for the record. ``info``: everyday.
        room: Part of the package that emits it.
        reasons: The closed set of reason codes; empty where it is open.
    """

    name: str
    meaning: str
    outcomes: tuple[str, ...]
    severity: Severity
    room: str
    reasons: tuple[str, ...] = ()


_ALLOWED: Final = ("allowed",)
_DENIED: Final = ("denied",)
_ERROR: Final = ("error",)
_REFUSED: Final = ("denied", "error")
_DONE: Final = ("allowed", "error")
_ANY: Final = ("allowed", "denied", "error")

CATALOGUE: Final[tuple[EventKind, ...]] = (
    EventKind(
        "RLS_NOT_ENFORCED",
        "A statement would have run for no tenant, or on a handle that is not guarded.",
        _DENIED,
        "critical",
        "rls",
    ),
    EventKind(
        "TENANT_MISMATCH",
        "Two tenants met in one session, transaction or argument list.",
        _DENIED,
        "critical",
        "rls",
    ),
    EventKind(
        "RLS_VERIFICATION_FAILED",
        "The database answered with another tenant or role than was bound.",
        _DENIED,
        "critical",
        "rls",
    ),
    EventKind(
        "NOTIFICATION_REFUSED",
        "A notification was not believed; at most once a minute for each channel and reason.",
        _DENIED,
        "warning",
        "rls",
        ("early", "forged", "late", "malformed", "replayed", "unknown_key"),
    ),
    EventKind(
        "NOTIFY_LISTENER_LOST",
        "The connection that listens for notifications was lost; it is opened again.",
        _ERROR,
        "warning",
        "rls",
    ),
    EventKind(
        "SYSTEM_SESSION_OPENED",
        "Work across tenants began; details carry reason and ticket.",
        _ALLOWED,
        "notice",
        "rls",
    ),
    EventKind(
        "SYSTEM_SESSION_CLOSED",
        "Work across tenants ended; error: its block raised, and was rolled back.",
        _DONE,
        "notice",
        "rls",
    ),
    EventKind(
        "CONTEXT_CONTAMINATION",
        "State of one user's run was touched under another's context, or after its end.",
        _DENIED,
        "critical",
        "tenancy",
    ),
    EventKind(
        "AGENT_ACCESS_REFUSED",
        "A thread, session or history of an agent was named that is not its caller's.",
        _DENIED,
        "warning",
        "tenancy",
    ),
    EventKind(
        "TENANT_REFUSED",
        "A request named no tenant, a malformed one, or one that is not its user's.",
        _REFUSED,
        "warning",
        "tenancy",
    ),
    EventKind(
        "ENVELOPE_OPENED",
        "A job's envelope held, and the job began to run for its sender.",
        _ALLOWED,
        "info",
        "tenancy",
    ),
    EventKind(
        "ENVELOPE_REFUSED",
        "A job was not sent or not run: without a context, or its envelope does not hold; error: "
        "that could not be found out.",
        _REFUSED,
        "warning",
        "tenancy",
        (
            "context_expired",
            "context_missing",
            "deliveries_contended",
            "envelope_deliveries_exhausted",
            "envelope_expired",
            "envelope_forged",
            "envelope_from_the_future",
            "envelope_key_unknown",
            "envelope_malformed",
            "envelope_missing",
            "envelope_replayed",
            "envelope_used",
            "envelope_wrong_arguments",
            "envelope_wrong_job",
            "envelope_wrong_job_id",
            "membership_deleted",
            "membership_malformed",
            "membership_suspended",
            "memberships_unreachable",
            "not_a_member",
            "store_unreachable",
            "tenant_deleted",
            "tenant_suspended",
        ),
    ),
    EventKind(
        "ENVELOPE_LEFT_OPEN",
        "A job ended well and that could not be noted; it may be delivered again.",
        _ERROR,
        "warning",
        "tenancy",
    ),
    EventKind(
        "REQUEST_REFUSED",
        "The app or a layer refused a request; details carry the code that the caller got.",
        _DENIED,
        "info",
        "tenancy",
    ),
    EventKind(
        "AUTHENTICATION_FAILED",
        "A credential was not acceptable, or could not be judged.",
        _REFUSED,
        "warning",
        "auth",
    ),
    EventKind(
        "AUTHENTICATION_SUCCEEDED",
        "A credential was accepted. Routine: emitted only for readers that ask for it.",
        _ALLOWED,
        "info",
        "auth",
    ),
    EventKind(
        "DPOP_REFUSED",
        "A token request's DPoP proof was not accepted; error: its use could not be remembered.",
        _REFUSED,
        "warning",
        "auth",
    ),
    EventKind(
        "THROTTLED",
        "Attempts came too fast, and were not looked at.",
        _DENIED,
        "warning",
        "auth",
    ),
    EventKind("PASSWORD_HASHED", "A new password was hashed.", _ANY, "info", "auth"),
    EventKind("PASSWORD_VERIFIED", "A password was right.", _ALLOWED, "info", "auth"),
    EventKind(
        "PASSWORD_REFUSED",
        "A password was wrong; error: the stored hash could not be used.",
        _REFUSED,
        "warning",
        "auth",
    ),
    EventKind(
        "PASSWORD_REHASHED",
        "A login replaced a hash of an older kind.",
        _DONE,
        "info",
        "auth",
    ),
    EventKind("API_KEY_CREATED", "An API key was made, or was not to be.", _ANY, "notice", "auth"),
    EventKind(
        "API_KEY_ROTATED", "An API key got a successor, or was not to.", _ANY, "notice", "auth"
    ),
    EventKind(
        "API_KEY_REVOKED", "API keys were revoked, or were not to be.", _ANY, "notice", "auth"
    ),
    EventKind(
        "API_KEY_VERIFIED",
        "An API key was looked up and accepted; not for answers that were remembered.",
        _ALLOWED,
        "info",
        "auth",
    ),
    EventKind("API_KEY_REFUSED", "An API key was not accepted.", _REFUSED, "warning", "auth"),
    EventKind("KEY_CREATED", "A signing key was made, for later use.", _ALLOWED, "notice", "auth"),
    EventKind("KEY_ROTATED", "A new signing key is in use.", _ALLOWED, "notice", "auth"),
    EventKind(
        "KEY_RETIRED", "A signing key signs and verifies no more.", _ALLOWED, "notice", "auth"
    ),
    EventKind("KEY_REVOKED", "A signing key was withdrawn at once.", _ALLOWED, "notice", "auth"),
    EventKind("KEYS_EXPORTED", "The signing keys were exported.", _ALLOWED, "notice", "auth"),
    EventKind("KEYS_RESEALED", "Another master seals the keys.", _ALLOWED, "notice", "auth"),
    EventKind("KEYS_RESTORED", "Signing keys were restored.", _ALLOWED, "notice", "auth"),
    EventKind(
        "KEY_MIGRATION_STEP",
        "A step from HS256 to public keys was taken, or back; details name it, and a dry run.",
        ("allowed", "denied"),
        "notice",
        "auth",
    ),
    EventKind(
        "LEGACY_TOKEN_ACCEPTED",
        "Tokens of the algorithm that is on its way out were accepted; at most once a minute.",
        _ALLOWED,
        "notice",
        "auth",
    ),
    EventKind(
        "KEY_MAINTENANCE_FAILED",
        "Signing keys could not be rotated in the background; it is tried again.",
        _ERROR,
        "warning",
        "auth",
    ),
    EventKind(
        "JWKS_FETCH_FAILED",
        "Another issuer's keys could not be fetched; those that are known stay in use for a while.",
        _ERROR,
        "warning",
        "auth",
    ),
    EventKind(
        "SESSION_FILE_SAVED",
        "A command-line program's session was put into a file of its user.",
        _ALLOWED,
        "notice",
        "auth",
    ),
    EventKind("SESSION_FILE_REMOVED", "Such a file was deleted.", _ALLOWED, "notice", "auth"),
    EventKind(
        "SESSION_FILE_REFUSED",
        "Such a file is torn, altered, old, past its end, or open to others; nothing was read.",
        _DENIED,
        "warning",
        "auth",
    ),
    EventKind("SESSION_CREATED", "A login made a session, or was to.", _ANY, "info", "auth"),
    EventKind(
        "SESSION_REFUSED",
        "A session id was not accepted; the reason says whether it ended, or never was.",
        _REFUSED,
        "warning",
        "auth",
    ),
    EventKind(
        "SESSION_RENEWED",
        "A session got a new id, or was to: its rights changed.",
        _ANY,
        "info",
        "auth",
    ),
    EventKind(
        "SESSION_TENANT_SWITCHED",
        "A user went to another tenant under a new session id, or was not let in.",
        _ANY,
        "info",
        "auth",
    ),
    EventKind("SESSION_EXTENDED", "A session's idle time began anew.", _ANY, "info", "auth"),
    EventKind(
        "SESSION_TERMINATED", "A session was ended; the reason says by what.", _ANY, "info", "auth"
    ),
    EventKind(
        "SESSIONS_TERMINATED",
        "All sessions of a user or tenant were ended.",
        _ANY,
        "notice",
        "auth",
    ),
    EventKind(
        "SESSION_STATE_KEPT", "Data was kept with a session, or was to be.", _ANY, "info", "auth"
    ),
    EventKind(
        "SOCKET_CLOSED",
        "An open WebSocket was closed with 4401: its credential ended; error: nobody could say.",
        _REFUSED,
        "info",
        "auth",
    ),
    EventKind(
        "SOCKET_TICKET_ISSUED",
        "A single-use ticket for a WebSocket was issued.",
        _ANY,
        "info",
        "auth",
    ),
    EventKind("TOKEN_ISSUED", "A token was signed.", _ALLOWED, "info", "auth"),
    EventKind(
        "TOKEN_REVOKED",
        "Access tokens were revoked; details say by what: a token, session, family or user.",
        _DONE,
        "notice",
        "auth",
    ),
    EventKind("REFRESH_STARTED", "A login got its first refresh token.", _DONE, "info", "auth"),
    EventKind(
        "REFRESH_ROTATED",
        "A refresh token was used, and has a successor; lost_reply: the same one once more.",
        _ALLOWED,
        "info",
        "auth",
    ),
    EventKind("REFRESH_REFUSED", "A refresh token was not accepted.", _REFUSED, "warning", "auth"),
    EventKind(
        "REFRESH_REUSED",
        "A refresh token came back after it was used: it was copied. Its family was ended.",
        _REFUSED,
        "critical",
        "auth",
    ),
    EventKind(
        "REFRESH_REVOKED",
        "Refresh tokens were ended: of a family, a session or a user.",
        _ANY,
        "notice",
        "auth",
    ),
    EventKind(
        "OIDC_LOGIN_STARTED",
        "A browser was sent to a provider. Routine: emitted only for readers that ask for it.",
        _ALLOWED,
        "info",
        "auth",
    ),
    EventKind(
        "OIDC_LOGIN_SUCCEEDED",
        "A user came back from a provider, and has a session.",
        _ALLOWED,
        "info",
        "auth",
    ),
    EventKind(
        "OIDC_LOGIN_REFUSED",
        "A login through a provider did not hold, or could not be judged; the reason says where.",
        _REFUSED,
        "warning",
        "auth",
    ),
    EventKind(
        "OIDC_LOGOUT",
        "A user left, or came back from the provider's logout with a state that was not theirs.",
        _ANY,
        "info",
        "auth",
    ),
    EventKind(
        "OIDC_BACKCHANNEL_LOGOUT",
        "A provider ended sessions; details count them. Denied: its token did not hold.",
        _ANY,
        "notice",
        "auth",
    ),
    EventKind(
        "CORS_DENIED",
        "A page of another origin asked for what the policy does not grant it.",
        _DENIED,
        "info",
        "cors",
    ),
    EventKind(
        "CROSS_ORIGIN_REFUSED",
        "An unsafe request or WebSocket came from another site's page.",
        _DENIED,
        "warning",
        "cross_origin",
    ),
    EventKind(
        "ORIGIN_PROVIDER_FAILED",
        "Origins could not be looked up, so none was granted.",
        _ERROR,
        "warning",
        "origins",
    ),
    EventKind(
        "CSP_VIOLATION",
        "A browser blocked, or would have blocked, what a page tried.",
        ("allowed", "denied"),
        "info",
        "security_headers",
    ),
    EventKind(
        "CSP_DAILY_SUMMARY",
        "The day's browser reports, counted.",
        _ALLOWED,
        "info",
        "security_headers",
    ),
    EventKind(
        "SECURITY_HEADERS_FALLBACK",
        "A tenant's header set could not be used; the default was sent.",
        _ERROR,
        "warning",
        "security_headers",
        ("tenant_policy_failed",),
    ),
    EventKind(
        "STARTUP_CHECK_FAILED",
        "Row-level security is not real in this deployment; error: it serves all the same.",
        _REFUSED,
        "critical",
        "settings",
        ("startup_checks_failed",),
    ),
    EventKind(
        "AUDIT_LOG_RECOVERED",
        "A killed writer left an end that was never acknowledged; it was set aside.",
        _ERROR,
        "warning",
        "audit_log",
        ("torn_tail",),
    ),
    EventKind(
        "AUDIT_SEGMENTS_EXPIRED",
        "Segments older than the retention were deleted; details name them.",
        _ALLOWED,
        "notice",
        "audit_log",
        ("retention",),
    ),
    EventKind(
        "AUDIT_EVENTS_DROPPED",
        "Events found no room while a sink could not write; details count them by name.",
        _ERROR,
        "critical",
        "audit_log",
        ("audit_queue_full",),
    ),
    EventKind(
        "AUDIT_QUERIED",
        "An operator read the audit log over HTTP.",
        _ALLOWED,
        "notice",
        "audit_log",
    ),
    EventKind(
        "GUARDED_WRITE",
        "A transaction that writes was committed; details name its tables. On record only.",
        _ALLOWED,
        "info",
        "audit_log",
    ),
    EventKind(
        "VAULT_CONNECTED",
        "A provider's token was stored for a user who had none.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind(
        "VAULT_RECONNECTED",
        "A provider's token was replaced by the user.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind(
        "VAULT_VERIFIED",
        "The provider was asked whether it accepts the token; denied: it does not.",
        _ANY,
        "info",
        "vault",
    ),
    EventKind(
        "VAULT_REVOKED",
        "A token was removed; details say whether the provider revoked it as well.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind("VAULT_OPENED", "A token or secret was opened for use.", _ALLOWED, "info", "vault"),
    EventKind(
        "VAULT_OPEN_FAILED",
        "A stored secret is not what belongs in its place; the reason says why.",
        _DENIED,
        "critical",
        "vault",
    ),
    EventKind(
        "VAULT_REFRESHED",
        "An expired token was exchanged, and the new one stored.",
        _ALLOWED,
        "info",
        "vault",
    ),
    EventKind(
        "VAULT_REFRESH_FAILED",
        "An expired token could not be exchanged; the old one is kept.",
        _ERROR,
        "warning",
        "vault",
    ),
    EventKind(
        "VAULT_SECRET_STORED",
        "A secret that is no OAuth token was stored.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind(
        "VAULT_SECRET_REMOVED",
        "A secret that is no OAuth token was removed.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind("VAULT_KEY_MADE", "A tenant got a new data key.", _ALLOWED, "notice", "vault"),
    EventKind(
        "VAULT_ROTATED",
        "A tenant's secrets were sealed anew; details count them.",
        _DONE,
        "notice",
        "vault",
    ),
    EventKind(
        "VAULT_MASTER_RETIRED",
        "A master key wraps nothing any more and may be destroyed.",
        _ALLOWED,
        "notice",
        "vault",
    ),
    EventKind(
        "VAULT_SHREDDED",
        "A tenant's data keys were destroyed, and with them every secret.",
        _ALLOWED,
        "notice",
        "vault",
    ),
)

EVENTS: Final[dict[str, EventKind]] = {kind.name: kind for kind in CATALOGUE}
"""The same by name."""
