"""What is done to members and brokers, one after the other, in an order that a seed chooses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from compat.group_survival.trial import Trial

PAUSED_LONGER_THAN_A_SESSION_S: Final = 3.0


def kill_member(trial: Trial, draw: random.Random) -> str:
    """``kill -9`` a member; another one of its kind comes some time later."""
    victim = draw.choice(trial.present())
    victim.kill()
    time.sleep(draw.uniform(0, 2) * trial.group.session_ms / 1000)
    return f"{victim.name} killed, {trial.add(victim.kind).name} came"


def add_member(trial: Trial, draw: random.Random) -> str:
    """Start one more member."""
    return f"{trial.add(draw.choice(trial.kinds)).name} came"


def remove_member(trial: Trial, draw: random.Random) -> str:
    """Have a member leave in good order; another one of its kind comes at once."""
    victim = draw.choice(trial.present())
    victim.leave()
    return f"{victim.name} left, {trial.add(victim.kind).name} came"


def pause_member(trial: Trial, draw: random.Random) -> str:
    """``SIGSTOP`` a member for longer than its session lasts; it comes back and knows nothing."""
    victim = draw.choice(trial.present())
    victim.pause()
    time.sleep(trial.group.session_ms / 1000 + PAUSED_LONGER_THAN_A_SESSION_S)
    victim.resume()
    return f"{victim.name} paused"


def kill_coordinator(trial: Trial, draw: random.Random) -> str:
    """``kill -9`` the broker that coordinates the group, and start it again."""
    number = trial.coordinator()
    trial.cluster.brokers[number].kill()
    time.sleep(draw.uniform(0.2, 4))
    trial.cluster.brokers[number].start()
    return f"broker {number} killed"


def kill_coordinator_and_member(trial: Trial, draw: random.Random) -> str:
    """``kill -9`` both at once."""
    number, victim = trial.coordinator(), draw.choice(trial.present())
    trial.cluster.brokers[number].kill()
    victim.kill()
    time.sleep(draw.uniform(0.2, 2))
    trial.cluster.brokers[number].start()
    return f"broker {number} and {victim.name} killed, {trial.add(victim.kind).name} came"


def pause_coordinator(trial: Trial, draw: random.Random) -> str:
    """``SIGSTOP`` the coordinator: when it goes on, it believes that it still is."""
    number = trial.coordinator()
    broker = trial.cluster.brokers[number]
    broker.pause()
    time.sleep(draw.uniform(0.5, 8))
    broker.resume()
    return f"broker {number} paused"


def kill_all_but_the_coordinator(trial: Trial, draw: random.Random) -> str:
    """``kill -9`` the other brokers: nothing can be committed until they are back."""
    number = trial.coordinator()
    others = [one for one in range(len(trial.cluster.brokers)) if one != number]
    for one in others:
        trial.cluster.brokers[one].kill()
    time.sleep(draw.uniform(1, 8))
    trial.cluster.start()
    return f"brokers {others} killed"


def restart_brokers(trial: Trial, draw: random.Random) -> str:
    """Stop and start one broker after the other, each when all replicas are in sync again."""
    brokers = draw.sample(range(len(trial.cluster.brokers)), len(trial.cluster.brokers))
    for number in brokers:
        trial.wait_in_sync()
        trial.cluster.brokers[number].stop()
        trial.cluster.brokers[number].start()
    return f"brokers {brokers} stopped and started"


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them."""

    name: str
    begin: Callable[[Trial, random.Random], str]
    """Does it and undoes it, and says what it did."""


FAULTS: Final[Sequence[Fault]] = (
    Fault("kill a member", kill_member),
    Fault("add a member", add_member),
    Fault("kill the coordinator", kill_coordinator),
    Fault("restart the brokers", restart_brokers),
    Fault("pause a member", pause_member),
    Fault("pause the coordinator", pause_coordinator),
    Fault("a member leaves", remove_member),
    Fault("kill the coordinator and a member", kill_coordinator_and_member),
    Fault("kill all but the coordinator", kill_all_but_the_coordinator),
)
