"""Whether we are well: for load balancers, orchestrators and Prometheus."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from apps.access.callers import caller_address
from apps.access.networks import in_networks
from apps.access.snapshot import snapshot_keeper
from apps.audit.missing.gaps import Missing, missing, per_node
from apps.audit.missing.spooled import spooled_by_node
from apps.audit.moving.outbox import WAITING
from apps.audit.net import net
from apps.audit.proving.seals import Sealing, sealing
from apps.audit.recording.spool import Waiting, waiting
from apps.database.connection import Unavailable
from apps.database.hook_path import expect_an_answer
from apps.hooks.away import emptying, spool

_NUMBERS = f"""SELECT (SELECT revision FROM access_revision),
        hooks, coalesce(extract(epoch FROM now() - hooks_since), 0),
        changes, coalesce(extract(epoch FROM now() - changes_since), 0)
    FROM {WAITING}"""  # noqa: S608 - our own


class _Numbers(NamedTuple):
    """What Postgres says of the rules, and of what waits to be moved: records of hooks, and changes by staff."""

    revision: int
    records: int
    oldest: float
    changes: int
    oldest_change: float


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while this process runs."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when hooks can be decided: the database answers and the rules in memory are its own; else 503. Also where
    too many answered hooks are not in the record, if the operator has set a limit to that."""
    spooled = _spooled()
    said = {"spooled": spooled.entries, "away_since": spooled.since}
    try:
        expect_an_answer(settings.HOOK_TIME_LIMIT)
        found = _numbers_when_fresh(time.monotonic() + settings.HOOK_TIME_LIMIT)
        outside, gone, sealed = net(), missing(), sealing(timezone.now())
    except (DatabaseError, Unavailable):
        detail = "The database does not answer, or its rules are not loaded (yet)."
        return JsonResponse({"error": "not-ready", "detail": detail, **said}, status=503)
    numbers = {"revision": found.revision, "records_waiting": found.records, "oldest_waiting_s": round(found.oldest, 1)}
    numbers |= {"changes_waiting": found.changes, "oldest_change_waiting_s": round(found.oldest_change, 1)}
    numbers["audit_outside_partitions"] = outside.rows
    said |= {"missing": gone.hooks, "missing_since": gone.since, "missing_looked_at": gone.looked_at}
    said["silent_processes"] = gone.silent
    said |= {"sealed": sealed.sealed_at, "seal_trouble": sealed.trouble or None}
    if 0 < settings.MISSING_LIMIT <= gone.hooks:
        detail = "More hooks that were answered are not in the record than WCSGATE_MISSING_LIMIT lets pass."
        return JsonResponse({"error": "hooks-missing", "detail": detail, **numbers, **said}, status=503)
    return JsonResponse({"status": "ready", **numbers, **said})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Numbers for Prometheus, for the networks in WCSGATE_METRICS_NETWORKS."""
    if not in_networks(caller_address(request.META), settings.METRICS_NETWORKS):
        return JsonResponse(
            {"error": "not-for-you", "detail": "Add your network to WCSGATE_METRICS_NETWORKS."}, status=403
        )
    registry = CollectorRegistry()
    registry.register(_Gauges())
    return HttpResponse(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")


class _Gauges:
    """The numbers as gauges. They come from the database, so that every process gives the same, and from the spools."""

    def collect(self) -> Iterable[Metric]:
        spooled = _spooled()
        since = spooled.since.timestamp() if spooled.since else 0
        yield GaugeMetricFamily("wcsgate_spooled_entries", "Records that wait for the database", spooled.entries)
        yield GaugeMetricFamily("wcsgate_away_since_seconds", "Since when the database is away; 0: it is not", since)
        yield GaugeMetricFamily("wcsgate_spool_aside_files", "Files with what could not be recorded", spooled.aside)
        try:
            expect_an_answer(settings.HOOK_TIME_LIMIT)
            found = _numbers()
            outside, gone, nodes, sealed = net(), missing(), per_node(), sealing(timezone.now())
        except (DatabaseError, Unavailable):
            yield GaugeMetricFamily("wcsgate_database_up", "Whether the database answers", 0)
            return
        yield GaugeMetricFamily("wcsgate_database_up", "Whether the database answers", 1)
        yield GaugeMetricFamily("wcsgate_access_revision", "Revision of users, rules, apps and so on", found.revision)
        yield GaugeMetricFamily("wcsgate_records_waiting", "Records not moved yet, up to 100000", found.records)
        yield GaugeMetricFamily("wcsgate_oldest_waiting_seconds", "Since when the first of them waits", found.oldest)
        yield GaugeMetricFamily("wcsgate_changes_waiting", "Changes not moved yet, up to 100000", found.changes)
        yield GaugeMetricFamily("wcsgate_oldest_change_seconds", "Age of the oldest of them", found.oldest_change)
        yield GaugeMetricFamily("wcsgate_audit_outside_partitions", "Audit events in the default one", outside.rows)
        yield GaugeMetricFamily("wcsgate_audit_being_moved", "Whether others leave it just now", outside.being_moved)
        yield from _sealed(sealed)
        yield from _counted(gone, nodes)


def _sealed(sealed: Sealing) -> Iterable[Metric]:
    """Whether the record is as it was sealed, and goes on being sealed."""
    at = sealed.sealed_at.timestamp() if sealed.sealed_at else 0
    trouble = bool(sealed.trouble)
    yield GaugeMetricFamily("wcsgate_seal_trouble", "Whether something keeps the record from being sealed", trouble)
    yield GaugeMetricFamily("wcsgate_sealed_seconds", "When the record was sealed last; 0: never", at)


def _counted(gone: Missing, nodes: list[dict[str, int | str]]) -> Iterable[Metric]:
    """What was answered and what is in the record: all processes together, by node."""
    looked_at = gone.looked_at.timestamp() if gone.looked_at else 0
    unrecorded = sum(int(node["unrecorded"]) for node in nodes)
    yield GaugeMetricFamily("wcsgate_missing", "Hooks that were answered and are not in the record", gone.hooks)
    yield GaugeMetricFamily("wcsgate_missing_looked_for_seconds", "When that was last looked for", looked_at)
    yield GaugeMetricFamily("wcsgate_silent_processes", "Processes that do not tell what they answered", gone.silent)
    yield GaugeMetricFamily("wcsgate_answered_unrecorded", "Hooks answered without a record", unrecorded)
    families = {
        "received": CounterMetricFamily("wcsgate_hooks_received_total", "Hooks that came", labels=["node"]),
        "answered": CounterMetricFamily("wcsgate_hooks_answered_total", "Those answered 200 or 403", labels=["node"]),
        "failed": CounterMetricFamily("wcsgate_hooks_undecided_total", "Those answered 503 or 500", labels=["node"]),
        "stored": CounterMetricFamily("wcsgate_hooks_stored_total", "Those in the audit log", labels=["node"]),
        "pending": GaugeMetricFamily("wcsgate_hooks_pending", "Those in the outbox", labels=["node"]),
        "bad": GaugeMetricFamily("wcsgate_hooks_bad", "Those that cannot be stored", labels=["node"]),
        "missing": GaugeMetricFamily("wcsgate_hooks_missing", "Those that are nowhere", labels=["node"]),
    }
    for name, family in families.items():
        for node in nodes:
            family.add_metric([node["node_name"]], node[name])
        yield family
    spooled = GaugeMetricFamily("wcsgate_hooks_spooled", "Those in the spools of this machine", labels=["node"])
    for node_id, entries in spooled_by_node(spool().folder).items():
        spooled.add_metric([node_id], entries)
    yield spooled


def _spooled() -> Waiting:
    """What waits in the spools, and since when the database is away by them or by this process."""
    found, since = waiting(spool().folder), emptying().since
    return found._replace(since=min(filter(None, (found.since, since)), default=None))


def _numbers_when_fresh(deadline: float) -> _Numbers:
    """The numbers, once the snapshot has their revision. Raises Unavailable if that takes too long."""
    keeper = snapshot_keeper()
    loaded = keeper.current(deadline).revision  # read before the database: it may be behind, never ahead
    while (numbers := _numbers()).revision != loaded:
        loaded = keeper.other_than(loaded, deadline).revision
    return numbers


def _numbers() -> _Numbers:
    with connection.cursor() as cursor:
        cursor.execute(_NUMBERS)
        revision, records, oldest, changes, oldest_change = cursor.fetchone()
    return _Numbers(revision, records, float(oldest or 0), changes, float(oldest_change or 0))
