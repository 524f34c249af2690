"""Who: users and their tokens. Groups are in group_admin.py.

Two things here keep staff from raising themselves: only a superuser changes accounts of staff (`may_manage`) and
what groups they are in, and only a superuser changes groups that carry permissions of the admin (`may_fill`).
"""

from datetime import datetime

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.accounts import group_admin, key_admin, revocation_admin  # noqa: F401 - each registers its pages
from apps.accounts.forms import NewUserForm, TokenForm, UserForm, may_issue, may_manage
from apps.accounts.issued_admin import IssuedAdmin
from apps.accounts.models import Token, User
from apps.accounts.pages import (
    LINES_SHOWN,
    Line,
    Section,
    StaffAdmin,
    link_to_add,
    link_to_list,
    link_to_page,
    note_changes,
    page_of,
    person_url,
    rules_section,
)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, StaffAdmin):
    form = UserForm
    add_form = NewUserForm
    add_form_template = None
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "card", "full_name", "kind", "in_groups", "is_active", "last_login")
    list_filter = ("is_active", "is_staff", "groups")
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = "Search by name or e-mail"
    ordering = ("username",)
    actions = ("deactivate", "activate", "log_out")
    filter_horizontal = ()
    readonly_fields = (
        "password_set",
        "password_to_change",
        "own_password",
        "last_login",
        "date_joined",
        "revoked_before",
    )
    add_fieldsets = (
        (
            None,
            {
                "fields": ("username", "usable_password", "password1", "password2"),
                "description": "For a person or a device that connects, or for a colleague. "
                "Tokens, groups and the rest come on the next page.",
            },
        ),
    )
    fieldsets = (
        (None, {"fields": ("username", "password_set", "is_active", "revoked_before")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "groups")}),
        (
            "Staff",
            {
                "fields": ("is_staff", "is_superuser", "last_login", "date_joined"),
                "description": "Staff may log in here, and see what their groups permit. Superusers may do everything.",
            },
        ),
    )
    empty_hint = "Add the people and devices that connect through WCS. Then give them tokens, and rules."

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("groups")

    @display(description="Help desk")
    def card(self, user: User) -> str:
        label = f"Help desk: {user.username}"
        return format_html('<a href="{}" aria-label="{}">Card</a>', person_url(user.username), label)

    @display(description="Name", ordering="first_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @display(description="Is", label={"superuser": "danger", "staff": "info", "client": "default"})
    def kind(self, user: User) -> str:
        return "superuser" if user.is_superuser else "staff" if user.is_staff else "client"

    @display(description="Groups")
    def in_groups(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())

    @display(description="Password")
    def password_set(self, user: User) -> str:
        return "Set." if user.has_usable_password() else "None: only tokens let this user in."

    @display(description="Password")
    def password_to_change(self, user: User) -> str:
        return format_html('{} <a class="text-link" href="../password/">Change it here</a>', self.password_set(user))

    @display(description="Password")
    def own_password(self, user: User) -> str:
        address = reverse("admin:password_change")
        return format_html('{} <a class="text-link" href="{}">Change it here</a>', self.password_set(user), address)

    def get_fieldsets(self, request, obj=None):
        """With the link to change the password that leads somewhere, if any does."""
        fieldsets = super().get_fieldsets(request, obj)
        if not obj:
            return fieldsets
        may_change = "password_to_change" if self.has_change_permission(request, obj) else "password_set"
        shown = "own_password" if obj == request.user else may_change
        return [
            (title, {**options, "fields": [shown if name == "password_set" else name for name in options["fields"]]})
            for title, options in fieldsets
        ]

    def has_change_permission(self, request, obj=None):
        return super().has_change_permission(request, obj) and (obj is None or may_manage(request.user, obj))

    def has_delete_permission(self, request, obj=None):
        """Staff are deactivated, never deleted: what they did in the admin would vanish with them."""
        return super().has_delete_permission(request, obj) and not (obj and (obj.is_staff or obj.is_superuser))

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        if not request.user.is_superuser:
            return (*fields, "is_staff", "is_superuser")
        return (*fields, "is_active", "is_staff", "is_superuser") if obj == request.user else fields

    def formfield_for_manytomany(self, db_field, request, **kwargs):
        if db_field.name == "groups":
            kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
            kwargs["help_text"] = "Rules can be about a group; groups of staff also carry permissions."
            kwargs["queryset"] = Group.objects.order_by("name")
            if not request.user.is_superuser:
                kwargs["queryset"] = kwargs["queryset"].filter(permissions=None)
                kwargs["help_text"] = "Rules can be about a group. Only superusers assign groups of staff."
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_related(self, request, form, formsets, change):
        """Keep the groups that the form did not offer."""
        user = form.instance
        kept = [] if request.user.is_superuser else list(user.groups.exclude(permissions=None).distinct())
        super().save_related(request, form, formsets, change)
        user.groups.add(*kept)

    def stories(self, request, obj):
        text = "Help desk: what works right now, and why not"
        return link_to_page(request, "story_user", text, name=obj.username)

    def sections(self, request, obj):
        tokens = obj.tokens.with_revoked().order_by("-pk")[:LINES_SHOWN]
        sessions = obj.sessions.filter(ended_at=None).order_by("-opened_at")[:LINES_SHOWN]
        issues = may_issue(request.user, obj)
        yield Section(
            "Tokens",
            tuple(Line(token.label, page_of(request, "accounts.token", token.pk), state(token)) for token in tokens),
            "None. A token is how a device or a person comes in without a password.",
            (
                *(link_to_add(request, "accounts.token", "Issue a token", user=obj.pk) if issues else ()),
                *(link_to_list(request, "accounts.apikey", "API keys", q=obj.username) if obj.is_staff else ()),
            ),
        )
        yield self._sip_section(request, obj)
        yield rules_section(request, "Rules about this user", obj.rules, who="user", user=obj.pk)
        if links := link_to_page(
            request, "what_can", "Everything they can do, by which rules", who="user", name=obj.username
        ):
            yield Section("What can they do?", links=links)
        yield Section(
            "Connected now",
            tuple(
                Line(
                    f"{session}, since {moment_text(session.opened_at)}",
                    page_of(request, "connections.session", session.pk),
                )
                for session in sessions
            ),
            "Not connected.",
            link_to_list(request, "audit.auditevent", "What this user did", username=obj.username),
        )

    def _sip_section(self, request, obj):
        """The account that the user gets at connect; it is kept where connections are."""
        account = getattr(obj, "sip_account", None)
        return Section(
            "SIP account",
            (Line(str(account), page_of(request, "connections.sipaccount", account.pk)),) if account else (),
            "None: the user calls with what the page sends.",
            () if account else link_to_add(request, "connections.sipaccount", "Give one", user=obj.pk),
        )

    @admin.action(description="Deactivate", permissions=["change"])
    def deactivate(self, request, queryset):
        self._switch(request, queryset, False)

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request, queryset):
        self._switch(request, queryset, True)

    @admin.action(description="Log out everywhere: revoke all that was issued so far", permissions=["change"])
    def log_out(self, request, queryset):
        """Tokens, signed tokens, links made and sessions opened so far are worth nothing, also in the admin."""
        users = [user for user in queryset if may_issue(request.user, user)]
        User.objects.filter(pk__in=[user.pk for user in users]).update(revoked_before=timezone.now())
        note_changes(request, users, "Logged out everywhere.")
        self.message_user(request, f"Logged out everywhere: {len(users)}. They need new tokens.", messages.SUCCESS)
        if left := queryset.count() - len(users):
            text = f"Left as they are: {left}. Only superusers log staff out."
            self.message_user(request, text, messages.WARNING)

    def _switch(self, request: HttpRequest, users, on: bool) -> None:
        chosen = users.count()
        users = users.exclude(pk=request.user.pk)
        if not request.user.is_superuser:
            users = users.filter(is_staff=False, is_superuser=False)
        changed = list(users.exclude(is_active=on))
        User.objects.filter(pk__in=[user.pk for user in changed]).update(is_active=on)
        word = "Activated" if on else "Deactivated"
        note_changes(request, changed, f"{word}.")
        self.message_user(request, f"{word}: {len(changed)}.", messages.SUCCESS)
        if left := chosen - users.count():
            self.message_user(
                request,
                f"Left as they are: {left}. Nobody switches themselves, and only superusers switch staff.",
                messages.WARNING,
            )


