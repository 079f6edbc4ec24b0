"""Shapes of tenant ids: one spelling for each, and no look-alikes."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import TenantInvalidError
from asgi_guard.tenancy import INTEGER, SLUG, UUID, TenantIdShape

ANYTHING = TenantIdShape("anything", re.compile(r".*", re.DOTALL), "text")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (UUID, "6f0a2b7e-8a53-4f0c-9a41-0f5d5f1c2b3a"),
        (SLUG, "a"),
        (SLUG, "acme-2"),
        (SLUG, "a" * 63),
        (INTEGER, "1"),
        (INTEGER, "9" * 18),
    ],
)
def test_an_id_of_the_shape_is_itself(shape: TenantIdShape, text: str) -> None:
    """Canonical in, canonical out."""
    assert shape.parse(text) == text


TEXT = "6f0a2b7e-8a53-4f0c-9a41-0f5d5f1c2b3a"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (UUID, ""),
        (UUID, TEXT.upper()),
        (UUID, TEXT.replace("-", "")),
        (UUID, f"{{{TEXT}}}"),
        (UUID, f"urn:uuid:{TEXT}"),
        (UUID, TEXT + "\n"),
        (UUID, " " + TEXT),
        (UUID, TEXT + "0"),
        (UUID, TEXT.replace("0", "\u0660")),  # ARABIC-INDIC DIGIT ZERO
        (UUID, TEXT.replace("a", "%61")),
        (UUID, TEXT.replace("a", "\u0430")),  # CYRILLIC SMALL LETTER A
        (SLUG, "Acme"),
        (SLUG, "-acme"),
        (SLUG, "acme-"),
        (SLUG, "ac.me"),
        (SLUG, "ac_me"),
        (SLUG, "\u0430cme"),
        (SLUG, "acme\x00"),
        (SLUG, "a" * 64),
        (INTEGER, "0"),
        (INTEGER, "-1"),
        (INTEGER, "+1"),
        (INTEGER, "01"),
        (INTEGER, "1_0"),
        (INTEGER, "1.0"),
        (INTEGER, "\u0661"),  # ARABIC-INDIC DIGIT ONE, which int() reads as 1
        (INTEGER, "9" * 19),
        (ANYTHING, "a" * 129),
        (ANYTHING, "a\tb"),
        (ANYTHING, "\x7f"),
        (ANYTHING, "\ud800"),
    ],
)
def test_everything_else_is_refused_and_not_repeated(shape: TenantIdShape, text: str) -> None:
    """A second spelling makes two tenants of one; the text may be an attack on the log."""
    with pytest.raises(TenantInvalidError) as caught:
        shape.parse(text)
    assert caught.value.status == 400
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, uuid.UUID(TEXT), b"acme", ["acme"]])
def test_what_is_no_text_is_refused_like_any_other_shape(value: object) -> None:
    """A custom resolver may return anything; that is no reason for a 500."""
    with pytest.raises(TenantInvalidError):
        UUID.parse(value)  # type: ignore[arg-type]


@given(st.text())
def test_what_passes_is_one_python_and_postgres_agree_about(text: str) -> None:
    """The built-in shapes are subsets of what their SQL types read, in canonical form."""
    for shape, canonical in ((UUID, lambda each: str(uuid.UUID(each))), (INTEGER, int)):
        try:
            shape.parse(text)
        except TenantInvalidError:
            continue
        assert str(canonical(text)) == text
