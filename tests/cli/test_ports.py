"""A port that cannot be had is answered with the flag that chooses another, and one that can."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from ottla.cli.failure import CommandError
from ottla.cli.ports import check_port
from ottla.config.addresses import Address


@pytest.fixture
def taken() -> Iterator[Address]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield Address("127.0.0.1", holder.getsockname()[1])


def refusal(address: Address) -> str:
    with pytest.raises(CommandError) as refused:
        check_port(address, what="gRPC", flag="--grpc-port")
    return refused.value.format_message()


def test_free_port_can_be_had_and_is_left_free() -> None:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        free = Address("127.0.0.1", finder.getsockname()[1])

    check_port(free, what="gRPC", flag="--grpc-port")
    check_port(free, what="gRPC", flag="--grpc-port")


def test_any_port_can_be_had() -> None:
    check_port(Address("127.0.0.1", 0), what="gRPC", flag="--grpc-port")


def test_taken_port_is_answered_with_a_free_one(taken: Address) -> None:
    sentence = refusal(taken)

    assert sentence.startswith(f"port {taken.port}, for gRPC, is taken by another program; stop ")
    alternative = re.search(r"--grpc-port (\d+) is free, --grpc-port 0 takes any", sentence)
    assert alternative is not None
    check_port(taken._replace(port=int(alternative[1])), what="gRPC", flag="--grpc-port")


def test_port_that_others_share_is_taken_all_the_same() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()

        assert "is taken" in refusal(Address("127.0.0.1", holder.getsockname()[1]))


def test_address_of_another_machine_is_answered_with_the_flag_for_it() -> None:
    assert refusal(Address("192.0.2.1", 7092)) == (
        "192.0.2.1 is not an address of this machine; choose another with --host, "
        "e.g. --host 127.0.0.1"
    )


def test_name_that_nobody_knows_is_answered_in_a_sentence() -> None:
    assert "cannot listen on no.such.host.invalid:7092 for gRPC" in refusal(
        Address("no.such.host.invalid", 7092)
    )
