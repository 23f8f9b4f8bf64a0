"""`/metrics`: the counts of this server in the text formats of Prometheus."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inferpool.core.histogram import Histogram
from inferpool.dispatch.gauges import PoolGauge, pool_gauges
from inferpool.dispatch.service import Dispatch
from inferpool.server.meters import METERS, POOL_METERS, SPREADS, Meter, PoolMeter, Spread
from inferpool.server.query import Query
from inferpool.server.request import Reply, Request
from inferpool.server.site import Site

NAMES: Final = tuple(one.name for one in (*METERS, *POOL_METERS, *SPREADS))


async def read(site: Site, request: Request) -> Reply:
    """What this server process counted since it started, and how it stands; OpenMetrics for those who accept it."""
    Query(request)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counted(site.dispatch))
    ProcessCollector(registry=registry)  # type: the process's CPU, memory, open files; nothing where there is no /proc
    encode, content_type = choose_encoder(request.headers.get(b"accept", b"").decode("latin-1"))
    return Reply(body=encode(registry), content_type=content_type.encode())


class _Counted(Collector):
    """Reads the counts at the moment of asking."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for meter in METERS:
            yield _family(meter, self._dispatch)
        pools = pool_gauges(self._dispatch.backlog, self._dispatch.catalog)
        for pool_meter in POOL_METERS:
            yield _of_pools(pool_meter, pools)
        for spread in SPREADS:
            yield _spread(spread, spread.read(self._dispatch))


def _family(meter: Meter, dispatch: Dispatch) -> Metric:
    kind = CounterMetricFamily if meter.total else GaugeMetricFamily
    family = kind(meter.name, meter.help, labels=meter.labels)
    for labels, number in meter.read(dispatch).items():
        family.add_metric(labels, number)
    return family


def _of_pools(meter: PoolMeter, pools: Mapping[str, PoolGauge]) -> Metric:
    family = GaugeMetricFamily(meter.name, meter.help, labels=("pool",))
    for name, pool in pools.items():
        family.add_metric((name,), meter.read(pool))
    return family


def _spread(spread: Spread, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(spread.name, spread.help)
    family.add_metric((), [(_bound(bound), count) for bound, count in histogram.buckets()], sum_value=histogram.sum)
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == inf else str(bound)
