"""Where other services' credentials are kept: sealed for one tenant, one user, one provider.

Protects third-party OAuth tokens and other secrets against whoever reads the database, a backup
or a disk; against a row that is copied into another tenant's place; and against an older one
that is put back. Keys come from one master key, or from a key management service.
"""

from __future__ import annotations
