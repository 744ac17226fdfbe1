"""What a hub of a cluster counts, as Prometheus families."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from .cluster import Cluster

_PREFIX = "signaling_cluster_"


def collect(cluster: Cluster) -> Iterator[Metric]:
    """All of them; `_total` is added to counters by the exposition."""
    leases, journal, front = cluster.leases, cluster.journal, cluster.front
    gauges = {
        "redis_up": ("Whether Redis answered when it was last asked.", not cluster.away),
        "leases": ("Rooms that this hub owns.", len(leases)),
        "links": ("Links to other hubs.", len(cluster.links.list_outgoing())),
        "clients_elsewhere": ("Clients of this hub in other hubs' rooms.", front.away),
        "clients_from_elsewhere": (
            "Clients of other hubs in this hub's rooms.",
            len(cluster.remote),
        ),
        "journal_bytes": ("Messages that wait to be written down.", journal.waiting),
        "journal_age_seconds": ("Age of the oldest that waits.", journal.get_age()),
    }
    counters = {
        "leases_taken": ("Leases that this hub got.", leases.taken),
        "leases_lost": ("Rooms that another hub has taken from this one.", leases.lost),
        "leases_released": ("Leases given back.", leases.released),
        "takeovers": ("Rooms of hubs that did not answer.", cluster.finder.takeovers),
        "rooms_restored": (
            "Rooms that went on here after their hub's death.",
            cluster.finder.restored,
        ),
        "splices": ("Clients that were passed on to another hub.", front.spliced),
        "splices_broken": ("Clients sent away since their room's hub was gone.", front.broken),
        "redis_failures": ("Questions that Redis did not answer.", cluster.redis_failures),
        "stalls": ("Times that this hub slept and asked for its leases.", cluster.stalls),
        "links_refused": ("Links that did not prove the secret.", cluster.links.refused),
        "journal_dropped": ("Messages that could not be written down.", journal.dropped),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(_PREFIX + name, text, value=float(value))
    for name, (text, count) in counters.items():
        yield CounterMetricFamily(_PREFIX + name, text, value=float(count))
