"""One real broker of a test, with switches for faults; see :mod:`ottla.testing.sandbox`."""

from __future__ import annotations

from ottla.config.addresses import Address
from ottla.testing.broker_process import BrokerProcess
from ottla.testing.cluster_questions import ClusterQuestions
from ottla.testing.faults import Fate, Order, Refused
from ottla.testing.kafka_names import api_key_of, api_name, error_code_of
from ottla.testing.kafka_proxy import KafkaProxy
from ottla.testing.loop_thread import LoopThread


class OttlaBroker:
    """One broker of an :class:`~ottla.testing.sandbox.OttlaCluster`, which makes it.

    Every method may be called from any thread. Those that set a fault return when it is in force,
    within a millisecond; :meth:`start`, :meth:`stop`, :meth:`heal` and :meth:`topic` wait for the
    broker, so that a coroutine calls them by ``asyncio.to_thread``.
    """

    def __init__(
        self,
        broker_id: int,
        process: BrokerProcess,
        proxy: KafkaProxy,
        loop: LoopThread,
        questions: ClusterQuestions,
    ) -> None:
        self.id = broker_id
        """``node.id``, from 0 on."""
        self._process = process
        self._proxy = proxy
        self._loop = loop
        self._questions = questions
        self._is_paused = False

    @property
    def kafka(self) -> str:
        """``bootstrap.servers`` for clients of Kafka."""
        return f"127.0.0.1:{self._proxy.port}"

    @property
    def grpc(self) -> str:
        """``bootstrap_servers`` for :mod:`ottla.client`; faults of the way leave it alone."""
        return self._process.grpc_address

    @property
    def http(self) -> str:
        """The base of ``/metrics``, ``/healthz`` and ``/readyz``."""
        return f"http://{self._process.ready_line['http']}"

    @property
    def pid(self) -> int:
        """The id of its process; it has none while it is stopped or killed."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process lives and is not paused."""
        return not (self._process.has_ended or self._is_paused)

    def log(self) -> str:
        """Return what it has logged so far, over all starts."""
        return self._process.stderr()

    def topic(self, name: str | None = None, *, partitions: int = 1, **configs: str) -> str:
        """Create a topic and return its name, one of its own if none is given.

        ``configs`` are settings of the topic with ``_`` for ``.``: ``retention_ms="1000"``. When
        this returns, every broker that runs knows who leads the partitions.
        """
        return self._questions.new_topic(partitions, _dotted(configs), name)

    # --- The process ---

    def kill(self) -> None:
        """``kill -9``. No error if it does not run."""
        self._is_paused = False
        self._process.kill()
        self._loop.run(self._proxy.refuse_connections)

    def stop(self) -> None:
        """Stop in good order, as for an upgrade; others lead what it led. No error if it did."""
        self.resume()
        if self._process.is_running:
            self._process.stop()
        self._loop.run(self._proxy.refuse_connections)

    def start(self) -> None:
        """Start again, with what it had; return when it is ready. No error if it runs."""
        if self._process.has_ended:
            self._process.kill()  # one that ended by itself is not reaped yet
            self._process.start()
        self._loop.run(self._proxy.listen)

    def pause(self) -> None:
        """Stop the process in its tracks: connections stay open, and nothing is answered."""
        if not self._process.has_ended:
            self._process.pause()
            self._is_paused = True

    def resume(self) -> None:
        """Let a paused process go on. No error if it was not paused."""
        if self._is_paused:
            self._is_paused = False
            self._process.resume()

    # --- The way to its Kafka port ---

    def refuse(self, api: str | int, error: str | int, *, times: int | None = None) -> None:
        """Answer requests of one kind with an error, without asking the broker.

        Args:
            api: Kafka's name of the request (``"Produce"``, ``"JoinGroup"``) or its number.
            error: Kafka's name of the error (``"NOT_LEADER_OR_FOLLOWER"``) or its number.
            times: so often; ``None``: until :meth:`heal`. 0 takes back what was said before.

        One kind has one error: the last word counts. A Produce that wants no acknowledgement
        (``acks=0``) costs its connection, as at a real broker. Raises :exc:`ValueError` for a name
        or a number that is none.
        """
        self._order(api, Order(Fate.REFUSE, error_code_of(error), times))

    def lose_responses(self, api: str | int, *, times: int | None = 1) -> None:
        """Let the broker carry out requests of one kind, and close the connection instead.

        The client cannot know what became of its request: the case in which records are doubled.
        ``api`` and ``times`` are as with :meth:`refuse`; for one kind, the last word counts.
        """
        self._order(api, Order(Fate.LOSE, times=times))

    def delay(self, milliseconds: float) -> None:
        """Have every request be so long on its way to the broker; 0: no more."""
        if milliseconds < 0:
            raise ValueError(f"a request cannot arrive {-milliseconds} ms before it is sent")
        self._proxy.faults.delay_s = milliseconds / 1000
        self._loop.call(self._proxy.faults_changed)

    def cut(self, *, requests: bool = True, responses: bool = True) -> None:
        """Let requests, responses or both not pass, while connections seem to live.

        Nothing is lost: what was sent passes when the cut has healed, as in a network. With
        ``requests=False`` the broker does what it is asked, and nobody hears of it.
        """
        self._proxy.faults.cuts_requests |= requests
        self._proxy.faults.cuts_responses |= responses
        self._loop.call(self._proxy.faults_changed)

    def drop_connections(self) -> None:
        """Close every connection; clients may come again."""
        self._loop.call(self._proxy.drop)

    def heal(self) -> None:
        """End all faults: start it if it does not run, resume it, pass everything on."""
        self.resume()
        self._loop.call(self._proxy.faults.clear)
        self._loop.call(self._proxy.faults_changed)
        self.start()

    # --- What clients did ---

    @property
    def refused(self) -> list[Refused]:
        """What was refused so far, the oldest first."""
        return list(self._proxy.faults.refused)

    def requests(self, api: str | int) -> int:
        """Return how many requests of a kind clients have sent to it so far."""
        return self._proxy.faults.requests[api_key_of(api)]

    def forget(self) -> None:
        """Begin :attr:`refused` and :meth:`requests` anew."""
        self._loop.call(self._proxy.faults.forget)

    def __repr__(self) -> str:
        if self._process.has_ended:
            state = "not running"
        elif self._is_paused:
            state = "paused"
        else:
            state = f"process {self._process.pid}"
        return f"<OttlaBroker {self.id}: kafka {self.kafka}, grpc {self.grpc}, {state}>"

    def _order(self, api: str | int, order: Order) -> None:
        api_key = api_key_of(api)
        if order.times is not None and order.times < 0:
            raise ValueError(f"{api_name(api_key)} cannot fail {order.times} times")
        self._loop.call(lambda: self._proxy.faults.order(api_key, order))


def kafka_address(process: BrokerProcess) -> Address:
    """Return where the broker itself listens."""
    host, _, port = str(process.ready_line["kafka"]).rpartition(":")
    return Address(host, int(port))


def _dotted(configs: dict[str, str]) -> dict[str, str]:
    return {key.replace("_", "."): value for key, value in configs.items()}
