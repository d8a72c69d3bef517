"""The blocking clients keep the promises of the asyncio ones, without an event loop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import ottla.client
from ottla.client.admin_values import NewTopic
from ottla.client.blocking import Admin, Consumer, DeliveryHandle, Producer
from ottla.client.errors import ClientClosedError, NoBrokersAvailableError
from ottla.model.errors import InvalidTimestampError, TopicAlreadyExistsError
from tests.client.fake_broker import Fault, Refusal
from tests.client.served import ServedCluster
from tests.client.test_consumer import WEB_0


@pytest.fixture
def served() -> Iterator[ServedCluster]:
    with ServedCluster() as cluster:
        yield cluster


def values(served: ServedCluster) -> list[bytes | None]:
    return served.do(lambda cluster: cluster.topics["web"][0].values())


def consumer_of(served: ServedCluster, **options: Any) -> Consumer:
    return Consumer(
        "web", bootstrap_servers=served.bootstrap, auto_offset_reset="earliest", **options
    )


def fill(served: ServedCluster, count: int, start: int = 0) -> None:
    with Producer(served.bootstrap) as producer:
        for number in range(start, start + count):
            producer.send("web", b"%d" % number)


# --- Producer -------------------------------------------------------------------------------


def test_records_arrive_in_order_when_the_producer_is_stopped(served: ServedCluster) -> None:
    fill(served, 5_000)

    assert values(served) == [b"%d" % number for number in range(5_000)]


def test_handle_tells_where_the_record_is(served: ServedCluster) -> None:
    with Producer(served.bootstrap) as producer:
        producer.send("web", b"x")
        handle = producer.send("web", b"y", timestamp_ms=9)

        assert handle.get(10) == ("web", 0, 1, 9)
        assert (handle.done(), handle.exception()) == (True, None)


def test_handle_raises_what_the_delivery_failed_with(served: ServedCluster) -> None:
    served.do(lambda cluster: setattr(cluster, "plan", iter([Refusal(32)])))
    with Producer(served.bootstrap) as producer:
        handle = producer.send("web", b"x")

        assert isinstance(handle.exception(), InvalidTimestampError)
        with pytest.raises(InvalidTimestampError):
            handle.result()


def test_handle_waits_no_longer_than_told(served: ServedCluster) -> None:
    with Producer(served.bootstrap, linger_ms=60_000, delivery_timeout_ms=100_000) as producer:
        handle = producer.send("web", b"x")
        with pytest.raises(TimeoutError):
            handle.result(0.01)

        producer.flush()
        assert handle.result().offset == 0


def test_send_and_wait_does_not_linger(served: ServedCluster) -> None:
    with Producer(served.bootstrap, linger_ms=60_000, delivery_timeout_ms=100_000) as producer:
        assert producer.send_and_wait("web", b"x").offset == 0


def test_callback_is_called_once_the_record_is_settled(served: ServedCluster) -> None:
    called = threading.Event()
    handles: list[DeliveryHandle] = []
    with Producer(served.bootstrap) as producer:
        handle = producer.send("web", b"x")

        def settled(done: DeliveryHandle) -> None:
            handles.append(done)
            called.set()

        handle.add_done_callback(settled)
        assert called.wait(10)

    assert handles == [handle]


def test_send_waits_for_memory(served: ServedCluster) -> None:
    with Producer(served.bootstrap, batch_size=1_000, buffer_memory=3_000) as producer:
        for _ in range(500):
            producer.send("web", bytes(100))

    assert len(values(served)) == 500


def test_threads_share_a_producer(served: ServedCluster) -> None:
    with Producer(served.bootstrap, batch_size=2_000) as producer:

        def send(thread: int) -> None:
            for number in range(500):
                producer.send("web", b"%d %d" % (thread, number))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = [tuple(map(int, value.split())) for value in values(served) if value is not None]
    for thread_number in range(4):
        own = [number for thread, number in found if thread == thread_number]
        assert own == list(range(500))


def test_lost_acknowledgement_and_restart_neither_lose_nor_repeat(served: ServedCluster) -> None:
    served.do(lambda cluster: setattr(cluster, "plan", iter([None, Fault.LOSE_ACK])))
    with Producer(served.bootstrap, batch_size=500, retry_backoff_ms=2) as producer:
        for number in range(500):
            producer.send("web", b"%d" % number)
        served.restart()
        for number in range(500, 1_000):
            producer.send("web", b"%d" % number)

    assert values(served) == [b"%d" % number for number in range(1_000)]


def test_client_starts_when_it_is_first_used(served: ServedCluster) -> None:
    producer = Producer(served.bootstrap)

    assert producer.send_and_wait("web", b"x").offset == 0
    assert producer.partitions_for("web") == {0}
    assert producer.statistics().records_acknowledged == 1
    producer.close()


def test_stopped_client_says_so(served: ServedCluster) -> None:
    producer = Producer(served.bootstrap)
    producer.start()
    producer.stop()
    producer.stop()

    with pytest.raises(ClientClosedError, match="stopped"):
        producer.send("web", b"x")


def test_missing_broker_is_an_error_and_leaves_nothing_running() -> None:
    with pytest.raises(NoBrokersAvailableError):
        Producer("127.0.0.1:1", connect_timeout_ms=30, retry_backoff_ms=5).start()

    assert "ottla-client" not in {thread.name for thread in threading.enumerate()}


def test_producer_that_nobody_stops_delivers_when_the_interpreter_exits(
    served: ServedCluster,
) -> None:
    script = (
        "import sys; from ottla.client.blocking import Producer;"
        "p = Producer(sys.argv[1], linger_ms=30_000, delivery_timeout_ms=90_000);"
        "[p.send('web', b'%d' % n) for n in range(50)]"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, served.bootstrap],
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert values(served) == [b"%d" % number for number in range(50)]


# --- Consumer -------------------------------------------------------------------------------


def test_iteration_yields_record_after_record(served: ServedCluster) -> None:
    fill(served, 1_200)
    seen = []
    with consumer_of(served) as consumer:
        for record in consumer:
            seen.append(record.value)
            if len(seen) == 1_200:
                break

    assert seen == [b"%d" % number for number in range(1_200)]


def test_iteration_over_pieces_yields_everything(served: ServedCluster) -> None:
    fill(served, 1_200)
    seen: list[int] = []
    with consumer_of(served) as consumer:
        for records in consumer.batches():
            seen += [record.offset for record in records]
            if len(seen) == 1_200:
                break

    assert seen == list(range(1_200))


def test_getmany_returns_no_more_than_asked_for_and_nothing_in_time(served: ServedCluster) -> None:
    fill(served, 10)
    with consumer_of(served) as consumer:
        first = consumer.getmany(timeout_ms=5_000, max_records=4)
        second = consumer.getmany(timeout_ms=5_000, max_records=100)

        assert [len(first[WEB_0]), len(second[WEB_0])] == [4, 6]
        assert consumer.getmany(timeout_ms=5) == {}


def test_position_is_the_next_record_to_be_handed_out(served: ServedCluster) -> None:
    fill(served, 300)
    with consumer_of(served) as consumer:
        for _ in range(7):
            consumer.getone()

        assert consumer.position(WEB_0) == 7


def test_seek_goes_to_exactly_that_record(served: ServedCluster) -> None:
    fill(served, 300)
    with consumer_of(served) as consumer:
        consumer.getone()
        consumer.seek(WEB_0, 200)
        assert consumer.getone().offset == 200
        consumer.seek_to_beginning()
        assert consumer.getone().offset == 0
        consumer.seek_to_end(WEB_0)
        assert consumer.position(WEB_0) == 300


def test_pause_keeps_what_was_handed_over_for_later(served: ServedCluster) -> None:
    fill(served, 300)
    with consumer_of(served) as consumer:
        consumer.getone()
        consumer.pause(WEB_0)
        assert (consumer.paused(), consumer.getmany(timeout_ms=5)) == ({WEB_0}, {})

        consumer.resume(WEB_0)
        assert consumer.getone().offset == 1


def test_offsets_are_told(served: ServedCluster) -> None:
    fill(served, 30)
    with Consumer(bootstrap_servers=served.bootstrap) as consumer:
        consumer.assign([WEB_0])

        assert consumer.assignment() == {WEB_0}
        assert consumer.beginning_offsets([WEB_0]) == {WEB_0: 0}
        assert consumer.end_offsets([WEB_0]) == {WEB_0: 30}
        assert consumer.offsets_for_times({WEB_0: 0})[WEB_0] is not None
        assert consumer.partitions_for_topic("web") == {0}


def test_ctrl_c_interrupts_the_wait_and_loses_no_record(served: ServedCluster) -> None:
    fill(served, 3)
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []
    try:
        with consumer_of(served) as consumer:
            seen += [consumer.getone().offset for _ in range(3)]
            threading.Timer(0.02, signal.pthread_kill, (main, signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                consumer.getone()
            fill(served, 3, start=3)
            seen += [consumer.getone().offset for _ in range(3)]
    finally:
        signal.signal(signal.SIGINT, before)

    assert seen == list(range(6))


# --- Admin ----------------------------------------------------------------------------------


def test_admin_answers_and_raises_like_the_asyncio_one(served: ServedCluster) -> None:
    with Admin(served.bootstrap) as admin:
        admin.create_topics([NewTopic("new", partitions=2)])
        assert admin.list_topics() == ["new", "web"]
        assert admin.describe_cluster().cluster_id == "fake"
        with pytest.raises(TopicAlreadyExistsError):
            admin.create_topics([NewTopic("new")])
        admin.create_partitions({"new": 3})
        assert len(admin.describe_topics(["new"])[0].partitions) == 3
        admin.delete_topics(["new"])
        assert admin.list_topics() == ["web"]


def test_clients_share_one_thread_which_ends_with_the_last(served: ServedCluster) -> None:
    with Admin(served.bootstrap) as admin, Producer(served.bootstrap) as producer:
        admin.list_topics()
        producer.send_and_wait("web", b"x")
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("ottla-client") == 1

    assert "ottla-client" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("kind", [Producer, Consumer, Admin])
def test_every_public_method_of_the_asyncio_client_is_there(kind: type[Any]) -> None:
    asyncio_kind = getattr(ottla.client, kind.__name__)
    missing = {
        name for name in vars(asyncio_kind) if not name.startswith("_") and not hasattr(kind, name)
    }

    # What only makes sense on an event loop.
    assert missing <= {"send_nowait", "wait_for_space"}
