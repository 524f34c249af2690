"""import_access and export_access, as people use them."""

import io
import json
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.files import export_access, import_access
from apps.access.models import AccessRevision, NumberClass, Rule, Schedule
from apps.accounts.hashing import hash_token
from apps.accounts.models import Revocation, Token, User
from apps.connections.models import App, Node, SipAccount, TokenIssuer
from apps.connections.sealing import seal, unseal
from apps.protocol.methods import ACTIONS
from apps.streams.models import Stream, StreamGroup, StreamLink
from tests.access.signed import KEY_SET
from tests.factories import make_app, make_link, make_node, make_rule, make_stream, make_token, make_user

pytestmark = pytest.mark.django_db

EXAMPLE = """
groups: [teachers]
users:
  - {username: teacher1, password: s3cret, groups: [teachers], active: true,
     tokens: [{label: laptop, token: tok-teacher1, expires: 2030-01-01T00:00:00Z, networks: [10.0.0.0/8]}]}
apps:
  - {key: defaultApp, guests: false, hook_user: wcs, hook_password: hook-secret, networks: [127.0.0.0/8], rest_started: false}
nodes:
  - {node_id: "Hw47@192.168.1.101", name: edge-1, secrets: [sig-secret]}
streams:
  - {name: lobby, owner: teacher1, source: "rtsp://10.0.0.5/live.sdp"}
rules:
  - {effect: allow, who: {group: teachers}, actions: [publish, play], target: {glob: "lesson-*"},
     from: 2026-01-01T00:00:00Z, until: 2030-01-01T00:00:00Z, enforced: true, note: "teachers teach"}
  - {effect: allow, who: everyone, actions: [connect], target: any}
  - {effect: deny, who: {user: viewer7}, actions: [call], target: {prefix: "00"}}
  - {effect: allow, who: guests, actions: [play], target: {stream: lobby}}
"""  # noqa: E501 - as in the documentation
SECRETS = ("s3cret", "tok-teacher1", "hook-secret", "sig-secret")

EVERYTHING = """
groups: [nobody]
users:
  - {username: ada, password: "p w", first_name: Ada, last_name: Λ, email: ada@example.org, staff: true,
     groups: [b, a],
     tokens: [{label: phone, token: one, origins: ["https://example.org"], streams: [lobby], actions: [play]},
              {label: "007", token_hash: "%s", expires: 2031-02-03 04:05:06.789+02:00}]}
  - {username: "12", active: false}
apps: [{key: "0x1F", token_name: aclAuth, note: "yes", guests: true, rest_started: true, hook_user: "~"}]
nodes:
  - {node_id: "n:1", secrets: [new, old], networks: ["2001:db8::/32"], api_url: "http://10.0.0.5:8081/rest-api",
     api_user: gate, api_password: api-secret}
sip_accounts:
  - {user: ada, login: "10007", password: sip-secret, domain: sip.example.com, port: 5080, register: false}
stream_groups: [{name: doors, note: "all of them"}, {name: "0"}]
streams: [{name: "a # b", note: "*", groups: [doors, "0"], max_viewers: 7}, {name: "\\U0001F600", max_publishers: 1}]
schedules:
  - {name: office, time_zone: Europe/Berlin, windows: ["Mon-Fri 08:00-18:00"], holidays: [2026-12-25, 2026-01-01]}
number_classes:
  - {name: help, prefixes: ["113"], whole: true, protected: true}
  - {name: inside, short: 4}
rules:
  - {effect: allow, who: everyone, actions: [call], target: {number_class: inside}, during: office,
     limits: {per: user, at_once: 2, minutes_per_day: 60, overflow: end-oldest}, changes: {callee: "+4930"}}
  - {effect: deny, who: guests, actions: [call], target: {number_prefix: "+49 900"}}
  - {effect: allow, who: guests, actions: [publish], target: {stream_group: doors}, networks: [10.0.0.0/8],
     origins: ["*.example.org"], media_providers: [WebRTC], apps: [a], nodes: ["n:1"], custom: ["age >= 18"],
     changes: {record: never, max_width: 640}}
  - {effect: deny, who: {user: "12"}, actions: [call], target: {prefix: "0900"}, enforced: false}
  - {effect: deny, who: {user: "12"}, actions: [call], target: {prefix: "0900"}, note: "again, in earnest"}
  - {effect: allow, who: {group: a}, actions: [receive-call, call], target: {exact: "+4930"},
     until: 2030-01-01T00:00:00+14:00}
""" % ("1" * 64)


WAYS_IN = """
users:
  - {username: ada, revoked_before: 2026-01-02T00:00:00Z,
     tokens: [{label: ticket, token: one, single_use: true, issued: 2026-01-03T00:00:00Z, used: 2026-01-04T00:00:00Z}]}
issuers:
  - {issuer: "https://login.example.org/", audience: wcs, algorithms: [HS256, RS256], leeway: 10, accepts_unknown: true,
     secrets: ["shared secret of thirty-two characters"], jwks: 'KEY_SET', jwks_url: "https://login.example.org/keys",
     user_claim: name, groups_claim: realm.roles, streams_claim: streams, actions_claim: scope, note: ours}
  - {issuer: shop, active: false, algorithms: [HS256],
     secrets: ["another secret of 32 characters!", "the one before of 32 characters!"]}
links:
  - {code: a_B-1, label: press, stream: lobby, action: play, until: 2030-01-01T00:00:00Z, made_by: ada}
  - {code: c, label: crew, stream: "00", action: publish, until: 2030-01-01T00:00:00Z, active: false,
     issued: 2026-01-03T00:00:00Z}
revoked_before: 2026-01-01T00:00:00Z
rules: []
""".replace("KEY_SET", KEY_SET)


