"""Bootstrap servers are read as people write them, and what cannot be read is quoted."""

from __future__ import annotations

import pytest

from ottla.client.addresses import Address, parse_addresses
from ottla.model.errors import InvalidConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", [("a", 1)]),
        ("a:1,b:2", [("a", 1), ("b", 2)]),
        (" a:1 , b:2 ,", [("a", 1), ("b", 2)]),
        ("localhost", [("localhost", 7092)]),
        ("[::1]:9", [("::1", 9)]),
        ("[::1]", [("::1", 7092)]),
        ("fe80::1", [("fe80::1", 7092)]),
    ],
)
def test_addresses_are_read(text: str, expected: list[tuple[str, int]]) -> None:
    assert list(parse_addresses(text)) == expected


def test_list_of_addresses_is_read_like_a_string_with_commas() -> None:
    assert parse_addresses(["a:1", "b:2"]) == parse_addresses("a:1,b:2")


@pytest.mark.parametrize(
    "text", ["a:", "a:x", "a:0", "a:65536", ":7092", "http://a:1", "a b:1", "a:-1", "a:१"]
)
def test_address_that_cannot_be_read_is_quoted(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="bootstrap_servers") as raised:
        parse_addresses(text)

    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("text", ["", " , ", []])
def test_no_address_at_all_is_refused(text: str | list[str]) -> None:
    with pytest.raises(InvalidConfigError, match="is empty"):
        parse_addresses(text)


def test_address_is_shown_as_it_is_written() -> None:
    assert (str(Address("::1", 9)), str(Address("a", 1))) == ("[::1]:9", "a:1")
