"""Import and export in the admin: a file is looked at first, and taken in when somebody has seen what it would change.

Between the two, the file is in the page itself, sealed: it may hold secrets, and nothing of it comes to rest anywhere.
"""

import base64
import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldBooleanWidget

from apps.access.acts import note
from apps.access.file_problems import AccessFileError
from apps.access.files import EXPORTED, Imported, export_access, export_sheets, import_access
from apps.connections.sealing import CannotUnseal, seal, unseal

MAX_BYTES = 1024 * 1024
"""Bytes of a file that the page takes; `manage.py import_access` takes larger ones."""

SPREADSHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SEALED = "access-file"
"""What the sealed file begins with: other secrets are sealed under the same key."""

LINES_SHOWN = 500


class UploadForm(forms.Form):
    """A file to look at."""

    file = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget({"accept": ".yaml,.yml,.json,.xlsx"}),
        help_text="YAML, JSON or a spreadsheet (.xlsx), as the export writes it.",
        error_messages={"required": "Choose a file."},
    )
    replace = forms.BooleanField(
        label="Remove rules that the file does not have",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="The file is then the whole truth for rules. Nothing but rules is ever removed.",
    )

    def clean_file(self):
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            raise ValidationError("It has more than 1 MB. Use “manage.py import_access” on the server.")
        return file


@sensitive_post_parameters("sealed")
def access_file(request: HttpRequest) -> HttpResponse:
    """The page, for superusers: a file can change every user and every secret."""
    if not request.user.is_superuser:
        raise PermissionDenied
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Import and export", "form": UploadForm()}
    match request.POST.get("do"):
        case "export-yaml":
            return _download(request, export_access().encode(), "access.yaml", "application/yaml")
        case "export-sheet":
            return _download(request, export_sheets(), "access.xlsx", SPREADSHEET)
        case "look":
            context["form"] = form = UploadForm(request.POST, request.FILES)
            if form.is_valid():
                content, replace = form.cleaned_data["file"].read(), form.cleaned_data["replace"]
                context |= _looked(request, content, replace=replace)
        case "import":
            context |= _imported(request)
    response = TemplateResponse(request, "admin/access/file.html", context)
    add_never_cache_headers(response)
    return response


def _looked(request: HttpRequest, content: bytes, *, replace: bool) -> dict[str, Any]:
    """What importing would change, and the sealed file to go on with."""
    imported, problems = _try(content, replace=replace, dry_run=True)
    if imported is None:
        return {"problems": problems}
    sealed = {"user": request.user.pk, "replace": replace, "content": base64.b64encode(content).decode()}
    return {"preview": _shown(imported), "sealed": seal(f"{SEALED}:{json.dumps({**sealed, 'lines': imported.lines})}")}


def _imported(request: HttpRequest) -> dict[str, Any]:
    """Import what was looked at; where it would change something else by now, show that instead."""
    try:
        kind, _, looked = unseal(request.POST.get("sealed", "")).partition(":")
    except CannotUnseal:
        kind = ""
    if kind != SEALED:
        return {"problems": ["This page is too old. Choose the file again."]}
    looked = json.loads(looked)
    if looked["user"] != request.user.pk:
        raise PermissionDenied
    content = base64.b64decode(looked["content"])
    imported, problems = _try(content, replace=looked["replace"], dry_run=True)
    if imported is not None and imported.lines != looked["lines"]:
        changed = "Somebody changed access meanwhile, so this is what the file would change now. Nothing was imported."
        return {"problems": [changed], **_looked(request, content, replace=looked["replace"])}
    if imported is not None:
        imported, problems = _try(content, replace=looked["replace"], dry_run=False)
    return {"done": _shown(imported)} if imported is not None else {"problems": problems}


def _try(content: bytes, *, replace: bool, dry_run: bool) -> tuple[Imported | None, list[str]]:
    try:
        return import_access(content, replace=replace, dry_run=dry_run), []
    except AccessFileError as error:
        return None, error.problems
    except UnicodeDecodeError:
        return None, ["the file: is neither a spreadsheet nor text in UTF-8."]
    except IntegrityError:
        return None, ["Somebody else changed the same things meanwhile. Choose the file again."]


def _shown(imported: Imported) -> dict[str, Any]:
    return {
        "summary": imported.summary,
        "lines": imported.lines[:LINES_SHOWN],
        "more": max(0, len(imported.lines) - LINES_SHOWN),
    }


def _download(request: HttpRequest, content: bytes, name: str, content_type: str) -> HttpResponse:
    note(request, "export", EXPORTED, told=f"As {name}")
    name = f"{timezone.localdate():%Y-%m-%d}-{name}"
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    response = HttpResponse(content, content_type=content_type, headers=disposition)
    add_never_cache_headers(response)
    return response