def revision():
    return AccessRevision.objects.get().revision


def lines(content, **options):
    return import_access(content, **options).lines


def empty():
    others = (StreamLink, Revocation, TokenIssuer)
    for model in (Rule, Schedule, NumberClass, Stream, StreamGroup, *others, Node, App, Token, User, Group):
        model.objects.all().delete()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.yaml"


@pytest.fixture
def problems(path, capsys):
    """Import a file that has problems; gives them, one a line, and makes sure that nothing was changed."""

    def run(content, **options):
        path.write_text(content, encoding="utf-8")
        before, raised = export_access(), revision()
        with pytest.raises(CommandError) as caught:
            call_command("import_access", str(path), **options)
        assert (export_access(), revision()) == (before, raised)
        assert caught.value.returncode == 1
        first, *rest = str(caught.value).split("\n  ")
        assert first.startswith("Nothing was changed.")
        return rest

    return run


# What a file does


def test_the_example_of_the_documentation_on_an_empty_database():
    difference = import_access(EXAMPLE)
    assert difference.lines == [
        "+ group teachers",
        "+ user teacher1",
        "+ token laptop of teacher1",
        "+ app defaultApp",
        "+ node Hw47@192.168.1.101",
        "+ stream lobby",
        "+ rule: Allow group “teachers” to publish and play whatever matches “lesson-*” "
        "from 2026-01-01 00:00 UTC until 2030-01-01 00:00 UTC",
        "+ rule: Allow everyone with an account to connect",
        "! user viewer7 is not known; rules[2].who.user names it, so it is added without any way in",
        "+ user viewer7",
        "+ rule: Deny user “viewer7” to call whatever begins with “00”",
        "+ rule: Allow guests to play stream “lobby”",
    ]
    assert difference.summary == "11 added, 0 changed, 0 removed."

    teacher = User.objects.get(username="teacher1")
    assert teacher.check_password("s3cret")
    assert [group.name for group in teacher.groups.all()] == ["teachers"]
    token = teacher.tokens.get()
    assert (token.token_hash, token.networks) == (hash_token("tok-teacher1"), ["10.0.0.0/8"])
    assert token.expires_at == datetime(2030, 1, 1, tzinfo=UTC)
    app = App.objects.get()
    assert (app.key, app.hook_user, unseal(app.hook_passwords[0])) == ("defaultApp", "wcs", "hook-secret")
    assert [unseal(secret) for secret in Node.objects.get().secrets] == ["sig-secret"]
    assert Stream.objects.get().owner == teacher
    rule = Rule.objects.get(note="teachers teach")
    assert (rule.target_kind, rule.target, rule.actions) == ("glob", "lesson-*", ["publish", "play"])
    assert rule.starts_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert Rule.objects.get(who="guests").stream.name == "lobby"


def test_a_user_that_only_a_rule_names_is_active_and_has_no_way_in():
    import_access(EXAMPLE)
    viewer = User.objects.get(username="viewer7")
    assert (viewer.is_active, viewer.is_staff) == (True, False)
    assert (viewer.has_usable_password(), viewer.tokens.exists()) == (False, False)


def test_a_stream_and_an_owner_that_are_only_named_are_added():
    rule = "{effect: allow, who: everyone, actions: [play], target: {stream: hall}}"
    assert lines(f"streams: [{{name: door, owner: ada}}]\nrules: [{rule}]") == [
        "! user ada is not known; streams[0].owner names it, so it is added without any way in",
        "+ user ada",
        "+ stream door",
        "! stream hall is not known; rules[0].target.stream names it, so it is added",
        "+ stream hall",
        "+ rule: Allow everyone with an account to play stream “hall”",
    ]


@pytest.mark.parametrize("content", [EXAMPLE, EVERYTHING, WAYS_IN])
@pytest.mark.parametrize("replace", [False, True])
def test_importing_twice_changes_nothing(content, replace):
    import_access(content)
    before, raised = export_access(), revision()
    assert lines(content, replace=replace) == []
    assert (export_access(), revision()) == (before, raised)


@pytest.mark.parametrize("content", [EXAMPLE, EVERYTHING, WAYS_IN])
def test_an_export_changes_nothing_where_it_comes_from_and_gives_the_same_elsewhere(content):
    import_access(content)
    exported, raised = export_access(), revision()
    assert lines(exported, replace=True) == []
    assert revision() == raised
    empty()
    import_access(exported)
    assert export_access() == exported


def test_rows_that_no_file_would_make_can_be_exported_and_imported():
    user = make_user(password="secret-1")
    User.objects.filter(pk=user.pk).update(password="")
    User.objects.create(username="bob", password="unknown$hash", is_superuser=True, is_staff=True)
    for note in ("", "a", "a"):
        make_rule("play", "publish", "play", user=user, note=note)
    raised = revision()
    assert lines(export_access(), replace=True) == []
    assert revision() == raised


