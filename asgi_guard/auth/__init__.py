"""Identity: which principal the credential of a connection proves."""
