"""Rules to look at: those with which something is wrong, what it is, and what to do."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.access.lint import Finding
from apps.access.models import Rule
from apps.access.rules_to_look_at import look_at
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import list_of, page_of

SHOWN = 100
"""Findings on one page."""


def rules_to_look_at(request: HttpRequest) -> HttpResponse:
    """A page of findings, in the order of the rules. What the viewer may not see is left out."""
    if not may_open(request.user, "rules_to_look_at"):
        raise PermissionDenied
    after = request.GET.get("after", "")
    after = int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0
    look = look_at(timezone.now(), after, most=SHOWN)
    context = {
        **admin.site.each_context(request),
        "title": "Rules to look at",
        "entries": _entries(request, look.findings),
        "looked_at": look.looked_at,
        "first": not after,
        "next_after": look.next_after,
    }
    return TemplateResponse(request, "admin/access/rules_to_look_at.html", context)


def _entries(request: HttpRequest, findings: list[Finding]) -> list[dict]:
    ids = {finding.rule_id for finding in findings} | {finding.other_id for finding in findings if finding.other_id}
    rules = Rule.objects.with_names().in_bulk(ids)
    entries: dict[int, dict] = {}
    for finding in findings:
        rule = rules.get(finding.rule_id)
        if rule is not None and may_see(request.user, list_of(rule)):
            entry = entries.setdefault(
                rule.pk, {"rule": rule, "url": page_of(request, list_of(rule), rule.pk), "findings": []}
            )
            other = rules.get(finding.other_id or 0)
            url = page_of(request, list_of(other), other.pk) if other else ""
            entry["findings"].append({"finding": finding, "other": other if url else None, "other_url": url})
    return list(entries.values())
