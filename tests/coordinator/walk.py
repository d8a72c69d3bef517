"""Clients of classic groups that do anything at any time, and a log that may lose its end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ottla.coordinator.effects import Effects, Token
from ottla.coordinator.requests import (
    ConsumerHeartbeat,
    ConsumerJoin,
    DeleteGroup,
    DeleteOffsets,
    Joined,
    Synced,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import MemberIdRequiredError, OttlaError
from ottla.model.ids import TopicPartition
from tests.coordinator.shell import Member, Shell, commit_of, subscription

GROUPS: Final = ("g", "h")
MIXED_GROUP: Final = "k"
"""Is of one kind or the other, by who comes first."""
TOPICS: Final = ("t", "u", "v")
PROTOCOLS: Final = ("range", "roundrobin", "sticky")


class LossyShell(Shell):
    """Answers that speak of the log wait until it is committed; until then it may be lost."""

    def __init__(self, settings: GroupSettings) -> None:
        self.committed_end = 0
        self._held: list[tuple[Token, object]] = []
        super().__init__(settings)

    def perform(self, effects: Effects) -> None:
        held = [answer for answer in effects.answers if answer.after_commit]
        effects.answers = [answer for answer in effects.answers if not answer.after_commit]
        super().perform(effects)
        self._held += [(answer.token, answer.value) for answer in held]

    def commit_log(self) -> None:
        self.committed_end = len(self.log)
        held, self._held = self._held, []
        for token, value in held:
            if token not in self.cancelled:
                assert token not in self.answers, "a request was answered twice"
                self.answers[token] = value

    def lose(self) -> None:
        """Fail to append: who waits is told, and the log is read anew."""
        held, self._held = self._held, []
        for token, _ in held:
            if token not in self.cancelled:
                self.answers[token] = OttlaError("not appended")
        self.perform(self.shard.resign(OttlaError("not appended")))
        del self.log[self.committed_end :]
        self.shard = self.replayed(self.log)
        self.perform(self.shard.loaded(self.now_ms))


@dataclass
class Client(Member):
    """A member that joins and syncs when it likes, and forgets what it was about."""

    joining: Token | None = None
    syncing: Token | None = None
    to_assign: list[str] = field(default_factory=list)
    assignment: bytes | None = None
    must_join: bool = True

    def learn(self) -> None:
        """Take what has been answered to heart, as clients do."""
        answers = self.shell.answers
        if self.joining is not None and self.joining in answers:
            answer, self.joining = answers[self.joining], None
            if isinstance(answer, Joined):
                self.member_id, self.generation_id = answer.member_id, answer.generation_id
                self.to_assign = [member.member_id for member in answer.members]
                self.assignment, self.must_join = None, False
            elif isinstance(answer, MemberIdRequiredError):
                self.member_id = answer.member_id
            else:
                self._learn_error(answer)
        if self.syncing is not None and self.syncing in answers:
            answer, self.syncing = answers[self.syncing], None
            if isinstance(answer, Synced):
                self.assignment = answer.assignment
            else:
                self._learn_error(answer)

    def _learn_error(self, answer: object) -> None:
        assert isinstance(answer, OttlaError), answer
        self.assignment, self.must_join = None, True
        if answer.code in (25, 81, 82):
            self.restart()

    def restart(self) -> None:
        self.member_id, self.generation_id, self.assignment = "", -1, None
        self.joining, self.syncing, self.must_join = None, None, True

    def join(self) -> None:
        self.joining = self.ask_to_join()

    def sync(self) -> None:
        self.syncing = self.ask_to_sync(
            {member_id: member_id.encode() for member_id in self.to_assign}
        )

    def beat(self) -> None:
        try:
            self.heartbeat()
        except OttlaError as error:
            self._learn_error(error)

    def go_on(self) -> None:
        """Do what a client in good order would do next."""
        self.learn()
        if self.joining is not None or self.syncing is not None:
            return
        if self.assignment is not None:
            self.beat()
        elif self.must_join:
            self.join()
        else:
            self.sync()
        self.learn()


class Walk:
    """A random walk through what clients, administrators and failures can do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.shell = LossyShell(
            GroupSettings(
                initial_rebalance_delay_ms=self.random.choice((0, 3_000)),
                group_size_max=self.random.choice((3, 100)),
                offsets_retention_ms=self.random.choice((120_000, 10**10)),
                offsets_retention_check_interval_ms=30_000,
            )
        )
        self.shell.change_topics(**{name: n + 1 for n, name in enumerate(TOPICS)})
        self.clients = [self._client(number) for number in range(9)]
        self.clients[-1].group_id = MIXED_GROUP
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (400, self._go_on),
            (12, self._join),
            (6, self._sync),
            (6, self._cancel),
            (3, self._leave),
            (4, self._restart),
            (3, self._change_mind),
            (30, self._commit),
            (3, self._commit_alone),
            (10, self._consumer),
            (1, self._delete),
            (40, self._let_time_pass),
            (80, self.shell.commit_log),
            (2, self.shell.reload),
            (2, self.shell.lose),
        ]

    def _client(self, number: int) -> Client:
        static = number % 3 == 0
        return Client(
            self.shell,
            group_id=GROUPS[number % len(GROUPS)],
            instance_id=f"s{number}" if static else None,
            client_id=f"c{number}",
            protocols=self._protocols(),
            session_timeout_ms=self.random.choice((6_000, 30_000)),
            rebalance_timeout_ms=self.random.choice((5_000, 20_000)),
            requires_known_member_id=bool(number % 2),
        )

    def _protocols(self) -> dict[str, bytes]:
        names = {"range", *self.random.sample(PROTOCOLS, self.random.randrange(3))}
        topics = self.random.sample(TOPICS, self.random.randrange(1, 3))
        return {name: subscription(*topics) for name in sorted(names)}

    def step(self) -> None:
        weights = [weight for weight, _ in self._actions]
        ((_, action),) = self.random.choices(self._actions, weights)
        action()
        self.shell.wait()

    def settle(self) -> None:
        """Let all clients do what is right, until they are in stable groups."""
        self.shell.commit_log()
        for client in self.clients:
            client.restart()
        for _ in range(60):
            for client in self.clients:
                client.go_on()
            self.shell.commit_log()
            self.shell.wait(2_000)

    # --- What may happen ---

    def _any(self) -> Client:
        return self.random.choice(self.clients)

    def _go_on(self) -> None:
        self._any().go_on()

    def _join(self) -> None:
        self._any().join()

    def _sync(self) -> None:
        self._any().sync()

    def _cancel(self) -> None:
        client = self._any()
        for token in (client.joining, client.syncing):
            if token is not None and self.shell.waits(token):
                self.shell.cancel(token)
        client.joining = client.syncing = None

    def _leave(self) -> None:
        client = self._any()
        self.shell.ask(client.leaving())
        client.restart()

    def _restart(self) -> None:
        self._any().restart()

    def _change_mind(self) -> None:
        self._any().protocols = self._protocols()

    def _commit(self) -> None:
        client = self._any()
        self.shell.ask(
            commit_of(
                client.group_id,
                (self.random.choice(TOPICS), self.random.randrange(3), self.random.randrange(100)),
                member_id=client.member_id,
                generation_or_member_epoch=client.generation_id,
                group_instance_id=client.instance_id,
                metadata=self.random.choice(("", "x")),
            )
        )

    def _consumer(self) -> None:
        joins = self.random.random() < 0.5
        self.shell.ask(
            ConsumerHeartbeat(
                group_id=MIXED_GROUP,
                member_id=f"m{self.random.randrange(2)}",
                member_epoch=ConsumerJoin.JOIN if joins else ConsumerJoin.LEAVE,
                rebalance_timeout_ms=5_000,
                subscribed_topic_names=[self.random.choice(TOPICS)],
                owned={},
                client_id="consumer",
                client_host="/127.0.0.1",
            )
        )

    def _commit_alone(self) -> None:
        group_id = self.random.choice((*GROUPS, MIXED_GROUP, "alone"))
        self.shell.ask(commit_of(group_id, (self.random.choice(TOPICS), 0, 7)))

    def _delete(self) -> None:
        group_id = self.random.choice((*GROUPS, MIXED_GROUP, "alone"))
        self.shell.ask(DeleteGroup(group_id=group_id))
        topic_partition = TopicPartition(self.random.choice(TOPICS), 0)
        self.shell.ask(DeleteOffsets(group_id=group_id, partitions=[topic_partition]))
        ids = {name: self.random.randrange(1, 3) * 10 + n for n, name in enumerate(TOPICS)}
        self.shell.change_topics(**ids)

    def _let_time_pass(self) -> None:
        self.shell.wait(self.random.choice((100, 1_000, 3_000, 12_000)))
