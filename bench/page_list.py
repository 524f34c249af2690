"""The pages of staff that `bench pages` measures, as addresses: about who and what is busiest, and about some other."""

from datetime import timedelta
from urllib.parse import urlencode


def pages():
    """Name and address of each, for the log that is there."""
    from apps.access.reasons import STAFF_ACTION
    from apps.audit.browsing.paging import PAGE_VAR, Place, Turn
    from apps.audit.filling import made_up
    from apps.audit.models import AuditEvent, received

    newest = AuditEvent.objects.order_by("-received_at", "-id")
    oldest = newest.last()
    middle = oldest.received_at + (newest.first().received_at - oldest.received_at) / 2
    late = newest.filter(received(before=middle))
    some = late.filter(method="StreamStatusEvent", duration__isnull=False).exclude(username="").first()
    call = late.filter(method="CallStatusEvent", status="FINISH").first()
    changes = newest.filter(reason=STAFF_ACTION, rule_ids__0__gt=len(made_up.RULES))
    changed = changes.values_list("rule_ids__0", flat=True).first()
    time = f"after:{middle - timedelta(days=30):%Y-%m-%d} before:{middle:%Y-%m-%d}"
    searches = {
        "the busiest user": f"user:{made_up.username(0)}",
        "some user": f"user:{some.username}",
        "the busiest stream": f"stream:{made_up.stream_name(0)}",
        "some stream": f"stream:{some.target}",
        "streams by their beginning": "stream:lobby-1*",
        "the busiest number": f"number:{made_up.phone_number(0)}",
        "some number": f"number:{call.number}",
        "numbers by their beginning": "number:+49*",
        "some address": f"ip:{some.client_address}",
        "a network": "ip:10.7.0.0/16",
        "a session": f"session:{some.session_id}",
        "a session with its node": f"session:{some.session_id} node:{some.node_id}",
        "a call": f"call:{call.call_id}",
        "a common reason": "reason:allowed-by-rule",
        "a rare reason": "reason:wrong-audience",
        "what was refused": "decision:refused",
        "what was allowed": "decision:allowed",
        "what staff changed": "decision:changed",
        "the busiest user refused": f"user:{made_up.username(0)} decision:refused",
        "the busiest user at the busiest stream": f"user:{made_up.username(0)} stream:{made_up.stream_name(0)}",
        "a common method": "method:playStream",
        "a method that seldom came": "method:OnCallEvent",
        "a method that never came": "method:sendXcapRequest",
        "a node": f"node:{made_up.NODES[-1]}",
        "an app": f"app:{made_up.APPS[-1]}",
        "an app that never came": "app:nowhere",
        "a common rule": "rule:1",
        "a rule that was seldom changed": f"rule:{changed}",
        "a rule that never decided": "rule:999999",
        "an action": "action:call",
        "a word: the busiest user": made_up.username(0),
        "a word: some stream": some.target,
        "a word that is nowhere": "nowhere-at-all",
    }
    log, place = "/admin/audit/auditevent/", str(PAGE_VAR)
    found = {
        "audit log: first page": log,
        "next page": f"{log}?{urlencode({place: Turn('older', Place.of(newest[100]))})}",
        "a page of half a year ago": f"{log}?{urlencode({place: Turn('older', Place.of(some))})}",
        "last page": f"{log}?{urlencode({place: 'oldest'})}",
        "a month": f"{log}?{urlencode({'q': time})}",
    }
    for name, search in searches.items():
        found[name] = f"{log}?{urlencode({'q': search})}"
        if name in OF_A_MONTH:
            found[f"{name}, a month"] = f"{log}?{urlencode({'q': f'{search} {time}'})}"
    for name in ("the busiest user", "what was refused", "a rare reason"):
        found[f"{name}, last page"] = f"{log}?{urlencode({'q': searches[name], place: 'oldest'})}"
    for name, search in {"everything": "", "a month": time, **{n: searches[n] for n in TIMELINES}}.items():
        found[f"timeline: {name}"] = f"{log}timeline/?{urlencode({'q': search})}"
    for of, begins in {"user": "a", "stream": "lobby-1", "number": "+49", "node": "edge"}.items():
        found[f"completion: {of}"] = f"{log}names/?{urlencode({'of': of, 'begins': begins})}"
    of_session = {"node": some.node_id, "session": some.session_id}
    decided = late.filter(method="playStream").first()
    who = {"action": "play", "target": made_up.stream_name(0)}
    since, until = (moment.strftime("%Y-%m-%dT%H:%M") for moment in (middle - timedelta(days=7), middle))
    return found | {
        "an event": f"{log}{some.pk}/change/",
        "decide it again: of half a year ago": f"{log}{decided.pk}/as-of/",
        "decide it again: of yesterday": f"{log}{newest.filter(method='playStream').first().pk}/as-of/",
        "who can": f"/admin/access/who-can/?{urlencode(who)}",
        "export, its first piece": f"{log}export/?{urlencode({'format': 'csv'})}",
        "export of the busiest user, its first piece": f"{log}export/?{urlencode({'q': searches['the busiest user']})}",
        "story of a session": f"/admin/stories/session/?{urlencode(of_session)}",
        "story of a stream: the busiest, a week": "/admin/stories/stream/?"
        + urlencode({"name": made_up.stream_name(0), "last": "", "since": since, "until": until}),
        "story of a stream: the busiest, 30 days": "/admin/stories/stream/?"
        + urlencode({"name": made_up.stream_name(0), "last": "30d"}),
        "story of a stream: some, 30 days": f"/admin/stories/stream/?{urlencode({'name': some.target, 'last': '30d'})}",
        "story of a call": f"/admin/stories/call/?{urlencode({'node': call.node_id, 'call': call.call_id})}",
        "story of a user: the busiest": f"/admin/stories/user/?{urlencode({'name': made_up.username(0)})}",
        "story of a user: some": f"/admin/stories/user/?{urlencode({'name': some.username})}",
        "statistics: a year": "/admin/audit/statistics/?period=365d",
        "statistics of one app: a year": f"/admin/audit/statistics/?period=365d&app={made_up.APPS[1]}",
        "statistics: 30 days": "/admin/audit/statistics/?period=30d",
        "exports": "/admin/audit/export/",
        "hooks that are missing": "/admin/audit/missing/",
        "sessions": "/admin/connections/session/",
        "running": "/admin/live/lease/",
        "dashboard": "/admin/",
        "feed, its first piece": "/api/v1/audit",
    }


OF_A_MONTH = (
    *("the busiest user", "some user", "the busiest stream", "some stream", "the busiest number", "some address"),
    *("a network", "a session", "a common reason", "a rare reason", "what was refused", "a method that never came"),
)
TIMELINES = ("the busiest user", "some stream", "what was refused", "a rare reason")
