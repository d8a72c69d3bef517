"""What a user does at a shell works with a real broker process, and what goes wrong is said."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

OTTLA = (sys.executable, "-m", "ottla")
ONE = ("up", "--brokers", "1")
ANY_PORTS = ("--grpc-port", "0", "--kafka-port", "0", "--http-port", "0")


class Shell:
    """Runs ``ottla`` against one broker."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.broker = broker

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "OTTLA_BOOTSTRAP": self.broker.grpc_address}

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*OTTLA, *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=60,
        )

    def output(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run a command that succeeds; return its standard output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*OTTLA, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell and a broker that the tests of this file share; each has topics of its own."""
    with BrokerProcess() as broker:
        yield Shell(broker)


def refusal(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run a command that fails; return its status and the one line that it says."""
    done = subprocess.run(
        [*OTTLA, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=60,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if line.startswith("ottla: ")]
    assert len(complaints) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, complaints[0]


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


# --- Records --------------------------------------------------------------------------


def test_every_byte_of_every_line_comes_back(shell: Shell) -> None:
    lines = [bytes({*range(256)} - {10}), b"", b"\r", b" padded ", "grüß".encode(), b"last"]
    shell.output("topic", "create", "bytes", "--partitions", "1")

    shell.output("produce", "bytes", stdin=b"\n".join(lines))

    assert shell.output("consume", "bytes", "--from-beginning") == b"\n".join([*lines, b""])


def test_a_hundred_thousand_lines_are_counted_and_come_back(shell: Shell) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(100_000))
    shell.output("topic", "create", "many", "--partitions", "3")

    produced = shell.run("produce", "many", stdin=lines)
    consumed = shell.output("consume", "many", "--from-beginning")

    assert b"acknowledged: 100,000 records" in produced.stderr
    assert sorted(consumed.splitlines()) == sorted(lines.splitlines())


def test_topic_is_copied_by_way_of_json(shell: Shell) -> None:
    shell.output("topic", "create", "original", "--partitions", "2")
    shell.output(
        "produce", "original", "--key-separator", ":", "--header", "source=tour",
        stdin=b"alice:login\nbob:\xff\nalice:logout\n",
    )  # fmt: skip
    original = shell.output("consume", "original", "--from-beginning", "--json")
    shell.output("topic", "create", "copy", "--partitions", "2")

    report = json.loads(shell.output("produce", "copy", "--json", stdin=original))

    copy = shell.output("consume", "copy", "--from-beginning", "--json")
    assert (report["records_acknowledged"], report["records_failed"]) == (3, 0)
    assert sorted(copy.replace(b'"copy"', b'"original"').splitlines()) == sorted(
        original.splitlines()
    )


def test_records_of_one_key_are_in_order_and_show_their_parts(shell: Shell) -> None:
    shell.output("topic", "create", "keys", "--partitions", "4")
    shell.output(
        "produce", "keys", "--key-separator", r"\t", "--header", "h=1", "--compression", "zstd",
        stdin=b"".join(b"k\t%d\n" % number for number in range(100)),
    )  # fmt: skip

    shown = shell.output("consume", "keys", "--from-beginning", "--format", r"%o %k %v %h\n")

    assert shown.splitlines() == [b"%d k %d h=1" % (number, number) for number in range(100)]


@pytest.fixture(scope="module")
def ten(shell: Shell) -> str:
    """A topic with the records 0 to 9, at offsets and times of the same number."""
    shell.output("topic", "create", "ten", "--partitions", "1")
    records = [json.dumps({"value": str(n), "timestamp_ms": 1_000_000 + n}) for n in range(10)]
    shell.output("produce", "ten", "--json", stdin="\n".join(records).encode())
    return "ten"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["--from-beginning"], "0123456789"),
        (["--from-beginning", "--max", "3"], "012"),
        (["--partition", "0", "--offset", "7"], "789"),
        (["--partition", "0", "--offset", "10"], ""),
        (["--offset", "-2"], "89"),
        (["--offset", "-99"], "0123456789"),
        (["--from-timestamp", "1000004"], "456789"),
        (["--from-timestamp", "1970-01-01T00:16:40.008Z"], "89"),
        (["--from-timestamp", "2030-01-01"], ""),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_reading_begins_where_it_was_told_to(
    shell: Shell, ten: str, arguments: Sequence[str], values: str
) -> None:
    shown = shell.output("consume", ten, *arguments)

    assert shown.decode().split() == list(values)


