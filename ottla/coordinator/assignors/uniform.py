"""The uniform assignor: everybody gets as many partitions as everybody else, and keeps its own.

Topics with the same subscribers are one *pool*. A group whose members all subscribe to the same has
one pool, and then the result is exact: each member has the same number of partitions, or one more,
and no other division of that kind moves fewer. Who has more than its share now keeps a share of one
more, as far as there are such shares; the rest of what it has goes to those who have less.

With several pools, members keep what they have and still subscribe to; partitions that nobody has
go to whoever has least, pools with the fewest subscribers first, for they have the least choice;
then partitions move, one at a time, from the most to the least loaded member of a pool, until no
such move makes the two more equal. Every move makes the sum of squares of the loads smaller, so
that this ends; two members that subscribe to the same differ by one at most in the end.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ottla.coordinator.assignors.assignor import MemberToAssign
from ottla.model.ids import TopicId
from ottla.model.limits import CONSUMER_DIVISION_ROUNDS_MAX


def assign_uniformly(
    members: Mapping[str, MemberToAssign], partition_counts: Mapping[TopicId, int]
) -> dict[str, dict[TopicId, frozenset[int]]]:
    """Return what each member shall have."""
    member_ids = sorted(members)
    pools = [
        _Pool(subscribers, topics, members, partition_counts)
        for subscribers, topics in _pools(member_ids, members)
    ]
    if len(pools) == 1:
        pools[0].divide_evenly()
    else:
        _divide_among_pools(member_ids, pools)
    assigned: dict[str, dict[TopicId, frozenset[int]]] = {one: {} for one in member_ids}
    for pool in pools:
        for member_id, held in pool.held.items():
            assigned[member_id].update(pool.by_topic(held))
    return assigned


def _pools(
    member_ids: Iterable[str], members: Mapping[str, MemberToAssign]
) -> list[tuple[tuple[str, ...], list[TopicId]]]:
    """Return topics by who subscribes to them, those with the fewest subscribers first."""
    alike: dict[frozenset[TopicId], list[str]] = {}
    for member_id in member_ids:
        alike.setdefault(members[member_id].topics, []).append(member_id)
    subscribers: dict[TopicId, list[str]] = {}
    for topics, same in alike.items():
        for topic_id in topics:
            subscribers.setdefault(topic_id, []).extend(same)
    pools: dict[tuple[str, ...], list[TopicId]] = {}
    for topic_id in sorted(subscribers, key=lambda one: one.int):
        pools.setdefault(tuple(subscribers[topic_id]), []).append(topic_id)
    return sorted(pools.items(), key=lambda pool: (len(pool[0]), pool[0]))


@dataclass(slots=True)
class _Pool:
    """Topics with the same subscribers. Their partitions are numbered through, from zero."""

    subscribers: tuple[str, ...]
    topics: list[TopicId]
    members: Mapping[str, MemberToAssign]
    partition_counts: Mapping[TopicId, int]
    begins: list[int] = field(init=False)
    """The first partition of each topic, in the order of the topics."""
    held: dict[str, list[int]] = field(init=False)
    """What each member has, and had before if it was not moved."""
    free: list[int] = field(init=False)
    """What nobody has."""

    def __post_init__(self) -> None:
        begins = {}
        end = 0
        for topic_id in self.topics:
            begins[topic_id] = end
            end += self.partition_counts[topic_id]
        self.begins = list(begins.values())
        taken = bytearray(end)
        self.held = {member_id: [] for member_id in self.subscribers}
        for member_id, mine in self.held.items():
            for topic_id, partitions in self.members[member_id].target.items():
                begin = begins.get(topic_id)
                if begin is None:
                    continue
                limit = self.partition_counts[topic_id]
                for partition in sorted(partitions):
                    if partition < limit and not taken[begin + partition]:
                        taken[begin + partition] = 1
                        mine.append(begin + partition)
        self.free = [number for number in range(end) if not taken[number]]

    def divide_evenly(self) -> None:
        """Give all members the same number, or one more, moving as little as possible."""
        total = len(self.free) + sum(map(len, self.held.values()))
        share, larger_shares = divmod(total, len(self.held))
        by_load = sorted(self.held.values(), key=len, reverse=True)
        shares = [share + (index < larger_shares) for index in range(len(by_load))]
        for mine, quota in zip(by_load, shares, strict=True):
            self.free.extend(mine[quota:])
            del mine[quota:]
        self.free.sort(reverse=True)
        for mine, quota in zip(by_load, shares, strict=True):
            while len(mine) < quota:
                mine.append(self.free.pop())
        assert not self.free, self.free

    def by_topic(self, held: Iterable[int]) -> dict[TopicId, frozenset[int]]:
        """Return partitions as everybody else names them."""
        numbers = sorted(held)
        found: dict[TopicId, frozenset[int]] = {}
        first = 0
        while first < len(numbers):
            index = bisect_right(self.begins, numbers[first]) - 1
            begin, topic_id = self.begins[index], self.topics[index]
            beyond = bisect_left(numbers, begin + self.partition_counts[topic_id], first)
            found[topic_id] = frozenset(number - begin for number in numbers[first:beyond])
            first = beyond
        return found


def _divide_among_pools(member_ids: list[str], pools: list[_Pool]) -> None:
    loads = dict.fromkeys(member_ids, 0)
    for pool in pools:
        for member_id, mine in pool.held.items():
            loads[member_id] += len(mine)
    for pool in pools:
        _give_to_the_least_loaded(pool, loads)
    for _ in range(CONSUMER_DIVISION_ROUNDS_MAX):
        # Evening one pool out may make another uneven.
        if not sum(_even_out(pool, loads) for pool in pools):
            break


def _give_to_the_least_loaded(pool: _Pool, loads: dict[str, int]) -> None:
    waiting = [(loads[member_id], member_id) for member_id in pool.subscribers]
    heapq.heapify(waiting)
    for number in pool.free:
        load, member_id = waiting[0]
        pool.held[member_id].append(number)
        loads[member_id] = load + 1
        heapq.heapreplace(waiting, (load + 1, member_id))
    pool.free = []


def _even_out(pool: _Pool, loads: dict[str, int]) -> int:
    """Move partitions of one pool until no move helps; return how many were moved."""
    least = [(loads[member_id], member_id) for member_id in pool.subscribers]
    most = [
        (-loads[member_id], member_id) for member_id in pool.subscribers if pool.held[member_id]
    ]
    heapq.heapify(least)
    heapq.heapify(most)
    moved = 0
    while most:
        from_load, source = -most[0][0], most[0][1]
        to_load, sink = least[0]
        # Entries are not taken out when a load changes; what they say is compared with the truth.
        if from_load != loads[source] or not pool.held[source]:
            heapq.heappop(most)
            continue
        if to_load != loads[sink]:
            heapq.heappop(least)
            continue
        if from_load - to_load <= 1:
            break
        pool.held[sink].append(pool.held[source].pop())
        moved += 1
        for member_id, change in ((source, -1), (sink, 1)):
            loads[member_id] += change
            heapq.heappush(least, (loads[member_id], member_id))
            heapq.heappush(most, (-loads[member_id], member_id))
    return moved
