"""A Ray cluster of two nodes on this machine, each with one CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STORE_BYTES = 80_000_000


@contextmanager
def two_nodes(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start the cluster and yield its address; workers find the tests' helpers."""
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=":")
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield str(cluster.address)
    finally:
        cluster.shutdown()
