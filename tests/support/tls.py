"""A certificate for loopback names, made for one test run."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

__all__ = ["Certificate", "make_certificate"]


class Certificate(NamedTuple):
    """Where the certificate lies, and what to tell Chromium so that it accepts this one only.

    Args:
        cert: PEM file.
        key: PEM file.
        spki: Base64 SHA-256 of the public key, for ``--ignore-certificate-errors-spki-list``.
    """

    cert: Path
    key: Path
    spki: str


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Make a certificate for *names*, which may be wildcards, in *folder*."""
    issued = trustme.CA().issue_cert(*names)
    [pem] = issued.cert_chain_pems
    public_key = x509.load_pem_x509_certificate(pem.bytes()).public_key()
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    made = Certificate(
        folder / "cert.pem", folder / "key.pem", base64.b64encode(sha256(spki).digest()).decode()
    )
    made.cert.write_bytes(pem.bytes())
    issued.private_key_pem.write_to_path(made.key)
    return made
