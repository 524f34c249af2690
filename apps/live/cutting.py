"""Ending what runs: ordering it, which counts with the next hook, and telling WCS, which is a worker's business."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.connections.models import Node, Session
from apps.live.models import Cut, Lease
from apps.live.wcs_api import ApiProblem, end_call, end_session, end_stream
from apps.protocol.methods import CALL_ACTIONS

MAX_ATTEMPTS = 6
"""How often WCS is told before that is given up; the pauses double, from two seconds on."""
CLAIM = timedelta(seconds=10)
"""For how long a worker that is telling WCS keeps others from it: longer than it waits for an answer."""


def order_end(leases: Iterable[Lease], *, by: str, now: datetime) -> int:
    """Order these to end, unless they have been already; gives how many were. From now on hooks about them, and out of
    sessions that are among them, are refused.
    """
    leases = [lease for lease in leases if lease.ended_at is None]
    openings = _openings(leases)
    cuts = [_cut(lease, openings, by, now) for lease in leases]
    before = set(Cut.objects.filter(lease__in=[cut.lease_id for cut in cuts]).values_list("lease_id", flat=True))
    new = [cut for cut in cuts if cut.lease_id not in before]
    Cut.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _openings(leases: Iterable[Lease]) -> dict[tuple[str, str], int]:
    """Which opening it is of those that are sessions, by node id and session id."""
    connected = [lease for lease in leases if lease.action == "connect"]
    sessions = Session.objects.filter(
        node_id__in={lease.node_id for lease in connected}, session_id__in={lease.session_id for lease in connected}
    )
    return {
        (node, session): opening for node, session, opening in sessions.values_list("node_id", "session_id", "opening")
    }


def _cut(lease: Lease, openings: dict[tuple[str, str], int], by: str, now: datetime) -> Cut:
    cut = Cut(
        lease=lease, node_id=lease.node_id, session_id=lease.session_id, ordered_at=now, ordered_by=by, try_at=now
    )
    if lease.action == "connect":
        cut.opening = openings.get((lease.node_id, lease.session_id))
    else:
        cut.key = lease.key
    return cut


def carry_out(limit: int = 100) -> int:
    """Tell WCS of the orders it has not heard of yet, where its node has an address; gives how many it was told of."""
    told = 0
    for _number in range(limit):
        cut = _claim(timezone.now())
        if cut is None:
            break
        told += _tell(cut)
    return told


def _claim(now: datetime) -> Cut | None:
    """The next order that WCS is to be told of. Nobody else takes it for a while."""
    nodes = Node.objects.exclude(api_url="").values("node_id")
    with transaction.atomic():
        due = Cut.objects.filter(told_at=None, try_at__lte=now, attempts__lt=MAX_ATTEMPTS, lease__ended_at=None)
        waiting = due.filter(node_id__in=nodes).order_by("try_at").select_related("lease")
        cut = waiting.select_for_update(skip_locked=True, of=("self",)).first()
        if cut is not None:
            Cut.objects.filter(pk=cut.pk).update(attempts=F("attempts") + 1, try_at=now + CLAIM)
        return cut


def _tell(cut: Cut) -> bool:
    """Tell WCS; say in the order that it was, or why not and when next."""
    cuts, node = Cut.objects.filter(pk=cut.pk), Node.objects.get(node_id=cut.node_id)
    try:
        found = _end(node, cut.lease)
    except ApiProblem as problem:
        pause = timedelta(seconds=2 ** (cut.attempts + 1))
        cuts.update(problem=str(problem), try_at=timezone.now() + pause)
        return False
    now = timezone.now()
    cuts.update(told_at=now, problem="")
    if not found:
        running = Lease.objects.filter(pk=cut.lease_id, ended_at=None)
        running.update(ended_at=now, end_reason="WCS knows of no such thing running.")
    return True


def _end(node: Node, lease: Lease) -> bool:
    if lease.action == "connect":
        return end_session(node, lease.session_id)
    if lease.action in CALL_ACTIONS:
        return end_call(node, lease.key)
    return end_stream(node, lease.key)
