"""Missing hooks: whether every answered hook is in the record, what is counted by node, and acknowledging a gap."""

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.access.acts import note
from apps.accounts.navigation import may, may_open
from apps.audit.missing import gaps
from apps.audit.missing.spooled import spooled_by_node
from apps.audit.models import Counted
from apps.audit.proving.seals import sealing
from apps.audit.recording import spool_folder


def missing_hooks(request: HttpRequest) -> HttpResponse:
    """The one number, where and since when something is missing, and the counts behind it."""
    if not may_open(request.user, "missing_hooks"):
        raise PermissionDenied
    may_acknowledge = may(request.user, "acknowledge", "audit.counted")
    if request.method == "POST":
        if not may_acknowledge:
            raise PermissionDenied
        return _acknowledge(request)
    missing = gaps.missing()
    context = {
        **admin.site.each_context(request),
        "title": "Missing hooks",
        "missing": missing,
        "stale": missing.looked_at is not None and timezone.now() - missing.looked_at > gaps.STALE,
        "gaps": gaps.gaps()[:100],
        "may_acknowledge": may_acknowledge,
        "nodes": _nodes(),
        "sealed": sealing(timezone.now()),
    }
    return TemplateResponse(request, "admin/audit/missing_hooks.html", context)


def _acknowledge(request: HttpRequest) -> HttpResponse:
    asked = request.POST.get("gap", "")
    gap = gaps.gaps().filter(pk=int(asked)).first() if asked.isascii() and asked.isdigit() and len(asked) < 19 else None
    if gap is not None and (number := _acknowledged(request, gap)):
        messages.success(request, f"Acknowledged: {number} of {gap}. They are no longer reported.")
    elif gap is not None and gaps.gaps().filter(pk=gap.pk).exists():
        messages.warning(request, "Too many records wait for the workers to tell what is missing. Try again later.")
    else:
        messages.warning(request, "There is nothing to acknowledge there: nothing of it is missing any more.")
    return HttpResponseRedirect(request.path)


@transaction.atomic
def _acknowledged(request: HttpRequest, gap: Counted) -> int:
    """How many are known to be missing now, as the record says."""
    if number := gaps.acknowledge(gap.pk):
        since, found = (f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}" for at in (gap.missing_after, gap.missing_since))
        told = f"{number}, which went missing between {since} and {found}"
        note(request, "acknowledge", f"missing hooks of {gap}", told=told)
    return number


def _nodes() -> list[dict[str, int | str]]:
    """What is counted, by node; with what waits in the spools of this machine."""
    nodes = {str(node["node_name"]): {**node, "spooled": 0} for node in gaps.per_node(100)}
    for node_id, entries in spooled_by_node(spool_folder.configured()).items():
        nodes.setdefault(node_id, {"node_name": node_id, **dict.fromkeys(gaps.SHOWN, 0)})["spooled"] = entries
    return list(nodes.values())
