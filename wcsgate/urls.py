"""Addresses."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from apps.access.file_page import access_file
from apps.access.lint_page import rules_to_look_at
from apps.access.pages import try_hook
from apps.access.preset_page import add_from_preset
from apps.access.what_can_page import what_can, what_can_file
from apps.access.who_can_page import who_can, who_can_file
from apps.audit.asking.ask_page import ask
from apps.audit.asking.past import ask_then
from apps.audit.exporting.api import AuditFeed
from apps.audit.missing.gaps_page import missing_hooks
from apps.audit.statistics.page import statistics, statistics_file
from apps.audit.stories.call_page import story_of_call
from apps.audit.stories.person_page import story_of_user
from apps.audit.stories.session_page import story_of_session
from apps.audit.stories.stream_page import story_of_stream
from apps.hooks import health

WITH_THE_PAST = {"ask_then": ask_then}
"""What pages of access are given that the audit log knows."""

handler403 = "apps.accounts.closed_pages.forbidden"
handler404 = "apps.accounts.closed_pages.not_found"
handler500 = "wcsgate.problems.failed"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/ask/", admin.site.admin_view(ask), name="ask"),
    path("admin/access/try/", admin.site.admin_view(try_hook), name="try_hook"),
    path("admin/access/file/", admin.site.admin_view(access_file), name="access_file"),
    path("admin/access/who-can/", admin.site.admin_view(who_can), WITH_THE_PAST, name="who_can"),
    path("admin/access/who-can/file/", admin.site.admin_view(who_can_file), WITH_THE_PAST, name="who_can_file"),
    path("admin/access/what-can/", admin.site.admin_view(what_can), WITH_THE_PAST, name="what_can"),
    path(
        "admin/access/what-can/file/",
        admin.site.admin_view(what_can_file),
        WITH_THE_PAST,
        name="what_can_file",
    ),
    path("admin/access/presets/", admin.site.admin_view(add_from_preset), name="presets"),
    path("admin/access/rules/", admin.site.admin_view(rules_to_look_at), name="rules_to_look_at"),
    path("admin/stories/session/", admin.site.admin_view(story_of_session), name="story_session"),
    path("admin/stories/stream/", admin.site.admin_view(story_of_stream), name="story_stream"),
    path("admin/stories/call/", admin.site.admin_view(story_of_call), name="story_call"),
    path("admin/stories/user/", admin.site.admin_view(story_of_user), name="story_user"),
    path("admin/audit/missing/", admin.site.admin_view(missing_hooks), name="missing_hooks"),
    path("admin/audit/statistics/", admin.site.admin_view(statistics), name="statistics"),
    path("admin/audit/statistics/file/", admin.site.admin_view(statistics_file), name="statistics_file"),
    path("admin/", admin.site.urls),
    path("hooks/", include("apps.hooks.urls")),
    path("api/v1/audit", AuditFeed.as_view(), name="audit_feed"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]
