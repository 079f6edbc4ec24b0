"""The envelope: what was sealed opens in its own place, and nothing else opens anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError, VaultOpenError
from asgi_guard.vault.data_key import DataKey, new_data_key
from asgi_guard.vault.envelope import LONGEST, MAX_VERSION, open_envelope, read_header, seal
from asgi_guard.vault.slot import Slot, check_provider, length_prefixed, secret_provider

KEY = DataKey(bytes(range(32)))
SLOT = Slot("acme", "alice", "google")

ids = st.text(min_size=1, max_size=20)
slots = st.builds(Slot, ids, ids, ids)
versions = st.integers(min_value=1, max_value=MAX_VERSION)


@given(st.binary(max_size=300), slots, versions)
def test_what_was_sealed_opens_in_its_own_place(plaintext: bytes, slot: Slot, version: int) -> None:
    """Whatever the bytes and the ids: half a surrogate pair is an id to some databases."""
    envelope = seal(plaintext, key=KEY, slot=slot, version=version)

    assert open_envelope(envelope, key=KEY, slot=slot, version=version) == plaintext
    assert plaintext not in envelope or len(plaintext) < 4


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_parser(noise: bytes) -> None:
    """A database holds what somebody put there; only our error may come of it."""
    with pytest.raises(VaultOpenError):
        open_envelope(noise, key=KEY, slot=SLOT, version=1)


@given(st.binary(max_size=60), st.data())
def test_any_flipped_bit_is_refused_with_our_error(plaintext: bytes, data: st.DataObject) -> None:
    """Format, key id, binding, version, nonce, ciphertext, tag: all are authenticated."""
    envelope = bytearray(seal(plaintext, key=KEY, slot=SLOT, version=7))
    bit = data.draw(st.integers(0, len(envelope) * 8 - 1))
    envelope[bit // 8] ^= 1 << (bit % 8)

    with pytest.raises(VaultOpenError):
        open_envelope(bytes(envelope), key=KEY, slot=SLOT, version=7)


def test_every_single_bit_of_one_envelope_counts() -> None:
    """The same, exhaustively: 1,000 bits and no exception to the rule."""
    envelope = seal(b"a refresh token of 60 bytes", key=KEY, slot=SLOT, version=7)
    for bit in range(len(envelope) * 8):
        altered = bytearray(envelope)
        altered[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(VaultOpenError):
            open_envelope(bytes(altered), key=KEY, slot=SLOT, version=7)


def test_every_truncation_and_extension_is_refused() -> None:
    """A column that was too narrow, a disk that was full."""
    envelope = seal(b"token", key=KEY, slot=SLOT, version=1)
    for cut in range(len(envelope)):
        with pytest.raises(VaultOpenError):
            open_envelope(envelope[:cut], key=KEY, slot=SLOT, version=1)
    with pytest.raises(VaultOpenError, match="vault_altered"):
        open_envelope(envelope + b"\0", key=KEY, slot=SLOT, version=1)


@pytest.mark.parametrize(
    ("slot", "version", "key", "code"),
    [
        (Slot("globex", "alice", "google"), 3, KEY, "vault_swapped"),
        (Slot("acme", "bob", "google"), 3, KEY, "vault_swapped"),
        (Slot("acme", "alice", "slack"), 3, KEY, "vault_swapped"),
        (Slot("acmealice", "", "google"), 3, KEY, "vault_swapped"),
        (SLOT, 4, KEY, "vault_rolled_back"),
        (SLOT, 3, DataKey(bytes(32)), "vault_wrong_key"),
    ],
)
def test_each_wrong_place_has_its_own_code(
    slot: Slot, version: int, key: DataKey, code: str
) -> None:
    """An operator must be able to tell a swapped row from a lost key."""
    envelope = seal(b"token", key=KEY, slot=SLOT, version=3)

    with pytest.raises(VaultOpenError) as caught:
        open_envelope(envelope, key=key, slot=slot, version=version)

    assert caught.value.code == code
    assert caught.value.__context__ is None


def test_a_header_forged_to_fit_the_place_still_opens_nothing() -> None:
    """The binding is a diagnosis; what holds is the authenticated data."""
    mine, theirs = SLOT, Slot("globex", "bob", "google")
    envelope = seal(b"token", key=KEY, slot=mine, version=3)
    forged = envelope[:9] + theirs.binding() + envelope[41:]

    with pytest.raises(VaultOpenError, match="vault_altered"):
        open_envelope(forged, key=KEY, slot=theirs, version=3)


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_two_lists_never_have_one_encoding(one: list[bytes], other: list[bytes]) -> None:
    """Joined without lengths, tenant "ab" user "c" would be tenant "a" user "bc"."""
    assert (length_prefixed(*one) == length_prefixed(*other)) == (one == other)


def test_each_version_of_each_slot_has_a_key_of_its_own() -> None:
    """That keeps the number of nonces per key at one (NIST SP 800-38D section 8.3)."""
    keys = {KEY.row_key(SLOT, version) for version in range(1, 50)}
    keys |= {KEY.row_key(SLOT._replace(user_id=f"u{number}"), 1) for number in range(50)}

    assert len(keys) == 99


def test_the_same_secret_sealed_twice_looks_different() -> None:
    """Equal tokens of two users must not be seen to be equal."""
    sealed = {seal(b"token", key=KEY, slot=SLOT, version=1) for _ in range(20)}

    assert len(sealed) == 20


def test_header_is_read_without_a_key() -> None:
    """Rotation looks for the key ids that are left."""
    header = read_header(seal(b"token", key=KEY, slot=SLOT, version=12))

    assert (header.key_id, header.version) == (KEY.key_id, 12)


@pytest.mark.parametrize("version", [0, -1, MAX_VERSION + 1])
def test_a_version_that_no_store_could_hold_is_refused(version: int) -> None:
    """It would be sealed and never found again."""
    with pytest.raises(ConfigError, match="version"):
        seal(b"", key=KEY, slot=SLOT, version=version)


def test_a_secret_that_is_too_long_is_refused_before_it_is_sealed() -> None:
    """A store of tokens is no place for files."""
    with pytest.raises(ConfigError, match="65537"):
        seal(b"x" * (LONGEST + 1), key=KEY, slot=SLOT, version=1)


@pytest.mark.parametrize("name", ["", "Google", "a b", "secret:x", "-x", "x" * 64, "g\u043egle"])
def test_provider_names_have_one_spelling(name: str) -> None:
    """Two spellings of one provider are two slots, and one of them is never revoked."""
    with pytest.raises(ConfigError):
        check_provider(name)
    assert secret_provider("smtp") == "secret:smtp"


def test_a_data_key_shows_itself_to_nobody() -> None:
    """Tracebacks with locals print the repr of what was in hand."""
    key = new_data_key()

    assert key.reveal().hex() not in repr(key) + str(key)
    with pytest.raises(ConfigError):
        DataKey(b"short")
    with pytest.raises(TypeError):
        key.__reduce__()
