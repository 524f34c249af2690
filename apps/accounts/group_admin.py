"""Groups: they sort people for rules, or they are roles of staff and carry permissions of the admin."""

from operator import attrgetter

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.forms.formsets import DELETION_FIELD_NAME
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.accounts.forms import may_manage
from apps.accounts.models import User
from apps.accounts.pages import Section, StaffAdmin, link_to_page, rules_section


def may_fill(request: HttpRequest, group: Group | None) -> bool:
    """Superusers change every group and who is in it; other staff only groups without permissions."""
    return request.user.is_superuser or group is None or not group.permissions.exists()


class Memberships(PaginationInlineFormSet):
    """Who is in a group. Staff are put in and taken out by superusers only: its rules, denies too, are about them."""

    def add_fields(self, form, index):
        super().add_fields(form, index)
        if self.can_delete and form.instance.pk and not may_manage(self.request.user, form.instance.user):
            form.fields[DELETION_FIELD_NAME].disabled = True

    def clean(self):
        super().clean()
        for form in self.extra_forms:
            user = form.cleaned_data.get("user")
            if user and not may_manage(self.request.user, user):
                form.add_error("user", "Only a superuser puts staff into groups.")


class MembershipInline(TabularInline):
    """Who is in a group. Of a role of staff, only a superuser changes it."""

    model = User.groups.through
    formset = Memberships
    verbose_name = "member"
    verbose_name_plural = "members"
    autocomplete_fields = ("user",)
    extra = 0
    per_page = 50
    hide_title = True

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("user").order_by("user__username")

    def has_add_permission(self, request, obj=None):
        return super().has_add_permission(request, obj) and may_fill(request, obj)

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return super().has_delete_permission(request, obj) and may_fill(request, obj)


def _membership(row) -> str:
    return f"{row.user} in {row.group}"


User.groups.through.__str__ = _membership  # Django makes this model by itself, and pages to delete list its rows
User.groups.through._meta.verbose_name, User.groups.through._meta.verbose_name_plural = "membership", "memberships"

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, StaffAdmin):
    inlines = (MembershipInline,)
    list_display = ("name", "purpose")
    search_fields = ("name",)
    filter_horizontal = ()
    empty_hint = "Groups sort people, so that one rule can be about all of them; or they give staff their permissions."

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("permissions")

    @display(description="Is", label={"role of staff": "info", "for rules": "default"})
    def purpose(self, group: Group) -> str:
        return "role of staff" if group.permissions.all() else "for rules"

    def get_fieldsets(self, request, obj=None):
        for_roles = (
            "Staff permissions",
            {
                "fields": ("permissions",),
                "classes": ("collapse",),
                "description": "What members who are staff may do in this admin. Leave empty for a group that only "
                "sorts people for rules. An auditor needs “Can view audit event” and nothing else.",
            },
        )
        return ((None, {"fields": ("name",)}), *((for_roles,) if request.user.is_superuser else ()))

    def formfield_for_manytomany(self, db_field, request, **kwargs):
        """The permissions that open a page here, by their names alone."""
        pages = ContentType.objects.get_for_models(*self.admin_site._registry, for_concrete_models=False)
        kwargs["queryset"] = Permission.objects.filter(content_type__in=pages.values()).order_by(
            "content_type__app_label", "content_type__model", "codename"
        )
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        field = StaffAdmin.formfield_for_manytomany(self, db_field, request, **kwargs)
        field.label_from_instance = attrgetter("name")
        return field

    def has_change_permission(self, request, obj=None):
        return super().has_change_permission(request, obj) and may_fill(request, obj)

    def has_delete_permission(self, request, obj=None):
        """With a group its memberships go, which are the superusers' to change where they are those of staff."""
        return super().has_delete_permission(request, obj) and may_fill(request, obj) and _may_empty(request, obj)

    def sections(self, request, obj):
        yield rules_section(request, "Rules about this group", obj.rules, who="group", group=obj.pk)
        if links := link_to_page(
            request, "what_can", "Everything a member can do, by which rules", who="group", name=obj.name
        ):
            yield Section("What can its members do?", links=links)


def _may_empty(request: HttpRequest, group: Group | None) -> bool:
    staff = Q(is_staff=True) | Q(is_superuser=True)
    return request.user.is_superuser or group is None or not group.user_set.filter(staff).exists()
