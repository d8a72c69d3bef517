"""A port that cannot be had is answered with the option that chooses another, and one that can."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from ottla.cli.failure import CommandError
from ottla.cli.ports import Door, check_door, free_ports
from ottla.config.addresses import Address
from ottla.testing.broker_process import free_port


@pytest.fixture
def taken() -> Iterator[Address]:
    # Not one that the system gives to outgoing connections: its neighbours may be in use.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        yield Address("127.0.0.1", holder.getsockname()[1])


def refusal(door: Door) -> str:
    with pytest.raises(CommandError) as refused:
        check_door(door)
    return refused.value.format_message()


def test_free_port_can_be_had_and_is_left_free() -> None:
    (port,) = free_ports("127.0.0.1", 1)
    door = Door("gRPC", Address("127.0.0.1", port))

    check_door(door)
    check_door(door)


def test_any_port_can_be_had() -> None:
    check_door(Door("gRPC", Address("127.0.0.1", 0)))


def test_free_ports_are_different() -> None:
    assert len(set(free_ports("127.0.0.1", 50))) == 50


def test_taken_port_is_answered_with_a_free_one(taken: Address) -> None:
    sentence = refusal(Door("gRPC", taken))

    assert sentence.startswith(f"port {taken.port}, for gRPC, is taken by another program; stop ")
    alternative = re.search(r"--grpc-port (\d+) is free, --grpc-port 0 takes any", sentence)
    assert alternative is not None
    check_door(Door("gRPC", taken._replace(port=int(alternative[1]))))


def test_taken_port_in_a_row_is_answered_with_a_row_that_is_free(taken: Address) -> None:
    sentence = refusal(Door("HTTP", taken._replace(port=taken.port - 1), 3))

    assert sentence.startswith(f"port {taken.port}, for HTTP, is taken")
    alternative = re.search(r"--http-port (\d+) has 3 in a row that are free", sentence)
    assert alternative is not None
    check_door(Door("HTTP", taken._replace(port=int(alternative[1])), 3))


def test_command_without_flags_is_answered_with_the_setting(taken: Address) -> None:
    sentence = refusal(Door("gRPC", taken, by_flags=False))

    assert re.search(r"--set grpc\.listen=127\.0\.0\.1:\d+ is free, --set grpc\.listen=1", sentence)


def test_port_that_others_share_is_taken_all_the_same() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()

        assert "is taken" in refusal(Door("gRPC", Address("127.0.0.1", holder.getsockname()[1])))


def test_address_of_another_machine_is_answered_with_the_flag_for_it() -> None:
    assert refusal(Door("gRPC", Address("192.0.2.1", 7092))) == (
        "192.0.2.1 is not an address of this machine; choose another, e.g. --host 127.0.0.1"
    )


def test_name_that_nobody_knows_is_answered_in_a_sentence() -> None:
    assert "cannot listen on no.such.host.invalid:7092 for gRPC" in refusal(
        Door("gRPC", Address("no.such.host.invalid", 7092))
    )


def test_taken_port_of_a_listener_is_answered_with_the_setting_for_another(
    taken: Address,
) -> None:
    door = Door("Kafka", taken, by_flags=False, listener="LAN")

    assert re.search(r"--set listeners=LAN://127\.0\.0\.1:\d+ is free", refusal(door))


def test_taken_port_for_kafka_is_answered_with_the_flag_for_another(taken: Address) -> None:
    assert re.search(r"--kafka-port \d+ is free", refusal(Door("Kafka", taken)))
