"""The documents say what the code does: methods, checks, reasons, settings, and links that lead somewhere."""

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from django.conf import settings

from apps.access.engine import CHECKS
from apps.access.models import Rule
from apps.access.reasons import REASON_TEXTS, Reason
from apps.accounts.models import ApiKey, Token
from apps.connections.models import App, SipAccount
from apps.protocol.methods import ACTIONS, METHODS, NOTIFY, RUNNING_STREAM
from apps.protocol.policy import entry

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
VARIABLE = re.compile(r"\b(?:WCSGATE_[A-Z][A-Z_]*[A-Z]|DATABASE_URL|BROKER_URL)\b")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
FOLDERS = ("apps", "bench", "chaos", "runner", "templates", "wcsgate")
TEXTS = {".py", ".css", ".js", ".html"}
OURS = re.compile(rf"(?<![\w/.*-])(?:{'|'.join(FOLDERS)}|tests|docs)/[\w./-]*\w(?![\w*<{{/])")
"""What is in one of our folders, by its path from the top; without those that stand for several."""
TOPS = (ROOT, ROOT / "apps" / "hooks" / "static")
"""Where such a path begins: also that of a file that browsers are given."""

OBVIOUS = {"user", "group", "who", "actions", "on what", "stream", "stream group", "number class", "note"}
"""Names of fields that say all there is to say."""

GLOSSARY = """hook, method, kind, action, app key, session, stream, target, rule, effect, revision, snapshot, facts,
    decision, reason, record, audit event, lease"""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(name: str) -> list[list[str]]:
    """The cells of every table row of a page, without the back quotes."""
    lines = (line.strip() for line in prose(read(name)).splitlines())
    return [
        [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("|") and not line.startswith("| ---")
    ]


def prose(text: str) -> str:
    """A page without its indented code blocks and comments."""
    return re.sub(r"<!--.*?-->", "", re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE), flags=re.DOTALL)


# Hooks


def documented_method(method) -> list[str]:
    return [
        ", ".join((method.name, *method.aliases)),
        method.kind,
        {NOTIFY: "none", RUNNING_STREAM: "publish or play"}.get(method.action, method.action),
        method.refusal,
        " or ".join(method.target),
        method.identity,
        entry(method)["restOnError"],
        ", ".join(method.unstored),
    ]


def test_the_table_of_methods_is_that_of_the_code():
    table = [row for row in rows("docs/hooks.md") if len(row) == 8]
    assert table[1:] == [documented_method(method) for method in METHODS]


def test_what_is_changed_and_hidden_is_that_of_the_code():
    table = [row for row in rows("docs/hooks.md") if len(row) == 5]
    columns = [(row.overwrite, row.shows_source, row.shows_number, row.shows_account) for row in METHODS]
    assert table[1:] == [
        [", ".join((method.name, *method.aliases)), *map(", ".join, members)]
        for method, members in zip(METHODS, columns, strict=True)
        if any(members)
    ]


def test_every_status_that_we_answer_with_is_explained():
    statuses = {row[0] for row in rows("docs/hooks.md") if re.fullmatch(r"\d{3}", row[0])}
    used = set(re.findall(r"HTTPStatus\.([A-Z_]+)", read("apps/hooks/answer.py") + read("apps/hooks/replies.py")))
    assert statuses == {str(HTTPStatus[name].value) for name in used}


# Deciding


def test_the_numbered_checks_are_those_of_the_engine():
    numbered = re.findall(r"^(\d+)\. `(\w+)`", read("docs/deciding.md"), re.MULTILINE)
    assert numbered == [(str(number), check.__name__) for number, check in enumerate(CHECKS, start=1)]


def test_every_reason_is_explained_with_its_text_and_what_to_do():
    table = {row[0]: row[1:] for row in rows("docs/deciding.md") if row[0] in set(Reason)}
    assert list(table) == list(Reason)
    assert {code: row[0] for code, row in table.items()} == {str(code): text for code, text in REASON_TEXTS.items()}
    assert all(advice for _, advice in table.values())


def test_every_action_is_explained_with_the_methods_it_is_needed_for():
    table = {row[0]: row[1] for row in rows("docs/deciding.md") if row[0] in ACTIONS}
    assert list(table) == list(ACTIONS)
    for method in METHODS:
        if method.refusable:
            actions = ("publish", "play") if method.action == RUNNING_STREAM else (method.action,)
            assert all(method.name in table[action] for action in actions), method.name