def test_offset_that_is_not_there_is_answered_with_those_that_are(shell: Shell, ten: str) -> None:
    status, sentence = refusal(
        "consume", ten, "--partition", "0", "--offset", "11",
        OTTLA_BOOTSTRAP=shell.broker.grpc_address,
    )  # fmt: skip

    assert status == 1
    assert "ten-0 has the offsets 0 to 10, and 11 is outside" in sentence


@pytest.mark.parametrize("start", [[], ["--from-beginning"], ["--offset", "0"]], ids=" ".join)
def test_partition_that_is_not_there_is_answered_with_how_many_are(
    shell: Shell, ten: str, start: list[str]
) -> None:
    status, sentence = refusal(
        "consume", ten, "--partition", "99", *start, OTTLA_BOOTSTRAP=shell.broker.grpc_address
    )

    assert status == 1
    assert "topic 'ten' has no partition 99: it has 1, from 0 on" in sentence


def test_follow_shows_what_comes_until_interrupted(shell: Shell) -> None:
    shell.output("topic", "create", "live")
    shell.output("produce", "live", stdin=b"before\n")
    follower = shell.start("consume", "live", "--from-beginning", "--follow")
    assert read_line(follower) == b"before\n"

    shell.output("produce", "live", stdin=b"after\n")
    assert read_line(follower) == b"after\n"
    follower.send_signal(signal.SIGINT)

    out, err = follower.communicate(timeout=20)
    assert (follower.returncode, out, err) == (130, b"", b"")


def test_reader_that_goes_away_ends_consume_in_silence(shell: Shell, ten: str) -> None:
    command = f"{' '.join(OTTLA)} consume {ten} --from-beginning --follow | head -1"

    done = subprocess.run(
        ["bash", "-c", command], check=True, capture_output=True, env=shell.environment, timeout=60
    )

    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_interrupted_produce_flushes_and_reports(shell: Shell) -> None:
    shell.output("topic", "create", "interrupted", "--partitions", "1")
    watcher = shell.start("consume", "interrupted", "--from-beginning", "--follow")
    producer = shell.start("produce", "interrupted", "--json")
    assert producer.stdin is not None
    producer.stdin.write(b'{"value": "one"}\n')
    producer.stdin.flush()
    assert read_line(watcher) == b"one\n"

    producer.send_signal(signal.SIGINT)

    producer.wait(timeout=20)  # with its input still open
    out, err = producer.communicate()
    watcher.kill()
    watcher.communicate()
    assert (producer.returncode, json.loads(out)["records_acknowledged"]) == (130, 1)
    assert b"acknowledged: 1 record" in err


def test_line_that_is_no_record_is_named_and_what_came_before_is_kept(shell: Shell) -> None:
    shell.output("topic", "create", "half")

    done = shell.run("produce", "half", "--key-separator", ":", stdin=b"a:1\nb:2\nplain\n")

    assert done.returncode == 1
    assert b"ottla: line 3 has no key separator ':'" in done.stderr
    assert shell.output("consume", "half", "--from-beginning") == b"1\n2\n"


def test_partition_that_is_not_there_is_refused(shell: Shell) -> None:
    shell.output("topic", "create", "small", "--partitions", "1")

    done = shell.run("produce", "small", "--partition", "1", stdin=b"x\n")

    assert done.returncode == 1
    assert b"has no partition 1" in done.stderr


# --- Topics ---------------------------------------------------------------------------