def test_keys_that_are_not_given_leave_the_value_alone():
    import_access(EVERYTHING)
    before = export_access()
    assert lines("""
        users: [{username: ada, tokens: [{label: phone}]}, {username: "12"}]
        apps: [{key: "0x1F"}]
        nodes: [{node_id: "n:1"}]
        streams: [{name: "a # b"}]
    """) == []  # fmt: skip
    assert export_access() == before


def test_what_a_rule_says_of_circumstances_limits_and_changes_is_taken_in():
    import_access(EVERYTHING)
    inside = Rule.objects.get(target_kind="number-class")
    assert (inside.number_class.name, inside.schedule.name) == ("inside", "office")
    assert (inside.limit_per, inside.at_once, inside.minutes_per_day, inside.overflow) == ("user", 2, 60, "end-oldest")
    assert inside.callee == "+4930"
    doors = Rule.objects.get(target_kind="stream-group")
    assert (doors.stream_group.name, doors.networks, doors.record, doors.max_width) == (
        "doors", ["10.0.0.0/8"], "off", 640,
    )  # fmt: skip
    assert [stream.name for stream in doors.stream_group.streams.all()] == ["a # b"]
    assert Schedule.objects.get().holidays == [date(2026, 12, 25), date(2026, 1, 1)]


def test_streams_leave_groups_that_the_file_does_not_give_them():
    import_access(EVERYTHING)
    assert lines('streams: [{name: "a # b", groups: [doors]}]') == ["~ stream a # b: groups 0, doors → doors"]
    assert [group.name for group in Stream.objects.get(name="a # b").groups.all()] == ["doors"]
    assert lines('streams: [{name: "a # b", groups: [doors]}]') == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("rules: [{effect: allow, who: guests, actions: [play], target: {stream_group: x}}]",
         "rules[0].target.stream_group: “x” is not known; add it under stream_groups"),
        ("rules: [{effect: allow, who: guests, actions: [play], target: any, during: x}]",
         "rules[0].during: “x” is not known; add it under schedules"),
        ("streams: [{name: a, groups: [x]}]", "streams[0].groups: “x” is not known; add it under stream_groups"),
        ("number_classes: [{name: x, prefixes: ['1'], protected: true}]",
         "number_classes[0]: Protected numbers must be whole numbers: else anything that begins like them could be "
         "called."),
        ("schedules: [{name: x, time_zone: Mars, windows: [daily 08:00-09:00]}]",
         "schedules[0].time_zone: “Mars” is no time zone. Write it like Europe/Berlin or America/New_York."),
        ("schedules: [{name: x, time_zone: UTC, windows: [daily 08:00-09:00], holidays: [tomorrow]}]",
         "schedules[0].holidays[0]: expected a date, like 2026-12-25"),
        ("rules: [{effect: allow, who: guests, actions: [play], target: any, limits: {per: user}}]",
         "rules[0].limits.at_once: Say how many, or choose “no limit”."),
        ("rules: [{effect: allow, who: guests, actions: [play], target: any, "
         "limits: {per: user, at_once: 1, per_day: 0}}]",
         "rules[0].limits.per_day: Ensure this value is greater than or equal to 1."),
    ],
)  # fmt: skip
def test_a_problem_of_the_larger_rule_is_a_sentence_with_its_place(problems, content, problem):
    assert problems(content) == [problem]


def test_a_sip_account_is_of_a_user_and_its_password_is_kept_sealed():
    import_access(EVERYTHING)
    account = SipAccount.objects.get()
    assert (account.user.username, account.login, account.port, account.register) == ("ada", "10007", 5080, False)
    assert (unseal(account.password), unseal(Node.objects.get().api_password)) == ("sip-secret", "api-secret")
    assert lines("sip_accounts: [{user: ada, password: sip-secret}]") == []
    assert lines("sip_accounts: [{user: ada, password: other, port: 5060}]") == [
        "~ SIP account of ada: port “5080” → “5060”, password changed"
    ]
    assert not any(secret in export_access() for secret in ("sip-secret", "api-secret"))


def test_a_new_sip_account_needs_what_it_cannot_do_without(problems):
    assert problems("sip_accounts: [{user: ada, login: '1'}]") == [
        "sip_accounts[0].domain: is needed for a new account",
        "sip_accounts[0].password: is needed for a new account",
    ]


def test_differences_are_told_one_by_one():
    import_access(EXAMPLE)
    assert lines("""
        users:
          - {username: teacher1, password: other, active: false, groups: [students], email: a@example.org,
             tokens: [{label: laptop, token: new-token, expires: null, networks: []}]}
        apps: [{key: defaultApp, guests: true, hook_password: new-secret, hook_user: server}]
        nodes: [{node_id: "Hw47@192.168.1.101", name: edge-2, secrets: [new]}]
        streams: [{name: lobby, owner: null, source: "rtsp://u:p@10.0.0.6/"}]
        rules: [{effect: allow, who: everyone, actions: [connect], target: any, enforced: false, note: n}]
    """) == [
        "+ group students",
        "~ user teacher1: email none → “a@example.org”, active on → off, password changed, "
        "groups teachers → students",
        "~ token laptop of teacher1: networks 10.0.0.0/8 → none, expires 2030-01-01 00:00:00 UTC → none, "
        "token changed",
        "~ app defaultApp: guests off → on, hook user “wcs” → “server”, hook password changed",
        "~ node Hw47@192.168.1.101: name “edge-1” → “edge-2”, secrets changed",
        "~ stream lobby: source changed, owner “teacher1” → none",
        "~ rule: Allow everyone with an account to connect: enforced on → off, note none → “n”",
    ]  # fmt: skip
    user = User.objects.get(username="teacher1")
    assert user.check_password("other")
    assert [group.name for group in user.groups.all()] == ["students"]
    assert [unseal(sealed) for sealed in App.objects.get().hook_passwords] == ["new-secret", "hook-secret"]
    assert [unseal(sealed) for sealed in Node.objects.get().secrets] == ["new"]


