"""The gateway is an address, or it is not known."""

from __future__ import annotations

import ipaddress

from ottla.runtime.network import default_gateway


def test_gateway_is_an_address_or_unknown() -> None:
    gateway = default_gateway()

    assert gateway is None or ipaddress.IPv4Address(gateway)
