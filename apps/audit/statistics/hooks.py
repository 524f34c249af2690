"""Statistics of hooks: how many were allowed, refused and noted, and why they were refused."""

from collections import Counter, defaultdict
from datetime import date

from django.db.models import QuerySet, Sum

from apps.access.reasons import REASON_TEXTS, STAFF_ACTION
from apps.audit.statistics import tallies
from apps.audit.statistics.app import search_through, through
from apps.audit.statistics.charts import Series, number, stacked_bars
from apps.audit.statistics.period import Period
from apps.audit.statistics.table import Row, Statistic, exact, head_of, search_of, search_of_place, short

ANSWERS = {"allowed": 1, "refused": 2, "noted": 3}
"""Each with its colour."""


def hooks(period: Period, app: str = "") -> Statistic:
    """Hooks allowed, refused and noted over time, of one app or all; changes by staff are none."""
    counts: dict[date, Counter[str]] = defaultdict(Counter)
    for row in tallies.by_answer(_counts(period, app).exclude(reason=STAFF_ACTION)):
        counts[row["at"]][row["answer"]] += row["hooks"]
    total, title = sum(counts.values(), Counter()), f"Hooks{through(app)}"
    if not total:
        return Statistic(title, f"No hook came in {period}{through(app)}.")
    places, search = period.places(), search_through(app, "-decision:changed")
    series = [
        Series(answer.capitalize(), tuple(counts[place][answer] for place in places), tone)
        for answer, tone in ANSWERS.items()
    ]
    return Statistic(
        title,
        _said(total),
        (head_of(period), "Allowed", "Refused", "Noted"),
        [
            Row(
                (exact(place), *(str(counts[place][answer]) for answer in ANSWERS)),
                search_of_place(place, search) if search and counts[place].total() else "",
            )
            for place in places
        ],
        stacked_bars(f"Hooks in {period}{through(app)}", [short(place, period) for place in places], series),
        "Noted is what could not be refused. A repeat counts at the time of the event that it repeats.",
    )


def refusals(period: Period, app: str = "") -> Statistic:
    """Refusals by reason, the most frequent first, of one app or all."""
    refused = _counts(period, app).filter(effect="deny").values("reason")
    rows = list(refused.annotate(times=Sum("hooks")).order_by("-times", "reason"))
    title = f"Refusals by reason{through(app)}"
    if not rows:
        return Statistic(title, f"Nothing was refused in {period}{through(app)}.")
    total, first = sum(row["times"] for row in rows), rows[0]
    return Statistic(
        title,
        f"Most often, {number(first['times'])} of {number(total)} times: {_text(first['reason'])}",
        ("Reason", "Code", "Refused"),
        [
            Row(
                (_text(row["reason"]), row["reason"], str(row["times"])),
                search_of(period, search_through(app, f"decision:refused reason:{row['reason']}")),
                row["times"] / first["times"],
            )
            for row in rows
        ],
    )


def _counts(period: Period, app: str) -> QuerySet:
    if period.by_hour:
        counts = tallies.hours(period.since, period.until)
    else:
        counts = tallies.days(period.since, period.until, finely=bool(app))
    return counts.filter(app_key=app) if app else counts


def _said(total: Counter[str]) -> str:
    decided = total["allowed"] + total["refused"]
    percent = f", {100 * total['refused'] / decided:.1f}% of what was decided" if decided else ""
    parts = {answer: number(total[answer]) for answer in ANSWERS}
    hooks = "1 hook" if total.total() == 1 else f"{number(total.total())} hooks"
    return f"{hooks}: {parts['allowed']} allowed, {parts['refused']} refused{percent}; {parts['noted']} noted."


def _text(reason: str) -> str:
    return REASON_TEXTS.get(reason, reason)