def test_a_password_can_be_taken_away():
    make_user(password="secret-1")
    assert lines('users: [{username: alice, password_hash: "!"}]') == ["~ user alice: password changed"]
    assert not User.objects.get().has_usable_password()


def test_a_password_may_be_given_as_django_keeps_it():
    encoded = make_password("secret-1")
    assert lines(f"users: [{{username: alice, password_hash: '{encoded}'}}]") == ["+ user alice"]
    assert User.objects.get().check_password("secret-1")


def test_sealed_secrets_are_compared_in_clear():
    make_app(hook_password="one")
    make_node(secret="two")
    content = f"""
        apps: [{{key: defaultApp, hook_passwords_sealed: ["{seal("one")}"]}}]
        nodes: [{{node_id: "Hw47@192.168.1.101", secrets_sealed: ["{seal("two")}"]}}]
    """
    assert lines(content) == []
    assert lines(content.replace(seal("one"), seal("one"))) == []
    assert lines("apps: [{key: defaultApp, hook_passwords_sealed: []}]") == ["~ app defaultApp: hook password changed"]


def test_staff_but_never_superuser():
    User.objects.create_superuser("root")
    exported = export_access()
    assert "superuser" not in exported
    empty()
    import_access(exported)
    root = User.objects.get()
    assert (root.is_staff, root.is_superuser) == (True, False)


def test_tokens_are_known_by_hash_so_labels_may_move():
    alice = make_user()
    make_token(alice, "one", label="laptop")
    assert lines("""
        users: [{username: alice, tokens: [{label: laptop, token: two}, {label: old laptop, token: one}]}]
    """) == ["~ token old laptop of alice: label “laptop” → “old laptop”", "+ token laptop of alice"]
    assert alice.tokens.get(label="laptop").token_hash == hash_token("two")
    assert alice.tokens.get(label="old laptop").token_hash == hash_token("one")


def test_tokens_that_the_file_does_not_name_stay():
    make_token(make_user(), "one", label="laptop")
    import_access("users: [{username: alice, tokens: [{label: phone, token: two}]}]")
    assert Token.objects.count() == 2


def test_rules_alike_are_told_apart_by_what_may_change():
    make_rule("play", note="first", enforced=False)
    make_rule("play", note="second")
    content = "rules: [{effect: allow, who: everyone, actions: [play], target: any, note: %s}]"
    assert lines(content % "second", replace=True) == [
        "- rule: Allow everyone with an account to play anything (only logged)"
    ]
    assert lines(content % "third") == [
        "~ rule: Allow everyone with an account to play anything: note “second” → “third”"
    ]


def test_actions_are_a_set():
    make_rule("play", "publish")
    raised = revision()
    assert lines("rules: [{effect: allow, who: everyone, actions: [publish, play, publish], target: any}]") == []
    assert revision() == raised


def test_replace_removes_the_rules_that_the_file_does_not_have_and_nothing_else():
    make_rule("call", effect="deny", user=make_user(), target=("prefix", "00"))
    make_stream("hall")
    difference = import_access(EXAMPLE, replace=True)
    assert difference.lines[-1] == "- rule: Deny user “alice” to call whatever begins with “00”"
    assert difference.summary.endswith("1 removed.")
    assert Rule.objects.count() == 4
    assert User.objects.filter(username="alice").exists()
    assert Stream.objects.filter(name="hall").exists()
    import_access("rules: []", replace=True)
    assert not Rule.objects.exists()


@pytest.mark.parametrize("content", ["users: []", "rules:"])
def test_replace_needs_rules(problems, content):
    make_rule("connect")
    assert problems(content, replace=True) == [
        "rules: needed to replace the rules; to remove them all, write rules: []"
    ]


def test_dry_run_tells_the_same_and_changes_nothing(path, capsys):
    make_rule("call", effect="deny")
    path.write_text(EXAMPLE)
    before, raised = export_access(), revision()
    call_command("import_access", str(path), "--dry-run", "--replace")
    *tried, last = capsys.readouterr().out.splitlines()
    assert last == "11 added, 0 changed, 1 removed. Dry run: nothing was changed."
    assert (export_access(), revision()) == (before, raised)
    call_command("import_access", str(path), "--replace")
    assert capsys.readouterr().out.splitlines()[:-1] == tried


# YAML, JSON, times