def moment_text(moment: datetime | None) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else ""


def state(token: Token) -> str:
    """What a line says about a token, which was read with whether it is revoked."""
    expires, used = moment_text(token.expires_at), moment_text(token.last_used_at)
    if token.revoked:
        return "revoked"
    if token.expires_at and token.expires_at <= timezone.now():
        return f"expired on {expires}"
    if token.used_at:
        return f"used up on {moment_text(token.used_at)}"
    used = f"last used {used}" if used else "never used"
    used = f"for single use, {used}" if token.single_use else used
    until = f"until {expires}" if expires else "does not expire"
    return f"{used}, {until}"


@admin.register(Token)
class TokenAdmin(IssuedAdmin):
    form = TokenForm
    list_display = ("label", "user", "works", "limits", "expires_at", "last_used_at")
    readonly_fields = ("created_at", "last_used_at", "used_at", "used_session_id")
    fieldsets = (
        (None, {"fields": ("user", "label", "expires_at", "single_use", "created_at", "last_used_at")}),
        (
            "Limits",
            {
                "fields": ("networks", "origins", "streams", "actions"),
                "description": "A token without limits may do whatever its user may do. "
                "Limits only narrow that; they grant nothing.",
            },
        ),
    )
    empty_hint = (
        "A token lets a device or a person in without a password. Issue one for a user; "
        "it is shown once, and the client sends it when it connects."
    )

    how = format_html(
        "The client sends it when it connects, as the member of <code>custom</code> that its app names, for example: "
        "<code>{}</code>.",
        'custom: {token: "…"}',
    )

    @display(description="Limited to")
    def limits(self, token: Token) -> str:
        parts = (token.networks, token.origins, token.streams, token.actions)
        return "; ".join(", ".join(part) for part in parts if part) or "no limits"

    def get_fieldsets(self, request, obj=None):
        first = ("user", "label", "expires_at", "single_use")
        if obj:
            use = ("used_at", "used_session_id") if obj.single_use else ()
            first = (*first, "created_at", "last_used_at", *use)
        return ((None, {"fields": first}), *self.fieldsets[1:])
