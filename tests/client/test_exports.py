"""``import ottla.client`` costs nothing, and everything public is there when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ottla.client


def test_importing_the_package_imports_neither_grpc_nor_protobuf() -> None:
    script = (
        "import sys, ottla.client;"
        "print([name for name in ('grpc', 'google.protobuf', 'asyncio') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )

    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ottla.client.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(ottla.client, name) is not None


def test_every_lazy_name_is_public() -> None:
    assert sorted(ottla.client._HOME_OF) == sorted(ottla.client.__all__)


def test_name_that_does_not_exist_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="Konsumer"):
        ottla.client.Konsumer  # noqa: B018  # mypy: not needed, __getattr__ takes any name