def test_json_works_too():
    document = {
        "users": [{"username": "ada", "groups": ["a"], "active": False, "first_name": "😀 \\ud83d Ж/"}],
        "rules": [{"effect": "allow", "who": {"user": "ada"}, "actions": ["play"], "target": "any",
                   "until": "2030-01-01T00:00:00Z"}],
    }  # fmt: skip
    for indent in (None, 2, "\t"):
        empty()
        import_access(json.dumps(document, indent=indent))
        assert User.objects.get().first_name == "😀 \\ud83d Ж/"
        assert Rule.objects.get().ends_at == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2030-01-01T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC)),
        ('"2030-01-01T00:00:00Z"', datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01 00:00:00 Z", datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01T02:00:00.5+02:00", datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2030-01-01 00:00 -05:30", datetime(2030, 1, 1, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
    ],
)
def test_a_time_keeps_its_time_zone(written, meant):
    import_access(f"users: [{{username: ada, tokens: [{{label: a, token: b, expires: {written}}}]}}]")
    assert Token.objects.get().expires_at == meant


@pytest.mark.parametrize("written", ["2030-01-01", "2030-01-01T00:00:00", "soon", "20300101", "2030-13-01T00:00:00Z"])
def test_a_time_without_time_zone_is_a_problem(problems, written):
    assert problems(f"users: [{{username: ada, tokens: [{{label: a, token: b, expires: {written}}}]}}]") == [
        "users[0].tokens[0].expires: expected a date and time with a time zone, like 2030-01-01T00:00:00Z, "
        f"not “{written}”"
    ]