def test_life_of_a_topic(shell: Shell) -> None:
    created = shell.output(
        "topic", "create", "web", "--partitions", "6", "--config", "retention.ms=604800000"
    )
    assert created == b"created topic web with 6 partitions and replication factor 1\n"
    assert b"web\t6\t1\t0\t0\n" in shell.output("topic", "list")

    shell.output("topic", "alter", "web", "--partitions", "8", "--config", "segment.ms=1000")
    (described,) = json.loads(shell.output("topic", "describe", "web", "--json"))
    assert len(described["partitions"]) == 8
    assert described["configs"]["segment.ms"] == {"value": "1000", "source": "DYNAMIC_TOPIC_CONFIG"}

    shell.output("topic", "alter", "web", "--delete-config", "segment.ms")
    facts = shell.output("topic", "describe", "web").decode()
    assert "retention.ms\t604800000\n" in facts
    assert "segment.ms" not in facts

    assert shell.output("topic", "delete", "web") == b"deleted topic web\n"
    assert b"web\t" not in shell.output("topic", "list")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["create", "a/b"], "has a character that is none of"),
        (["create", "x", "--config", "retention.msec=1"], "did you mean retention.ms?"),
        (["create", "x", "--config", "segment.bytes=1"], "it takes a whole number from 1048576"),
        (["create", "x", "--replication-factor", "3"], "3"),
        (["describe", "absent"], "absent"),
        (["delete", "absent"], "absent"),
        (["alter", "absent", "--partitions", "3"], "absent"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_topic_command_that_cannot_be_done_says_why(
    shell: Shell, arguments: Sequence[str], part: str
) -> None:
    status, sentence = refusal("topic", *arguments, OTTLA_BOOTSTRAP=shell.broker.grpc_address)

    assert (status, part in sentence) == (1, True), sentence


def test_refused_alteration_changes_nothing(shell: Shell) -> None:
    shell.output("topic", "create", "kept", "--partitions", "2")

    done = shell.run("topic", "alter", "kept", "--partitions", "4", "--config", "segment.ms=x")

    (described,) = json.loads(shell.output("topic", "describe", "kept", "--json"))
    assert (done.returncode, len(described["partitions"])) == (1, 2)


def test_topic_that_is_there_is_an_error_unless_that_is_fine(shell: Shell) -> None:
    shell.output("topic", "create", "twice")

    assert shell.run("topic", "create", "twice").returncode == 1
    assert shell.run("topic", "create", "twice", "--if-not-exists").returncode == 0
    assert shell.run("topic", "delete", "never", "--if-exists").returncode == 0


def test_consume_does_not_create_the_topic_it_cannot_find(shell: Shell) -> None:
    status, sentence = refusal(
        "consume", "unheard-of", "--from-beginning", OTTLA_BOOTSTRAP=shell.broker.grpc_address
    )

    assert (status, "unheard-of" in sentence) == (1, True)
    assert b"unheard-of" not in shell.output("topic", "list")


# --- ottla up -------------------------------------------------------------------------


def http_get(broker: BrokerProcess, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", broker.http_port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_ready_line_says_what_listens_where(tmp_path: Path) -> None:
    with BrokerProcess(data_directory=tmp_path) as broker:
        ready = broker.ready_line
        assert ready["status"] == "ready"
        assert ready["grpc"] == broker.grpc_address
        assert ready["http"] == f"127.0.0.1:{broker.http_port}"
        assert ready["data"] == str(tmp_path / "broker-0")
        assert ready["pid"] == broker.pid
        assert http_get(broker, "/readyz") == (200, "ok\n")


def test_http_port_shows_figures_and_health(shell: Shell, ten: str) -> None:
    status, figures = http_get(shell.broker, "/metrics")

    assert status == 200
    assert f'ottla_produced_records_total{{topic="{ten}"}} 10.0' in figures
    assert re.search(rf'ottla_partition_high_watermark{{.*topic="{ten}"}} 10\.0', figures)
    assert http_get(shell.broker, "/healthz") == (200, "ok\n")


def test_port_0_is_any_free_port(tmp_path: Path) -> None:
    broker = BrokerProcess(data_directory=tmp_path, grpc_port=0, kafka_port=0, http_port=0)
    with broker:
        for door in ("grpc", "kafka", "http"):
            host, _, port = str(broker.ready_line[door]).rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10):
                pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_stops_well_and_keeps_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with BrokerProcess(data_directory=tmp_path / "data") as broker:
        shell = Shell(broker)
        shell.output("topic", "create", "kept", "--config", "retention.ms=-1")
        shell.output("produce", "kept", stdin=b"one\ntwo\n")

        stop = broker.stop if number is signal.SIGTERM else broker.interrupt
        assert stop() == 0
        broker.start()

        assert shell.output("consume", "kept", "--from-beginning") == b"one\ntwo\n"
        assert b"retention.ms\t-1\n" in shell.output("topic", "describe", "kept")
        assert broker.stop() == 0
        assert shell.run("log", "dump", str(tmp_path / "data/broker-0/kept-0")).returncode == 0


def test_ephemeral_broker_leaves_nothing_behind(tmp_path: Path) -> None:
    with BrokerProcess(environment={"TMPDIR": str(tmp_path)}) as broker:
        Shell(broker).output("topic", "create", "gone")
        assert list(tmp_path.iterdir())

        assert broker.stop() == 0

        assert list(tmp_path.iterdir()) == []


def test_text_says_how_to_go_on_and_how_to_stop(tmp_path: Path) -> None:
    port, kafka_port, http_port = free_port(), free_port(), free_port()
    ports = [
        *("--grpc-port", str(port), "--kafka-port", str(kafka_port)),
        *("--http-port", str(http_port)),
    ]
    process = subprocess.Popen(
        [*OTTLA, *ONE, "--data", tmp_path, *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith("Stop")):
        lines.append(process.stdout.readline().decode())
        assert lines[-1], "it ended before it was ready"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    text = "".join(lines)
    assert process.returncode == 0
    assert "broker 0 is ready" in text
    assert f"gRPC  127.0.0.1:{port}\n" in text
    assert f"Kafka 127.0.0.1:{kafka_port}\n" in text
    assert f"HTTP  http://127.0.0.1:{http_port}" in text
    assert f"data  {tmp_path / 'broker-0'}\n" in text
    assert f"Try   ottla topic create web --bootstrap 127.0.0.1:{port}\n" in text


def test_held_data_directory_is_refused(tmp_path: Path) -> None:
    with BrokerProcess(data_directory=tmp_path):
        status, sentence = refusal(*ONE, "--data", tmp_path, *ANY_PORTS)

    assert status == 1
    assert str(tmp_path / "broker-0") in sentence
    assert re.search(r"is held by process \d+; stop that broker, or give this one a data", sentence)


def test_taken_port_is_refused_with_a_free_one() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]

        status, sentence = refusal(*ONE, "--ephemeral", "--grpc-port", str(taken))

    assert status == 1
    assert f"port {taken}, for gRPC, is taken by another program" in sentence
    assert re.search(r"--grpc-port \d+ is free", sentence)


def test_taken_kafka_port_is_refused_with_a_free_one() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]

        status, sentence = refusal(
            *ONE, "--ephemeral", "--grpc-port", "0", "--kafka-port", str(taken), "--http-port", "0"
        )

    assert status == 1
    assert f"port {taken}, for Kafka, is taken by another program" in sentence
    assert re.search(r"--kafka-port \d+ is free", sentence)


