"""The page of the search box in the head of the admin."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from apps.audit.asking.ask import find_named, words_of
from apps.audit.asking.ask_questions import section_of_everything, sections_about, sections_of_names


def ask(request: HttpRequest) -> HttpResponse:
    """What was named, the questions about it, and those that need no name. Everybody sees what they may see."""
    asked = request.GET.get("q", "")
    named = find_named(asked, request.user)
    context = {
        **admin.site.each_context(request),
        "title": "Ask",
        "asked": asked,
        "nothing": bool(asked.strip()) and named.nothing,
        "sections": [
            *sections_about(request, named),
            *sections_of_names(request, named.names or words_of(asked)[:1]),
            section_of_everything(request),
        ],
    }
    return TemplateResponse(request, "admin/ask.html", context)