@pytest.mark.parametrize("written", ["1900-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_before_or_after_all_that_is_sensible_is_a_problem(problems, written):
    sentence = f"expected a date from 1970 on and before 9999, not “{written}”"
    assert problems(f"""
        users: [{{username: ada, tokens: [{{label: a, token: b, expires: {written}}}]}}]
        rules: [{{effect: allow, who: guests, actions: [connect], from: {written}, until: {written}}}]
    """) == [
        f"users[0].tokens[0].expires: {sentence}",
        f"rules[0].from: {sentence}",
        f"rules[0].until: {sentence}",
    ]  # fmt: skip


def test_standard_input_and_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffgroups: [Ж]".encode())))
    call_command("import_access", "-")
    assert capsys.readouterr().out == "+ group Ж\n1 added, 0 changed, 0 removed.\n"
    call_command("export_access", "-")
    assert capsys.readouterr().out == export_access()


def test_the_exported_file_is_private(path):
    path.write_text("")
    path.chmod(0o644)
    make_user()
    call_command("export_access", str(path))
    assert path.read_text(encoding="utf-8") == export_access()
    assert path.stat().st_mode & 0o777 == 0o600


def test_secrets_are_neither_exported_nor_printed(path, capsys):
    path.write_text(EXAMPLE)
    call_command("import_access", str(path))
    call_command("import_access", str(path))
    printed = capsys.readouterr()
    assert not [secret for secret in SECRETS if secret in printed.out + printed.err + export_access()]


# What can be wrong

RULE = "effect: allow, who: everyone, actions: [play]"
TARGETED = (
    "publish", "play", "call", "answer", "hold", "transfer", "dtmf", "message", "subscribe", "xcap",
    "receive-call", "receive-message", "receive-transfer",
)  # fmt: skip
"""Actions that are about something."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the file: is empty."),
        ("users: &a []\napps: *a", "line 2, column 7: this is not YAML: aliases (*name) are not allowed. "
                                   "Text with any of * & { } [ ] : # needs quotes."),
        ("groups: [", "line 2, column 1: this is not YAML: did not find expected node content. "
                      "Text with any of * & { } [ ] : # needs quotes."),
        ("groups: [\x07]", "the file: contains control characters, so it is not YAML."),
        ("[" * 100_000, "the file: is nested too deeply."),
        ("[a]", "the file: expected keys with values, not a list"),
        ("rule: []", "rule: unknown key; known here: groups, users, apps, nodes, sip_accounts, "
         "stream_groups, streams, schedules, number_classes, issuers, links, revoked_before, rules"),
        ("groups: teachers", "groups: expected a list, like [a, b], not text"),
        ("groups: [a]\ngroups: [b]", "groups: is given twice"),
        ("groups: [12]", "groups[0]: expected text, not a number; put it in quotes"),
        ("groups: [[a]]", "groups[0]: expected text, not a list"),
        ('groups: ["a\\0b"]', "groups[0]: must not contain the character U+0000"),
        ("users: [{active: true}]", "users[0].username: is missing"),
        ("users: [{username: yes}]", "users[0].username: expected text, not true or false; put it in quotes"),
        ("users: [{username: 2030-01-01}]", "users[0].username: expected text, not a date; put it in quotes"),
        ("users: [{username: a b}]", "users[0].username: Enter a valid username. This value may "
                                     "contain only letters, numbers, and @/./+/-/_ characters."),
        ("users: [{username: a, is_superuser: true}]",
         "users[0].is_superuser: unknown key; known here: username, password, password_hash, active, staff, "
         "first_name, last_name, email, groups, revoked_before, tokens"),
        ("users: [{username: a, active: 1}]", "users[0].active: expected true or false"),
        ("users: [{username: a, groups: }]", "users[0].groups: expected a list, like [a, b], not nothing"),
        ("users: [{username: a, password: 123}]",
         "users[0].password: expected text, not a number; put it in quotes"),
        ('users: [{username: a, password: ""}]', "users[0].password: must not be empty"),
        ("users: [{username: a, password: b, password_hash: '!'}]",
         "users[0]: give password or password_hash, not both"),
        ("users: [{username: a, password_hash: b}]",
         "users[0].password_hash: expected a password as export_access writes it, or “!” for none"),
        ("users: [{username: a, email: b}]", "users[0].email: Enter a valid email address."),
        ("users: [{username: a}, {username: a}]", "users[1].username: stands in users[0].username already"),
        ("users: [{username: a, tokens: [{token: t}]}]", "users[0].tokens[0].label: is missing"),
        ("users: [{username: a, tokens: [{label: t}]}]",
         "users[0].tokens[0]: give token or token_hash: there is no token with this label yet"),
        ("users: [{username: a, tokens: [{label: t, token_hash: 0a}]}]",
         "users[0].tokens[0].token_hash: expected the SHA-256 of a token, 64 digits of 0-9a-f"),
        ("users: [{username: a, tokens: [{label: t, token: b, networks: [10.0.0.1/8]}]}]",
         "users[0].tokens[0].networks[0]: “10.0.0.1/8” is not a network. Write it like 10.0.0.0/8, "
         "192.168.1.7 or 2001:db8::/32, with no bits set behind the prefix."),
        ("users: [{username: a, tokens: [{label: t, token: b}]}, "
         "{username: b, tokens: [{label: u, token: b}]}]",
         "users[1].tokens[0]: stands in users[0].tokens[0] already"),
        ("users: [{username: a, tokens: [{label: t, token: b}, {label: t, token: c}]}]",
         "users[0].tokens[1].label: stands in users[0].tokens[0].label already"),
        ("apps: [{guests: no}]", "apps[0].key: is missing"),
        ("apps: [{key: a, hook_passwords_sealed: [b]}]",
         "apps[0].hook_passwords_sealed[0]: cannot be read with the keys in WCSGATE_ENCRYPTION_KEYS"),
        ("nodes: [{node_id: a, secrets: [a, b, c]}]", "nodes[0].secrets: expected at most 2, the newest first"),
        (f"streams: [{{name: {'a' * 300}}}]",
         "streams[0].name: Ensure this value has at most 255 characters (it has 300)."),
        ("rules: [{}]", "rules[0].effect: is missing"),
        ("rules: [{effect: Allow, who: guests, actions: [play]}]", "rules[0].effect: expected allow or deny"),
        ("rules: [{effect: allow, who: teachers, actions: [play]}]",
         "rules[0].who: expected everyone, guests, {user: name} or {group: name}"),
        ("rules: [{effect: allow, who: {user: a, group: b}, actions: [play]}]",
         "rules[0].who: expected everyone, guests, {user: name} or {group: name}"),
        ("rules: [{effect: allow, who: {users: a}, actions: [play]}]",
         "rules[0].who.users: unknown key; known here: user, group"),
        ("rules: [{effect: allow, who: guests, actions: []}]", "rules[0].actions: must not be empty"),
        ("rules: [{effect: allow, who: guests, actions: play}]",
         "rules[0].actions: expected a list, like [a, b], not text"),
        (f"rules: [{{{RULE}, target: {{prefix: 00}}}}]",
         "rules[0].target.prefix: expected text, not a number; put it in quotes"),
        (f"rules: [{{{RULE}, target: {{glob: ''}}}}]", "rules[0].target.glob: This field cannot be blank."),
        (f"rules: [{{{RULE}, target: all}}]",
         "rules[0].target: expected any, or one of {exact: …}, {prefix: …}, {glob: …}, {stream: …}, "
         "{stream_group: …}, {number_prefix: …} and {number_class: …}"),
        (f"rules: [{{{RULE}}}]", "rules[0].target: is needed with play; for anything at all, write any"),
        ("rules: [{effect: allow, who: guests, actions: [hold, call, connect, publish, call]}]",
         "rules[0].target: is needed with publish, call, hold; for anything at all, write any"),
        (f"rules: [{{{RULE}, target: any, from: 2030-01-01T00:00:00Z, until: 2029-01-01T00:00:00Z}}]",
         "rules[0].until: The end must be later than the beginning."),
    ],
)  # fmt: skip
def test_a_problem_is_a_sentence_with_its_place(problems, content, problem):
    assert problems(content)[0] == problem


def test_an_action_that_nobody_knows(problems):
    [problem] = problems("rules: [{effect: allow, who: guests, actions: [play, watch], target: any}]")
    assert problem.startswith("rules[0].actions[1]: “watch” is not an action. Use one of: connect, publish, play,")


@pytest.mark.parametrize("action", [action for action in ACTIONS if action not in TARGETED])
def test_an_action_without_target_needs_none_in_the_file(action):
    import_access(f"rules: [{{effect: allow, who: everyone, actions: [{action}]}}]")
    assert lines(f"rules: [{{effect: allow, who: everyone, actions: [{action}], target: any}}]") == []


@pytest.mark.parametrize("action", TARGETED)
def test_nothing_is_opened_by_leaving_the_target_out(problems, action):
    assert problems(f"rules: [{{effect: allow, who: everyone, actions: [{action}]}}]") == [
        f"rules[0].target: is needed with {action}; for anything at all, write any"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{key: a, hook_password: secret-1}",
         "A hook password needs the user name that WCS sends with it (restUsername)."),
        ("{key: a, hook_user: 'w:cs', hook_password: secret-1}",
         "A colon cannot be part of it: HTTP Basic ends the user name there."),
        ("{key: defaultApp, hook_user: ''}",
         "A hook password needs the user name that WCS sends with it (restUsername)."),
    ],
)  # fmt: skip
def test_an_app_is_held_to_what_its_page_in_the_admin_asks(problems, content, problem):
    make_app()
    assert problems(f"apps: [{content}]") == [f"apps[0].hook_user: {problem}"]


def test_every_problem_is_found_at_once(problems):
    found = problems("""
        users:
          - {username: teacher1, active: maybe}
          - {groups: [1, two]}
          - {username: teacher3, tokens: [{label: laptop, token: tok, expires: soon}]}
        rules:
          - {effect: allow}
          - {effect: never, who: all, actions: [none], target: {prefix: 00}, colour: red}
    """)
    assert [problem.partition(": ")[0] for problem in found] == [
        "users[0].active",
        "users[1].groups[0]",
        "users[1].username",
        "users[2].tokens[0].expires",
        "rules[0].who",
        "rules[0].actions",
        "rules[1].effect",
        "rules[1].who",
        "rules[1].actions[0]",
        "rules[1].target.prefix",
        "rules[1].colour",
    ]


def test_an_alias_bomb_does_not_go_off(problems):
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    [problem] = problems(bomb)
    assert problem.startswith("line 2, column 8: this is not YAML: aliases (*name) are not allowed.")


def test_what_only_the_database_knows_is_a_problem_with_its_place_too(problems):
    alice, bob = make_user("alice"), make_user("bob")
    make_token(alice, "one", label="laptop")
    make_token(alice, "two", label="phone")
    make_token(bob, "three", label="laptop")
    make_app()
    App.objects.update(hook_passwords=["sealed under another key"])
    assert problems("""
        users:
          - {username: alice, tokens: [{label: phone, token: one}, {label: tablet, token: three}]}
          - {username: carol, tokens: [{label: laptop}]}
        apps: [{key: defaultApp, hook_password: new}]
    """) == [
        "users[0].tokens[0].label: another token of this user has this label already",
        "users[0].tokens[1]: is a token of user “bob” already",
        "users[1].tokens[0]: give token or token_hash: there is no token with this label yet",
        "apps[0].hook_password: cannot be compared with the one before. "
        "A stored secret cannot be read with the keys in WCSGATE_ENCRYPTION_KEYS.",
    ]  # fmt: skip


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(CommandError, match=r"Cannot read .*missing\.yaml: No such file or directory\."):
        call_command("import_access", str(tmp_path / "missing.yaml"))
    (tmp_path / "latin1.yaml").write_bytes(b"groups: [\xe4]")
    with pytest.raises(CommandError, match=r"it is not text in UTF-8\."):
        call_command("import_access", str(tmp_path / "latin1.yaml"))
    with pytest.raises(CommandError, match=r"Cannot write .*: Is a directory\."):
        call_command("export_access", str(tmp_path))


def test_nothing_from_a_file_gives_orders_to_the_terminal(path, capsys):
    path.write_text('groups: ["a\\e[2Jb\\nc"]')
    call_command("import_access", str(path))
    assert capsys.readouterr().out.splitlines()[0] == "+ group a [2Jb c"


def test_python_objects_are_only_text_with_a_strange_tag(problems):
    assert problems("groups: [!!python/object/apply:os.getcwd []]") == ["groups[0]: expected text, not a list"]


# Many


def many(count):
    return json.dumps(
        {
            "users": [
                {
                    "username": f"user{n}",
                    "groups": ["all"],
                    "tokens": [{"label": "one", "token": f"token{n}"}],
                }
                for n in range(count)
            ],
            "rules": [
                {
                    "effect": "allow",
                    "who": {"user": f"user{n}"},
                    "actions": ["play"],
                    "target": {"exact": f"stream{n}"},
                }
                for n in range(count)
            ],
        }
    )


def test_the_number_of_queries_does_not_grow_with_the_file(django_assert_max_num_queries):
    with django_assert_max_num_queries(25):
        assert len(lines(many(300))) == 901
    with django_assert_max_num_queries(15):
        assert lines(many(300)) == []
    with django_assert_max_num_queries(15):
        export_access()
    with django_assert_max_num_queries(20):
        assert len(lines(many(300).replace('"label"', '"expires": "2030-01-01T00:00:00Z", "label"'))) == 300


def test_rules_are_not_read_for_a_file_without_rules():
    make_rule("connect")
    with CaptureQueriesContext(connection) as queries:
        import_access("users: [{username: ada}]")
    assert not [query for query in queries if "access_rule" in query["sql"]]


def test_bulk_changes_raise_the_revision():
    raised = revision()
    import_access(many(3))
    assert revision() > raised
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM access_change WHERE table_name = 'access_rule' AND revision > %s", [raised]
        )
        assert cursor.fetchone() == (3,)


# Other ways in


def test_issuers_links_and_revocations_on_an_empty_database():
    assert lines(WAYS_IN) == [
        "+ user ada",
        "+ token ticket of ada",
        "+ issuer https://login.example.org/",
        "+ issuer shop",
        "+ link press",
        "+ link crew",
        "+ revocation",
    ]
    ada, token = User.objects.get(), Token.objects.get()
    assert ada.revoked_before == datetime(2026, 1, 2, tzinfo=UTC)
    assert (token.single_use, token.used_at) == (True, datetime(2026, 1, 4, tzinfo=UTC))
    assert token.created_at == datetime(2026, 1, 3, tzinfo=UTC)
    issuer = TokenIssuer.objects.get(issuer="https://login.example.org/")
    assert (issuer.jwks, issuer.leeway, issuer.accepts_unknown, issuer.active) == (KEY_SET, 10, True, True)
    assert [unseal(secret) for secret in issuer.secrets] == ["shared secret of thirty-two characters"]
    link = StreamLink.objects.get(label="press")
    assert (link.stream, link.action, link.made_by, link.active) == ("lobby", "play", ada, True)
    assert Revocation.objects.get().before == datetime(2026, 1, 1, tzinfo=UTC)


def test_their_differences_are_told_without_secrets():
    import_access(WAYS_IN)
    assert lines("""
        users: [{username: ada, revoked_before: null, tokens: [{label: ticket, single_use: false}]}]
        issuers: [{issuer: shop, algorithms: [HS256], active: true, secrets: ["a new secret of thirty-two chars"]}]
        links: [{code: c, label: crew, stream: "00", action: publish, until: 2031-01-01T00:00:00Z, made_by: bob}]
        revoked_before: null
    """) == [
        "~ user ada: revoked before 2026-01-02 00:00:00 UTC → none",
        "~ token ticket of ada: single use on → off",
        "~ issuer shop: active off → on, secrets changed",
        "! user bob is not known; links[0].made_by names it, so it is added without any way in",
        "+ user bob",
        "~ link crew: until 2030-01-01 00:00:00 UTC → 2031-01-01 00:00:00 UTC, made by none → “bob”",
        "~ revocation: everything issued before 2026-01-01 00:00:00 UTC → none",
    ]  # fmt: skip


def test_a_link_works_where_it_was_imported_to_with_the_same_key():
    token = make_link().token
    exported = export_access()
    empty()
    import_access(exported)
    assert StreamLink.objects.get().token == token


def test_what_is_revoked_stays_so_where_it_is_imported_to():
    alice = make_user()
    make_token(alice)
    User.objects.update(revoked_before=datetime.now(UTC))
    exported = export_access()
    empty()
    import_access(exported)
    assert Token.objects.get().created_at < User.objects.get().revoked_before


def test_another_token_under_a_label_is_issued_now_and_not_used_yet():
    import_access(WAYS_IN)
    began = datetime.now(UTC)
    assert lines("users: [{username: ada, tokens: [{label: ticket, token: two}]}]") == [
        "~ token ticket of ada: token changed"
    ]
    token = Token.objects.get()
    assert (token.single_use, token.used_at, token.created_at >= began) == (True, None, True)


def test_keys_of_another_address_do_not_stay():
    import_access(WAYS_IN)
    import_access(
        "issuers: [{issuer: 'https://login.example.org/', algorithms: [RS256], jwks_url: 'https://new.example.org/'}]"
    )
    assert TokenIssuer.objects.get(algorithms=["RS256"]).jwks == ""


ISSUER_WITH = "issuers: [{issuer: a, algorithms: [%s]}]"
LINK_WITH = "links: [{code: a, label: a, stream: a, action: play, until: 2030-01-01T00:00:00Z, %s}]"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (ISSUER_WITH % "HS256", "issuers[0].secrets: are needed for HS256"),
        (ISSUER_WITH % "RS256", "issuers[0].jwks: RS256 needs its public keys, or their address."),
        (ISSUER_WITH % "none", "issuers[0].algorithms[0]: “none” is not an algorithm that is accepted here. "
         "Use one of: HS256, RS256, ES256."),
        (ISSUER_WITH % "", "issuers[0].algorithms: must not be empty"),
        (ISSUER_WITH % "HS256], secrets: [short", "issuers[0].secrets[0]: expected a secret of at least 32 characters"),
        (LINK_WITH % "action: call", "links[0].action: is given twice"),
        (LINK_WITH % "token: x", "links[0].token: unknown key; known here: code, label, stream, action, until, active, "
         "issued, made_by"),
        ("links: [{code: 'a.b', label: a, stream: a, action: play, until: 2030-01-01T00:00:00Z}]",
         "links[0].code: expected the code of a link, of at most 32 letters, digits, - and _"),
        ("links: [{code: a, label: a, stream: a, action: call, until: 2030-01-01T00:00:00Z}]",
         "links[0].action: expected play or publish"),
        ("issuers: [{issuer: a, algorithms: [RS256], jwks_url: a, leeway: 301}]",
         "issuers[0].leeway: Ensure this value is less than or equal to 300."),
        ("revoked_before: soon",
         "revoked_before: expected a date and time with a time zone, like 2030-01-01T00:00:00Z, not “soon”"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_them_is_a_sentence_with_its_place(problems, content, problem):
    assert problem in problems(content)