def test_configuration_comes_from_file_environment_and_flags(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text("num.partitions = 2\nlog.retention.hours = 1\n")
    with BrokerProcess(
        data_directory=tmp_path / "data",
        arguments=["--config", str(tmp_path / "ottla.toml"), "--set", "num.partitions=4"],
        environment={"OTTLA_NUM_PARTITIONS": "3", "OTTLA_LOG_SEGMENT_BYTES": "2097152"},
    ) as broker:
        shell = Shell(broker)
        shell.output("topic", "create", "web")
        (described,) = json.loads(shell.output("topic", "describe", "web", "--json"))

    assert len(described["partitions"]) == 4
    assert described["configs"]["retention.ms"] == {
        "value": "3600000",
        "source": "STATIC_BROKER_CONFIG",
    }
    assert described["configs"]["segment.bytes"] == {
        "value": "2097152",
        "source": "STATIC_BROKER_CONFIG",
    }


def test_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "ottla.toml").write_text("num.partitionz = 2\n")

    with pytest.raises(BrokerDidNotStartError, match=r"did you mean num\.partitions\?"):
        BrokerProcess(arguments=["--config", str(tmp_path / "ottla.toml")]).start()


def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, sentence = refusal(*ONE, "--data", tmp_path / "file" / "below", *ANY_PORTS)

    assert status == 1
    assert str(tmp_path / "file") in sentence


def test_broker_that_is_not_there_is_said_to_be_unreachable() -> None:
    started = time.monotonic()

    status, sentence = refusal("topic", "list", "--bootstrap", f"127.0.0.1:{free_port()}")

    assert status == 1
    assert "no broker answered" in sentence
    assert "'ottla up' starts one" in sentence
    assert time.monotonic() - started < 15
