"""The timeline as a picture that the browser asks for by itself, after the list; or as a page of its own."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.audit.browsing.filters import PeriodFilter
from apps.audit.browsing.paging import AuditChangeList, TakesTooLong
from apps.audit.browsing.query import parse
from apps.audit.browsing.timeline import LOOKED_AT, OUTCOMES, Bar, Counts, bars, counts_of
from apps.audit.browsing.timeline_kept import kept_counts

HEIGHT = 100
LEAST = 2
"""What is there at all is seen, however much there is of something else."""

STEP, GAP = 10, 1


def timeline_page(request: HttpRequest, changes: AuditChangeList, context: dict[str, Any]) -> HttpResponse:
    """The chart of what the list finds. With JavaScript it is only the piece that goes above the list."""
    asked = request.GET.copy()
    chosen = [asked.pop(name) for name in PeriodFilter.parameters if name in asked]
    context |= {"title": "Timeline", "in_list": "HX-Request" in request.headers, "list_url": _address(request.GET)}
    context |= {"any_time_url": _address(asked) if chosen else ""}
    if (counts := _counts(request, changes)) is None:
        context["too_long"] = True
    else:
        found = bars(counts.counts, timezone.get_current_timezone())
        context |= {"counts": counts, "outcomes": OUTCOMES.values(), "bars": list(_drawn(found, asked))}
        context |= {
            "width": STEP * len(found),
            "height": HEIGHT,
            "most": _most(found),
            "end": found and found[-1].until,
        }
        context |= {
            "totals": [(name, label, sum(bar.numbers[name] for bar in found)) for name, label in OUTCOMES.items()]
        }
    template = "timeline" if context["in_list"] else "timeline_page"
    return TemplateResponse(request, f"admin/audit/{template}.html", context)


def _counts(request: HttpRequest, changes: AuditChangeList) -> Counts | None:
    """What there is to draw: what is counted anyway, where it is much; else what is found, to the second."""
    kept = kept_counts(request.GET, parse(request.GET.get("q", "")), timezone.now())
    if kept is not None and kept.total > LOOKED_AT:
        return kept
    try:
        return counts_of(changes.ways)
    except TakesTooLong:
        return kept


def _most(found: list[Bar]) -> int:
    return max((bar.numbers.total() for bar in found), default=0)


def _drawn(found: list[Bar], asked: QueryDict) -> Iterator[dict[str, Any]]:
    """What the template draws of each bar: its pieces from the bottom up, and the list of its time."""
    most = _most(found)
    for place, bar in enumerate(found):
        top, pieces = HEIGHT, []
        for outcome in OUTCOMES:
            if number := bar.numbers[outcome]:
                height = max(LEAST, round(number / most * (HEIGHT - len(OUTCOMES) * LEAST), 1))
                top -= height
                pieces.append({"outcome": outcome, "y": round(top, 1), "height": height})
        yield {
            "x": place * STEP,
            "width": STEP - GAP,
            "pieces": pieces,
            "since": bar.since,
            "until": bar.until,
            "numbers": [(label, bar.numbers[name]) for name, label in OUTCOMES.items()],
            "url": _address(asked, **{"from": bar.since.isoformat(), "until": bar.until.isoformat()}),
        }


def _address(asked: QueryDict, **more: str) -> str:
    """The list with these filters, at its newest page."""
    asked = asked.copy()
    asked.update(more)
    return f"{reverse('admin:audit_auditevent_changelist')}?{asked.urlencode()}"
