"""What goes wrong, when, and to whom.

Every so often the nemesis draws a fault, does it, and a while later undoes it. It never takes more
than the cluster promises to survive: what is *wiped* is not the only copy, and never two voters at
once; power goes off for everybody only in a way that brings everybody back. In the end it undoes
all.

==================  ======================================================================
kill                one broker; it comes back after milliseconds or seconds
power loss          all brokers at once; they come back one by one
crash               one broker, in the middle of an operation of its disk
pause               one broker hangs, for less or more than its session
partition           one broker is cut off from the others, both ways
one-way partition   from one broker nothing gets through to another, or to nobody
lost controller     one broker and the controller cannot hear each other
lost answers        leaders that propose an in-sync set do not hear what became of it
swizzle             brokers are cut off one after another and joined in another order
slow network        all messages of one broker take long
slow disk           all syncs of one broker take long
clock jump          the wall clock of one broker is set
full disk           writes of one broker fail, until it is started again with more room
stop                one broker stops in good order and is started again
wipe                one broker comes back with an empty disk; a voter must be readmitted then
preferred leaders   somebody asks for the preferred leaders
reassignment        somebody moves a partition to other brokers, or cancels that
deleted records     somebody deletes committed records from the beginning of a partition
contested election  two voters need the third, which dies when it has voted
==================  ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ottla.controller.raft.messages import Message, VoteResponse
from ottla.controller.requests import ElectLeaders, ReadmitVoter, Reassign, Reassignment, Request
from ottla.model.ids import BrokerId, Offset
from ottla.simulation.invariants import Invariants
from ottla.simulation.network import Network
from ottla.simulation.node import BrokerMachine, BrokerProcess
from ottla.simulation.world import Action, World

DOWN_SHORT_MS: Final = (1, 300)
DOWN_LONG_MS: Final = (500, 4_000)
WALL_JUMP_MAX_MS: Final = 3_600_000

WEIGHTS: Final[Mapping[str, int]] = {
    "kill": 6,
    "power loss": 2,
    "crash": 3,
    "pause": 3,
    "partition": 4,
    "one-way partition": 3,
    "lost controller": 2,
    "lost answers": 2,
    "swizzle": 1,
    "slow network": 2,
    "slow disk": 3,
    "clock jump": 1,
    "full disk": 1,
    "stop": 2,
    "wipe": 3,
    "preferred leaders": 2,
    "reassignment": 2,
    "deleted records": 2,
    "contested election": 1,
}


_UNCLEAN_ENDS: Final = frozenset(
    {"kill", "power loss", "crash", "full disk", "wipe", "contested election"}
)


class Nemesis:
    """The faults of one world."""

    def __init__(
        self,
        world: World,
        network: Network,
        machines: Sequence[BrokerMachine],
        invariants: Invariants,
        *,
        interval_ms: int,
        weights: Mapping[str, int] = WEIGHTS,
    ) -> None:
        """Draw a fault about every ``interval_ms``."""
        self._world = world
        self._network = network
        self._machines = machines
        self._invariants = invariants
        self._interval_ms = interval_ms
        self._active = False
        self._contestants: set[BrokerId] = set()
        self._hanging: list[BrokerProcess] = []
        """Who asked for votes, and was paused."""
        self._faults: dict[str, Action] = {
            "kill": self._kill,
            "power loss": self._power_loss,
            "crash": self._crash,
            "pause": self._pause,
            "partition": self._partition,
            "one-way partition": self._one_way,
            "lost controller": self._lost_controller,
            "lost answers": self._lost_answers,
            "swizzle": self._swizzle,
            "slow network": self._slow_network,
            "slow disk": self._slow_disk,
            "clock jump": self._clock_jump,
            "full disk": self._full_disk,
            "stop": self._stop,
            "wipe": self._wipe,
            "preferred leaders": self._preferred_leaders,
            "reassignment": self._reassignment,
            "deleted records": self._deleted_records,
            "contested election": self._contested_election,
        }
        self._names = list(weights)
        self._weights = list(weights.values())

    def start(self) -> None:
        """Begin."""
        self._active = True
        self._next()
        self._readmit_voters()

    def end(self) -> None:
        """Undo everything and do no more: from here on the cluster must recover."""
        self._active = False
        self._note("everything heals")
        self._network.heal()
        for machine in self._machines:
            machine.disk_slow_ms = 0
            machine.disk.crash_at_operation = None
            machine.eavesdrop = machine.notice_proposal = None
            self._mend(machine)
            if machine.process is not None and machine.process.paused:
                machine.process.resume()
        self._start_all()

    def _start_all(self) -> None:
        """Start what is down, and what is still on its way down when that has ended."""
        for machine in self._machines:
            if machine.process is None:
                machine.start()
        self._world.after(DOWN_SHORT_MS[1], "start all", self._start_all)

    # --- Drawing ---

    def _next(self) -> None:
        delay_ms = self._world.between(1, 2 * self._interval_ms)
        self._world.after(delay_ms, "nemesis", self._strike)

    def _strike(self) -> None:
        if self._active:
            (name,) = self._world.random.choices(self._names, self._weights)
            if name not in _UNCLEAN_ENDS or not self._one_more_is_too_many(name):
                self._faults[name]()
            self._next()

    def _one_more_is_too_many(self, name: str) -> bool:
        """Whether an unclean end of another broker would go beyond what is promised.

        With write caching, every unclean end counts as the loss of what was not synced.
        """
        if not self._machines[0].keeps_page_cache:
            return False
        pending = any(ledger.lossy for ledger in self._invariants.ledgers.values())
        return pending or name not in ("kill", "power loss")

    def _later(self, bounds: tuple[int, int], action: Action) -> None:
        def act() -> None:
            if self._active:
                action()

        self._world.after(self._world.between(*bounds), "nemesis", act)

    def _running(self) -> list[BrokerMachine]:
        return [machine for machine in self._machines if machine.process is not None]

    def _one(self, among: Sequence[BrokerMachine]) -> BrokerMachine | None:
        return self._world.random.choice(among) if among else None

    def _note(self, what: str) -> None:
        self._world.note("nemesis", what)

    def _count(self, kind: str, what: str) -> None:
        self._world.counts[kind] += 1
        self._note(what)

    # --- Dying ---

    def _kill(self) -> None:
        machine = self._one(self._running())
        if machine is not None:
            power = self._world.chance(1 / 4)
            self._count("kills", f"kills broker {machine.id}{', with its machine' * power}")
            if machine.keeps_page_cache and self._may_lose_its_records(machine):
                self._note("what it had not synced is lost")
                machine.keeps_page_cache = False
                machine.kill(power=power)
                machine.keeps_page_cache = True
                self._invariants.wiped(machine.id)
            else:
                machine.kill(power=power)
            self._start_later(machine)

    def _power_loss(self) -> None:
        self._count("kills", "cuts the power of all")
        for machine in self._running():
            machine.kill(power=True)
        for machine in self._machines:
            self._start_later(machine)

    def _crash(self) -> None:
        machine = self._one(self._running())
        if machine is not None:
            self._count("kills", f"lets broker {machine.id} crash in a write")
            disk = machine.disk
            disk.crash_at_operation = disk.operations + self._world.between(1, 30)
            self._start_later(machine)

    def _start_later(self, machine: BrokerMachine) -> None:
        def start() -> None:
            if machine.process is None:
                machine.start()
            elif machine.disk.crash_at_operation is not None:
                self._start_later(machine)

        self._later(self._world.random.choice((DOWN_SHORT_MS, DOWN_LONG_MS)), start)

    def _contested_election(self) -> None:
        """Make a second vote in one term likely, if votes are forgotten.

        Two voters cannot hear each other and both need the third. Whoever asks hangs for a moment;
        whoever has voted dies, and is back before the other one gets to ask.
        """
        voters = [machine for machine in self._machines if machine.id in machine.settings.voters]
        one, other = self._world.random.sample(voters, 2)
        self._count("partitions", f"lets brokers {one.id} and {other.id} contest an election")
        self._network.heal()
        self._network.block(one.id, other.id)
        self._network.block(other.id, one.id)
        self._contestants = {one.id, other.id}
        for machine in voters:
            machine.eavesdrop = self._overheard
            if machine.process is not None and machine.process.shell.is_active:
                self._killing(machine)()
        self._heal_later((500, 2_500))
        self._later((500, 2_500), self._listen_no_more)

    def _listen_no_more(self) -> None:
        for machine in self._machines:
            machine.eavesdrop = None

    def _overheard(self, voter: BrokerMachine, candidate: BrokerId, message: Message) -> None:
        if voter.id in self._contestants or not isinstance(message, VoteResponse):
            return
        process = self._machines[candidate].process
        if not message.granted or process is None:
            return
        hanging = [other for other in self._hanging if other.paused and other is not process]
        if message.pre_vote and not hanging and not process.paused:
            self._count("pauses", f"pauses broker {candidate}, which would win a vote")
            self._hanging.append(process)
            process.pause()
            self._world.after(self._world.between(20, 300), "nemesis", self._resuming(process))
        elif not message.pre_vote and hanging:
            self._world.after(self._world.between(0, 2), "nemesis", self._killing(voter))

    def _killing(self, machine: BrokerMachine) -> Action:
        process = machine.process

        def kill() -> None:
            if self._active and machine.process is process and process is not None:
                self._count("kills", f"kills broker {machine.id} for a moment")
                machine.kill(power=False)
                self._later((1, 15), lambda: self._start(machine))

        return kill

    def _start(self, machine: BrokerMachine) -> None:
        if machine.process is None:
            machine.start()
        # Whoever hangs goes on before the winner is heard of.
        hanging, self._hanging = self._hanging, []
        for process in hanging:
            self._world.after(self._world.between(0, 3), "nemesis", self._resuming(process))

    def _resuming(self, process: BrokerProcess) -> Action:
        def resume() -> None:
            if process.alive and process.paused:
                process.resume()

        return resume

    def _stop(self) -> None:
        machine = self._one(self._running())
        if machine is not None:
            self._count("stops", f"stops broker {machine.id}")
            machine.stop()

            def start() -> None:
                if machine.process is None:
                    machine.start()
                else:
                    self._later(DOWN_LONG_MS, start)

            self._later(DOWN_LONG_MS, start)

    def _wipe(self) -> None:
        machine = self._one([m for m in self._machines if self._may_lose_its_disk(m)])
        if machine is not None:
            self._count("wipes", f"wipes broker {machine.id}")
            if machine.process is not None:
                machine.kill(power=False)
            machine.wipe()
            self._invariants.wiped(machine.id)
            self._start_later(machine)

    def _may_lose_its_disk(self, machine: BrokerMachine) -> bool:
        """Whether the cluster promises to survive that (KIP-966).

        At least ``min.insync.replicas`` replicas are in sync or eligible, so all but one of them
        may lose what they have. Of those that have lost it the controller may not know yet.
        """
        return self._may_lose_its_votes(machine) and self._may_lose_its_records(machine)

    def _may_lose_its_records(self, machine: BrokerMachine) -> bool:
        for ledger in self._invariants.ledgers.values():
            image = ledger.image
            assert image is not None, ledger
            holders = {*image.in_sync_replicas, *image.eligible_leader_replicas} - ledger.lossy
            if machine.id in image.replicas and ledger.lossy:
                return False
            if machine.id in holders and (len(holders) == 1 or ledger.min_insync_needed == 1):
                return False
        return True

    def _may_lose_its_votes(self, machine: BrokerMachine) -> bool:
        """Whether the other voters are up, remember theirs, and will know it for another."""
        voters = machine.settings.voters
        known = self._invariants.image.voters
        if machine.id not in voters:
            return True
        for other in self._machines:
            if other.id not in voters or other is machine:
                continue
            process = other.process
            if process is None or known.get(other.id) != other.directory_id:
                return False
            if process.metadata.image.voters.get(machine.id) != machine.directory_id:
                return False
        return known.get(machine.id) == machine.directory_id

    def _readmit_voters(self) -> None:
        """Readmit voters with new directories: what an operator does, all the time."""
        for machine in self._machines:
            known = self._invariants.image.voters.get(machine.id)
            if machine.process is not None and known not in (None, machine.directory_id):
                self._note(f"readmits voter {machine.id}")
                self._ask(ReadmitVoter(broker_id=machine.id, directory_id=machine.directory_id))
        self._world.after(self._world.between(300, 1_500), "readmit", self._readmit_voters)

    # --- Hanging, and being slow ---

    def _pause(self) -> None:
        machine = self._one([m for m in self._running() if m.process and not m.process.paused])
        if machine is not None and machine.process is not None:
            process = machine.process
            self._count("pauses", f"pauses broker {machine.id}")
            process.pause()

            self._later((50, 5_000), self._resuming(process))

    def _slow_disk(self) -> None:
        machine = self._one(self._machines)
        assert machine is not None
        self._count("slow disks", f"slows the disk of broker {machine.id}")
        machine.disk_slow_ms = self._world.between(20, 800)

        def mend() -> None:
            machine.disk_slow_ms = 0

        self._later((200, 5_000), mend)

    def _slow_network(self) -> None:
        machine = self._one(self._machines)
        assert machine is not None
        self._count("slow networks", f"slows the messages of broker {machine.id}")
        slowest_ms = 3_000 if self._world.chance(1 / 5) else 400
        self._network.slow_ms[machine.id] = self._world.between(10, slowest_ms)
        self._later((200, 5_000), lambda: self._hasten(machine.id))

    def _hasten(self, broker: BrokerId) -> None:
        self._network.slow_ms.pop(broker, None)

    def _clock_jump(self) -> None:
        machine = self._one(self._machines)
        assert machine is not None
        jump_ms = self._world.between(-WALL_JUMP_MAX_MS, WALL_JUMP_MAX_MS)
        self._count("clock jumps", f"sets the clock of broker {machine.id} by {jump_ms} ms")
        machine.wall_offset_ms += jump_ms
        if machine.process is not None:
            machine.process.clock.wall_offset_ms = machine.wall_offset_ms

    def _full_disk(self) -> None:
        machine = self._one(self._running())
        if machine is None:
            return
        self._count("full disks", f"fills the disk of broker {machine.id}")
        machine.disk_was_hurt = True
        machine.disk.capacity_bytes = 1

        def mend() -> None:
            self._mend(machine)
            if machine.process is None:
                machine.start()

        self._later((300, 3_000), mend)

    def _mend(self, machine: BrokerMachine) -> None:
        """Give it room; a broker that has not met the full disk by now never will."""
        machine.disk.capacity_bytes = 1 << 40
        if machine.process is None:
            machine.disk_was_hurt = False

    # --- The network ---

    def _numbers(self) -> list[int]:
        return [machine.id for machine in self._machines]

    def _cut_off(self, broker: int, *, inward: bool = True, outward: bool = True) -> None:
        for other in self._numbers():
            if other != broker:
                if outward:
                    self._network.block(broker, other)
                if inward:
                    self._network.block(other, broker)

    def _partition(self) -> None:
        broker = self._world.random.choice(self._numbers())
        self._count("partitions", f"cuts off broker {broker}")
        self._cut_off(broker)
        self._heal_later((200, 6_000))

    def _one_way(self) -> None:
        source, target = self._world.random.sample(self._numbers(), 2)
        match self._world.between(0, 2):
            case 0:
                self._count("partitions", f"lets nothing through from {source} to {target}")
                self._network.block(source, target)
            case 1:
                self._count("partitions", f"lets nothing out of {source}")
                self._cut_off(source, inward=False)
            case _:
                self._count("partitions", f"lets nothing into {source}")
                self._cut_off(source, outward=False)
        self._heal_later((200, 6_000))

    def _lost_controller(self) -> None:
        """Let a broker be fenced that all but the controller can reach."""
        controller = self._invariants.image.controller_id
        others = [number for number in self._numbers() if number != controller]
        broker = self._world.random.choice(others)
        self._count("partitions", f"cuts off broker {broker} from the controller {controller}")
        self._network.block(broker, controller)
        self._network.block(controller, broker)
        self._heal_later((500, 4_000))

    def _lost_answers(self) -> None:
        self._note("lies in wait for proposals")
        for machine in self._machines:
            machine.notice_proposal = self._proposed

        def ignore() -> None:
            for machine in self._machines:
                machine.notice_proposal = None

        self._later((2_000, 6_000), ignore)

    def _proposed(self, machine: BrokerMachine) -> None:
        controller = self._invariants.image.controller_id

        def block() -> None:
            if self._active:
                self._count("partitions", f"keeps {controller}'s answers from broker {machine.id}")
                self._network.block(controller, machine.id)
                self._heal_later((100, 3_000))

        if controller != machine.id and self._world.chance(2 / 3):
            self._world.after(self._world.between(0, 3), "nemesis", block)

    def _swizzle(self) -> None:
        self._count("partitions", "cuts off one broker after another")
        brokers = self._numbers()
        chosen = self._world.random.sample(brokers, self._world.between(1, len(brokers)))
        at_ms = 0
        for broker in chosen:
            at_ms += self._world.between(1, 400)
            self._later((at_ms, at_ms), self._cutting(broker))
        self._heal_later((at_ms + 200, at_ms + 3_000))

    def _cutting(self, broker: int) -> Callable[[], None]:
        return lambda: self._cut_off(broker)

    def _heal_later(self, bounds: tuple[int, int]) -> None:
        def heal() -> None:
            self._note("heals the network")
            slow_ms = dict(self._network.slow_ms)
            self._network.heal()
            self._network.slow_ms.update(slow_ms)

        self._later(bounds, heal)

    # --- People ---

    def _preferred_leaders(self) -> None:
        self._count("elections asked for", "asks for the preferred leaders")
        self._ask(ElectLeaders(partitions=None))

    def _reassignment(self) -> None:
        partition = self._world.random.choice(sorted(self._invariants.ledgers))
        image = self._invariants.image.partition(partition)
        assert image is not None, partition
        replicas: tuple[BrokerId, ...] = ()
        if not (image.adding_replicas or image.removing_replicas) or self._world.chance(1 / 2):
            numbers = [machine.id for machine in self._machines]
            count = min(len(image.replicas) - len(image.adding_replicas), len(numbers))
            replicas = tuple(self._world.random.sample(numbers, count))
        self._count("reassignments", f"moves {partition} to {replicas}")
        self._ask(
            Reassign(partitions=(Reassignment(topic_partition=partition, replicas=replicas),))
        )

    def _ask(self, request: Request) -> None:
        machine = self._one(self._running())
        process = None if machine is None else machine.process
        if process is not None and process.started:
            process.run("ask", lambda: process.client.ask_once(request, lambda _result: None))

    def _deleted_records(self) -> None:
        partition = self._world.random.choice(sorted(self._invariants.ledgers))
        image = self._invariants.image.partition(partition)
        process = None if image is None else self._machines[image.leader].process
        if process is None or not process.started or partition not in process.replicas:
            return
        replica = process.replicas[partition]
        high_watermark = None if replica.leader is None else replica.leader.served_high_watermark
        log = replica.log
        if high_watermark is not None and high_watermark > log.log_start_offset:
            offset = Offset(self._world.between(log.log_start_offset, high_watermark))
            self._count("deletions", f"deletes {replica.topic_partition} before {offset}")
            self._invariants.ledger(replica.topic_partition).deleted(offset)
            process.run("delete records", lambda: replica.delete_before(offset))