# Settings


def constants(folder: str) -> Iterator[str]:
    for path in [ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                yield node.value


def documented_variables() -> dict[str, str]:
    """Variables in the tables of operations.md, and their defaults."""
    return {row[0]: row[1] for row in rows("docs/operations.md") if VARIABLE.fullmatch(row[0])}


def test_every_environment_variable_is_documented_and_no_other():
    used = {name for folder in ("wcsgate", "apps", "runner", "manage.py") for name in constants(folder)}
    assert used == set(documented_variables())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_speaks_of_a_variable_that_does_not_exist(page):
    assert set(VARIABLE.findall(page.read_text(encoding="utf-8"))) <= set(documented_variables())


def test_defaults_are_those_of_the_settings():
    documented = documented_variables()
    for node in ast.walk(ast.parse(read("wcsgate/settings.py"))):
        match node:
            case ast.Call(
                func=ast.Name("text" | "items" | "number"), args=[ast.Constant(str(name)), ast.Constant(str(default))]
            ):
                assert documented[name] == default, name
            case ast.Call(func=ast.Name("text" | "items" | "number"), args=[ast.Constant(str(name))]):
                assert documented[name] == "none" or name in ("WCSGATE_STATIC_ROOT", "WCSGATE_BROWSER"), name
            case ast.Call(func=ast.Name("flag"), args=[ast.Constant(str(name))]):
                assert documented[name].startswith("off"), name


def test_every_system_check_is_explained():
    ids = set(re.findall(r'id="(wcsgate\.[EWI]\d+)"', read("apps/hooks/checks.py")))
    assert ids == {row[0] for row in rows("docs/operations.md") if row[0].startswith("wcsgate.")}


def test_every_metric_is_explained():
    names = set(re.findall(r'(?:Gauge|Counter)MetricFamily\("(\w+)"', read("apps/hooks/health.py")))
    assert names == {row[0] for row in rows("docs/operations.md") if row[0].startswith("wcsgate_")}


# Pages


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) < 120


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path, *, pictures: bool) -> Iterator[str]:
    for bang, link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if bool(bang) == pictures and not re.match(r"[a-z]+:", link):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page, pictures=False):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_are_there(page):
    assert [link for link in links(page, pictures=True) if not (page.parent / link).is_file()] == []


def named_paths(page: Path) -> Iterator[str]:
    """Files and folders of ours that a text names."""
    return (found.rstrip("./") for found in OURS.findall(page.read_text(encoding="utf-8")))


def test_files_and_folders_that_are_named_anywhere_exist():
    """In documents, and in comments and docstrings of code; tests make up some."""
    texts = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS]
    found = {(str(path.relative_to(ROOT)), name) for path in (*PAGES, *texts) for name in named_paths(path)}
    assert len(found) > 100
    assert sorted((path, name) for path, name in found if not any((top / name).exists() for top in TOPS)) == []


def test_every_page_is_in_the_index():
    index = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "README.md", pictures=False)}
    assert {page for page in DOCS.rglob("*.md") if page.name != "README.md"} <= index


def test_decision_records_have_context_choice_and_consequences():
    for page in (DOCS / "adr").glob("*.md"):
        headings = re.findall(r"^## (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Choice", "Consequences"], page.name


def test_the_glossary_has_every_word_once_and_in_order():
    words = [row[0] for row in rows("docs/glossary.md")[1:]]
    assert words == sorted(set(words), key=str.lower)
    assert {word.strip() for word in GLOSSARY.split(",")} <= set(words)


def test_the_changelog_has_the_form_and_this_version():
    headings = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert all(
        re.fullmatch(r"\[(Unreleased|\d+\.\d+\.\d+)\]( - (\d{4}-\d\d-\d\d|Unreleased))?", line) for line in headings
    )
    assert any(f"[{settings.SPECTACULAR_SETTINGS['VERSION']}]" in line for line in headings)


# The admin


@pytest.mark.parametrize("model", [Rule, App, Token, ApiKey, SipAccount], ids=lambda model: model.__name__)
def test_fields_that_staff_fill_in_say_what_they_are(model):
    silent = [
        field.name
        for field in model._meta.get_fields()
        if field.concrete and field.editable and not field.auto_created
        if not getattr(field, "help_text", "") and field.verbose_name not in OBVIOUS
    ]
    assert silent == []
