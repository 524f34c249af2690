"""Exports in the background: asked for beside the direct one, watched, fetched, deleted. Everybody sees their own."""

import re

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from unfold.decorators import display

from apps.access.acts import note
from apps.accounts.navigation import may_see
from apps.accounts.pages import ReadOnlyAdmin
from apps.audit.browsing.asked import BadSearch
from apps.audit.exporting.export import CSV, FORMATS, JSON_LINES, RESUME
from apps.audit.exporting.exports import TooMany, ask, delete, file_of
from apps.audit.exporting.models import Export, State

LIST = "admin:audit_export_changelist"
KINDS = {CSV: "CSV", JSON_LINES: "JSON Lines"}
FROM_BYTE = re.compile(r"bytes=(\d{1,18})-", re.ASCII)


def asked_in(request: HttpRequest) -> tuple[str, str, str]:
    """What an address asks to be exported: the search, the format, and the place to go on after."""
    search = request.GET.copy()
    kind, after = (search.pop(name, [""])[-1] for name in ("format", RESUME))
    return search.urlencode(), kind if kind in FORMATS else CSV, after


def as_file(body, name: str, content_type: str, **headers) -> StreamingHttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(body, content_type=content_type, headers={**disposition, **headers})


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    list_display = ("what", "by", "asked_at", "how_far", "rows_so_far", "size", "file")
    list_display_links = None
    list_before_template = "admin/exports.html"
    list_select_related = False
    ordering = ("-made_at", "-id")
    sortable_by = ()
    actions = ("delete_them",)
    fields = ("what", "by", "asked_at", "how_far", "rows_so_far", "size", "file")
    readonly_fields = fields
    empty_hint = (
        "Exports of the audit log that are written in the background. There is none: search the audit log for what you "
        "need, and choose “in the background” there."
    )

    class Media:
        js = ("wcsgate/exports.js",)

    def has_view_permission(self, request, obj=None) -> bool:
        return may_see(request.user, "audit.auditevent")

    def has_module_permission(self, request) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request):
        """One's own; all of them for superusers."""
        exports = super().get_queryset(request)
        return exports if request.user.is_superuser else exports.filter(made_by=request.user)

    def get_urls(self):
        view = self.admin_site.admin_view
        return [
            path("ask/", view(require_POST(self.ask_view)), name="audit_export_ask"),
            path("<uuid:pk>/file/", view(self.file_view), name="audit_export_file"),
            *super().get_urls(),
        ]

    def ask_view(self, request):
        """Have what the list would show written in the background."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        search, kind, _after = asked_in(request)
        try:
            with transaction.atomic():
                export = ask(request.user, search, kind, timezone.now())
                told = f"In the background, as {KINDS[kind]}: {export.words}"
                note(request, "export", "the audit log", told=told, search=search, export=str(export.pk))
        except BadSearch as error:
            return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
        except TooMany as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "It is being written. You may leave this page.")
        return HttpResponseRedirect(reverse(LIST))

    def file_view(self, request, pk):
        """The file, from a byte on if a download broke off there; and a note of who took it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        export = get_object_or_404(self.get_queryset(request), pk=pk)
        if export.state != State.READY or not export.is_whole:
            messages.error(request, "This file is not there, or not yet. If it is ready, ask for the export again.")
            return HttpResponseRedirect(reverse(LIST))
        _note(request, "download", export)
        first = _first_byte(request, export)
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{export.pk}"', "Content-Length": str(export.bytes - first)}
        response = as_file(file_of(export, first), export.file_name, FORMATS[export.format].content_type, **headers)
        if first:
            response.status_code = 206
            response["Content-Range"] = f"bytes {first}-{export.bytes - 1}/{export.bytes}"
        return response

    @admin.action(description="Delete, and stop what is not ready", permissions=["view"])
    def delete_them(self, request, queryset):
        with transaction.atomic():
            for export in queryset:
                _note(request, "delete-export", export)
            deleted = delete(queryset)
        messages.success(request, f"Deleted: {deleted}.")

    @display(description="What")
    def what(self, export: Export) -> str:
        address = f"{reverse('admin:audit_auditevent_changelist')}?{export.asked}"
        return format_html('<a href="{}">{}</a>', address, export.words)

    @display(description="Asked for by")
    def by(self, export: Export) -> str:
        return export.made_by_name

    @display(description="At")
    def asked_at(self, export: Export) -> str:
        return f"{timezone.localtime(export.made_at):%Y-%m-%d %H:%M}"

    @display(description="State")
    def how_far(self, export: Export) -> str:
        return _live(export, "state", _state(export))

    @display(description="Rows")
    def rows_so_far(self, export: Export) -> str:
        return _live(export, "rows", f"{export.rows:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"))

    @display(description="Size")
    def size(self, export: Export) -> str:
        return _live(export, "size", filesizeformat(export.bytes))

    @display(description="File")
    def file(self, export: Export) -> str:
        if export.state != State.READY:
            return _live(export, "file", "")
        link = format_html(
            '<a href="{}" aria-label="Download {}">Download {}</a>',
            reverse("admin:audit_export_file", args=[export.pk]),
            export.file_name,
            KINDS[export.format],
        )
        until = f"until {timezone.localtime(export.gone_at):%Y-%m-%d %H:%M}"
        return _live(export, "file", format_html('{}<span class="block text-xs">{}</span>', link, until))


def _note(request: HttpRequest, action: str, export: Export) -> None:
    told = f"{export.words} Asked for by {export.made_by_name} at {timezone.localtime(export.made_at):%Y-%m-%d %H:%M}"
    note(request, action, "an export of the audit log", told=told, search=export.asked, export=str(export.pk))


def _live(export: Export, cell: str, content) -> str:
    """What the page brings up to date while exports are being written."""
    unfinished = "data-unfinished" if export.is_unfinished else ""
    return format_html('<div data-live="{}-{}" {}>{}</div>', export.pk, cell, unfinished, content)


def _state(export: Export) -> str:
    if export.state == State.FAILED:
        return format_html("<strong>failed.</strong> {}", export.problem)
    if export.state == State.READY:
        return "ready"
    return format_html(
        '<progress class="wcsgate-bar" max="100" value="{0}" aria-label="Written">{0} %</progress> {1}',
        export.percent,
        "waits for a worker" if export.state == State.WAITING else f"{export.percent} %",
    )


def _first_byte(request: HttpRequest, export: Export) -> int:
    """Where a download is to go on, of this very file; any other wish for a part is answered with the whole."""
    asked = FROM_BYTE.fullmatch(request.headers.get("Range", ""))
    same = request.headers.get("If-Range", f'"{export.pk}"') == f'"{export.pk}"'
    first = int(asked[1]) if asked and same else 0
    return first if first < export.bytes else 0
