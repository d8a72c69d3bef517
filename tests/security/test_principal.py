"""Whoever shows a certificate has the name that Kafka gives it."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.security.identity import principal_of


def subject(*parts: tuple[str, str]) -> dict[str, Any]:
    return {"subject": tuple(((name, value),) for name, value in parts)}


@pytest.mark.parametrize("certificate", [None, {}])
def test_nobody_is_anonymous(certificate: dict[str, Any] | None) -> None:
    assert principal_of(certificate) == "User:ANONYMOUS"


def test_name_is_written_with_the_most_particular_part_first() -> None:
    certificate = subject(
        ("countryName", "CZ"), ("organizationName", "Example"), ("commonName", "billing")
    )

    assert principal_of(certificate) == "User:CN=billing,O=Example,C=CZ"


def test_parts_of_one_level_stand_together() -> None:
    certificate = {"subject": ((("commonName", "a"), ("userId", "7")),)}

    assert principal_of(certificate) == "User:CN=a+UID=7"


@pytest.mark.parametrize(
    ("value", "written"),
    [("a,b", r"a\,b"), ("#1", r"\#1"), ("a=b+c", r"a\=b\+c"), (" a", r"\ a"), ('"', r"\"")],
)
def test_what_would_separate_is_escaped(value: str, written: str) -> None:
    assert principal_of(subject(("commonName", value))) == f"User:CN={written}"
