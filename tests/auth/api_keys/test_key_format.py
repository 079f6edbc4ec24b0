"""The shape of a key: recognisable by everybody, guessable by nobody."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.api_keys import KeyFormat
from asgi_guard.errors import ConfigError
from tests.support.api_keys_world import FORMAT

BASE62 = string.digits + string.ascii_letters
KEY = FORMAT.new_key().reveal()


def test_a_key_says_whose_it_is_and_has_178_random_bits() -> None:
    """Prefix, 30 characters, checksum of 6; the documented shape."""
    assert re.fullmatch(r"acme_live_[0-9A-Za-z]{36}", KEY)
    assert FORMAT.is_well_formed(KEY)
    assert len({FORMAT.new_key().reveal() for _ in range(1000)}) == 1000


def test_the_checksum_is_the_crc_32_of_all_before_it() -> None:
    """Published, so that another's scanner computes it: a fixed example."""
    zeros = "acme_live_" + "0" * 30

    assert FORMAT.is_well_formed(zeros + _crc(zeros))
    assert _crc(zeros) == "1vLmYT"


def _crc(text: str) -> str:
    """Compute the checksum a second time, from the standard's bits (ISO/IEC 13239)."""
    register = 0xFFFFFFFF
    for byte in text.encode():
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    number, digits = register ^ 0xFFFFFFFF, ""
    ordered = string.digits + string.ascii_uppercase + string.ascii_lowercase
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ordered[digit] + digits
    return digits


@given(st.integers(0, len(KEY) - 1), st.sampled_from(BASE62 + "_-"))
def test_any_one_wrong_character_is_noticed(place: int, character: str) -> None:
    """CRC-32 finds every single error: no look-up for a typing error."""
    typed = KEY[:place] + character + KEY[place + 1 :]

    assert FORMAT.is_well_formed(typed) is (typed == KEY)


@given(st.one_of(st.text(), st.from_regex(r"acme_[a-z]{2,5}_[0-9A-Za-z]{30,40}\s?")))
def test_no_text_breaks_the_parser_and_what_it_takes_is_one_spelling(text: str) -> None:
    """A key is input."""
    if FORMAT.is_well_formed(text):
        assert re.fullmatch(r"acme_live_[0-9A-Za-z]{36}", text, re.ASCII)
        assert _crc(text[:-6]) == text[-6:]
    assert isinstance(FORMAT.claims(text), bool)
    assert all(text[start:end].startswith("acme_") for start, end in FORMAT.find(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY + "\n",
        " " + KEY,
        KEY[:-1],
        KEY + "0",
        KEY.upper(),
        KEY.replace("acme", "\u0430cme"),
        KeyFormat("acme", "test").new_key().reveal(),
        KeyFormat("other", "live").new_key().reveal(),
    ],
    ids=range(9),  # keys are new in each run; a test's name is not
)
def test_another_spelling_app_or_environment_is_no_key(text: str) -> None:
    """A test key in production is none."""
    assert not FORMAT.is_well_formed(text)


def test_a_leaked_key_is_found_in_code_logs_and_urls_and_look_alikes_are_not() -> None:
    """What a push-protection scanner needs: the pattern, and no false alarm."""
    test_key = KeyFormat("acme", "test").new_key().reveal()
    text = f'KEY="{KEY}"\nGET /x?k={test_key}&y=1\nfake acme_live_{"a" * 36} x{KEY} {KEY}0'

    assert [text[start:end] for start, end in FORMAT.find(text)] == [KEY, test_key]
    assert re.search(FORMAT.scanner_pattern, KEY)


@pytest.mark.parametrize("word", ["", "a", "Acme", "acme_x", "1acme", "a" * 21, "acm\u00e9", None])
def test_words_that_make_the_prefix_ambiguous_are_refused(word: str) -> None:
    """``acme_live`` must split in one way."""
    with pytest.raises(ConfigError, match=r"KeyFormat\.app"):
        KeyFormat(word, "live")
    with pytest.raises(ConfigError, match=r"KeyFormat\.env"):
        KeyFormat("acme", word)
