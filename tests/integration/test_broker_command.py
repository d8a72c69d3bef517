"""``ottla broker`` runs a broker as settings say, and stops with whoever supervises it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.model.ids import BrokerId
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.quorum_voters import remember_voters
from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

OTTLA_BROKER = (sys.executable, "-m", "ottla", "broker", "--json")


def test_environment_makes_a_broker(tmp_path: Path) -> None:
    with BrokerProcess(
        data_directory=tmp_path, subcommand=("broker",), environment={"OTTLA_NODE_ID": "7"}
    ) as broker:
        assert broker.ready_line["node_id"] == 7
        assert broker.ready_line["data"] == str(tmp_path / "broker-7")
        assert "broker.open_to_all" not in broker.stderr()
        assert broker.stop() == 0


def test_broker_that_is_open_to_other_machines_says_so_and_what_to_do(tmp_path: Path) -> None:
    with BrokerProcess(
        data_directory=tmp_path,
        subcommand=("broker",),
        arguments=["--set", "grpc.listen=0.0.0.0:0"],
    ) as broker:
        (warning,) = re.findall(r"WARNING broker\.open_to_all .*", broker.stderr())
        assert "ssl.ca.location, for which 'ottla certs create' makes files" in warning


def test_end_of_its_input_stops_a_supervised_broker(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *OTTLA_BROKER, "--supervised", "--data", tmp_path,
            "--set", "grpc.listen=127.0.0.1:0", "--set", "http.listen=127.0.0.1:0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["status"] == "ready"

    _, said = process.communicate(timeout=20)  # closes the input

    assert process.returncode == 0
    assert b"broker.stopped node_id=0 clean=true" in said


def test_taken_port_is_refused_with_the_setting_for_another(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        broker = BrokerProcess(
            data_directory=tmp_path, subcommand=("broker",), grpc_port=holder.getsockname()[1]
        )

        with pytest.raises(BrokerDidNotStartError, match=r"--set grpc\.listen=\S+ is free"):
            broker.start()


def test_data_of_three_voters_is_refused_to_one_alone(tmp_path: Path) -> None:
    directory = tmp_path / "broker-0"
    directory.mkdir()
    voters = frozenset(map(BrokerId, range(3)))
    remember_voters(directory, voters, file_system=PosixFileSystem(sync=False))

    with pytest.raises(BrokerDidNotStartError, match="is kept by brokers 0, 1 and 2, but this"):
        BrokerProcess(data_directory=tmp_path).start()
