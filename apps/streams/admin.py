"""What: streams that staff know by name."""

from django.contrib import admin

from apps.accounts.pages import Section, StaffAdmin, link_to_list, link_to_page, rules_section
from apps.streams.models import Stream, StreamGroup


@admin.register(Stream)
class StreamAdmin(StaffAdmin):
    list_display = ("name", "owner", "note")
    list_select_related = ("owner",)
    search_fields = ("name", "note")
    search_help_text = "Search by name or note"
    ordering = ("name",)
    autocomplete_fields = ("owner",)
    filter_horizontal = ("groups",)
    fields = ("name", "owner", "source", "groups", "max_publishers", "max_viewers", "note")
    empty_hint = (
        "Streams need no entry here to be published or played. Add one to give it an owner, or to choose it in rules."
    )

    def stories(self, request, obj):
        return link_to_page(request, "story_stream", "Its story: who published and watched it", name=obj.name)

    def sections(self, request, obj):
        yield rules_section(request, "Rules about this stream", obj.rules, target_kind="stream", stream=obj.pk)
        links = (
            *link_to_page(request, "who_can", "Who can play it?", action="play", target=obj.name),
            *link_to_page(request, "who_can", "Who can publish it?", action="publish", target=obj.name),
        )
        if links:
            yield Section("Who can?", links=links)
        yield Section(
            "What happened",
            links=link_to_list(request, "audit.auditevent", "Hooks about this stream", target=obj.name),
        )


@admin.register(StreamGroup)
class StreamGroupAdmin(StaffAdmin):
    list_display = ("name", "note")
    search_fields = ("name", "note")
    search_help_text = "Search by name or note"
    ordering = ("name",)
    empty_hint = "A stream group lets one rule be about many streams, for example “doors”."

    def sections(self, request, obj):
        yield rules_section(
            request, "Rules about this group", obj.rules, target_kind="stream-group", stream_group=obj.pk
        )
