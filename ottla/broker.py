"""One broker, wired from its configuration.

This is the only module that names every concrete class. Starting is a list of steps, each with
what undoes it; stopping is that list in reverse, and a start that fails half way stops what it had
started.

=============  ================================================  ==============================
step           start                                             stop
=============  ================================================  ==============================
directory      lock it, see whose it is                          close the logs, note a clean
                                                                 stop, let the directory go
flusher        start the group-commit thread                     sync what was asked for, end it
quorum         recover the metadata log, become controller       close the metadata log
logs           open every log, with recovery if need be          (with the directory)
replicas       follow the metadata log                           follow it no more
HTTP           listen                                            stop listening
gRPC           listen; requests are refused still                wait for what is under way
registration   register, unfence, lead                           (the next start fences)
maintenance    begin to look after the logs                      stop that
serving        let requests in, and say so                       let none in, end long waits
=============  ================================================  ==============================

A broker that cannot go on -- a background task failed, the metadata log cannot be written -- says
so through :meth:`Broker.wait_failed`; whoever runs it ends the process. A failed data directory is
less than that: what is committed can still be read, so the broker stays, and its health says why
it should be looked at.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

from ottla import __version__
from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.configs import BrokerConfigsService
from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.flusher import Flusher
from ottla.cluster.gate import Gate, GateState
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.server import GrpcServer
from ottla.cluster.instruments import MetricsInstruments
from ottla.cluster.maintenance import Intervals, Maintenance
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets import BrokerOffsetsService
from ottla.cluster.partition import PartitionContext, Waiters
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.produce import BrokerProduceService
from ottla.cluster.producer_ids import BrokerProducerIdsService
from ottla.cluster.raft_driver import RaftDriver
from ottla.cluster.replica_description import ReplicaDescription
from ottla.cluster.replica_manager import ReplicaManager
from ottla.cluster.services import Services
from ottla.cluster.topics import BrokerTopicsService
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.controller.controller import Controller
from ottla.controller.raft.consensus import Consensus, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.transport import NoPeers
from ottla.controller.requests import RegisterBroker, UnfenceBroker
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.metrics.http import HttpServer
from ottla.metrics.registry import BrokerMetrics
from ottla.model.errors import OttlaError, StorageError
from ottla.model.ids import BrokerEpoch, TopicId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.logging import Event, Severity, emit
from ottla.runtime.posix import PosixFileSystem
from ottla.runtime.purgatory import Purgatory
from ottla.runtime.system_clock import SystemClock
from ottla.runtime.tasks import TaskSupervisor
from ottla.storage.checkpoints import read_meta_properties
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager
from ottla.storage.uuid_text import uuid_to_text
