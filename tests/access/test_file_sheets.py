"""Access as a spreadsheet: the same content, and problems that name sheet, row and column."""

import io
import time
import zipfile
from datetime import date, datetime

import pytest
from openpyxl import Workbook, load_workbook

from apps.access.file_problems import AccessFileError
from apps.access.file_sheets import COLUMNS, read_sheets
from apps.access.files import export_access, export_sheets, import_access
from apps.access.models import Rule, Schedule
from apps.accounts.models import Token, User
from tests import factories
from tests.access.test_files import EVERYTHING, WAYS_IN, empty

pytestmark = pytest.mark.django_db


def book(**sheets):
    """A spreadsheet; each sheet is its columns and rows."""
    made = Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    made.save(stream)
    return stream.getvalue()


def problems(content):
    with pytest.raises(AccessFileError) as caught:
        import_access(content)
    return caught.value.problems


@pytest.mark.parametrize("content", [EVERYTHING, WAYS_IN])
def test_a_spreadsheet_says_the_same_as_the_yaml_file(content):
    import_access(content)
    yaml, sheets = export_access(), export_sheets()
    assert import_access(sheets).lines == []
    assert import_access(sheets, replace=True).lines == []
    empty()
    import_access(sheets)
    assert export_access() == yaml


def test_staff_write_rules_as_they_would_say_them():
    factories.make_user("alice")
    import_access(
        book(
            rules=[
                ("effect", "who", "actions", "target", "limits.per", "limits.at_once", "enforced"),
                ("allow", "user: alice", "publish; play", "glob: *-cam", "user", 2, True),
                ("deny", "everyone", "call", "prefix: 00", None, None, "FALSE"),
            ]
        )
    )
    assert [str(rule) for rule in Rule.objects.order_by("pk")] == [
        "Allow user “alice” to publish and play whatever matches “*-cam”, at most 2 at once for each user",
        "Deny everyone with an account to call whatever begins with “00” (only logged)",
    ]


def test_a_token_has_a_row_of_its_own_also_where_its_user_has_none():
    import_access(
        book(tokens=[("username", "label", "token"), ("bob", "phone", "tok-bob"), ("bob", "laptop", "other")])
    )
    assert sorted(Token.objects.values_list("user__username", "label")) == [("bob", "laptop"), ("bob", "phone")]


def test_an_empty_cell_leaves_the_value_as_it_is():
    factories.make_user("alice", first_name="Alice", is_active=False)
    import_access(book(users=[("username", "first_name", "active"), ("alice", None, None)]))
    alice = User.objects.get()
    assert (alice.first_name, alice.is_active) == ("Alice", False)


def test_dates_are_taken_as_a_spreadsheet_keeps_them():
    columns = ("name", "time_zone", "windows", "holidays")
    import_access(
        book(
            schedules=[
                columns,
                ("a", "UTC", "Mon-Fri 08:00-18:00\nSat 10:00-12:00", datetime(2026, 12, 25)),
                ("b", "UTC", "daily 08:00-18:00", "2026-12-25; 2026-12-26"),
            ]
        )
    )
    assert Schedule.objects.get(name="a").holidays == [date(2026, 12, 25)]
    assert len(Schedule.objects.get(name="b").holidays) == 2


@pytest.mark.parametrize(
    ("sheets", "problem"),
    [
        ({"rules": [("effect", "who", "actions"), ("allow", "everyone", "connect"), ("perhaps", "guests", "connect")]},
         "sheet rules, row 3, effect: expected allow or deny"),
        ({"rules": [("effect", "who", "actions"), (None, None, None), ("allow", "guests", "fly")]},
         "sheet rules, row 2, effect: is missing"),
        ({"streams": [("name", "max_viewers"), ("lobby", "many")]},
         "sheet streams, row 2, max_viewers: expected a whole number, not text"),
        ({"users": [("username", "active"), ("alice", "maybe")]}, "sheet users, row 2, active: expected true or false"),
        ({"users": [("username", "shoe"), ("alice", 42)]}, "sheet users, row 2, shoe: unknown key; known here:"),
        ({"tokens": [("username", "label", "token", "expires"), ("a", "b", "c", datetime(2030, 1, 1, 8))]},
         "sheet users, row 2, tokens, row 2, expires: expected a date and time with a time zone"),
        ({"Sheet1": [("username",), ("alice",)]}, "sheet Sheet1: unknown; known are groups, users,"),
    ],
)  # fmt: skip
def test_a_problem_names_sheet_row_and_column(sheets, problem):
    assert any(found.startswith(problem) for found in problems(book(**sheets)))


@pytest.mark.parametrize("content", [b"PK", b"PK\x03\x04 broken", book(users=[("username",)])[:-200]])
def test_what_is_no_spreadsheet_is_a_sentence(content):
    assert problems(content) == ["the file: is not a spreadsheet in the format .xlsx."]


def test_an_archive_of_something_else_is_a_sentence():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert problems(stream.getvalue()) == ["the file: is not a spreadsheet in the format .xlsx."]


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * (101 * 1024 * 1024))
    assert problems(stream.getvalue()) == ["the file: is too large."]


def far_away(content, **instead):
    """The spreadsheet with other words in its first sheet, as no program would write it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name in source.namelist():
            text = source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                for old, new in instead.items():
                    assert f'"{old}"'.encode() in text
                    text = text.replace(f'"{old}"'.encode(), f'"{new}"'.encode())
            made.writestr(name, text)
    return stream.getvalue()


GROUPS = book(groups=[("name",), ("teachers",)])


def test_what_a_file_says_of_its_size_costs_nothing():
    content = far_away(GROUPS, **{"A1:A2": "A1:XFD1048576", "2": "30000", "A2": "A30000"})
    begun = time.process_time()
    root = read_sheets(content)
    assert time.process_time() - begun < 2
    ((_, groups),) = root.value
    assert (len(groups.value), groups.value[-1].value) == (29_999, "teachers")


@pytest.mark.parametrize("row", ["500002", "999999999"])
def test_a_row_too_far_away_is_refused(row):
    content = far_away(GROUPS, **{"2": row, "A2": f"A{row}"})
    assert problems(content) == ["sheet groups: at most 500,000 rows can be read from one file."]


def test_rows_of_all_sheets_are_counted_together(monkeypatch):
    monkeypatch.setattr("apps.access.file_sheets.MOST_ROWS", 3)
    groups, streams = ([("name",), (f"{kind}-1",), (f"{kind}-2",)] for kind in ("g", "s"))
    assert read_sheets(book(groups=groups, streams=streams[:2])).value
    assert problems(book(groups=groups, streams=streams)) == [
        "sheet streams: at most 3 rows can be read from one file."
    ]


def test_a_sheet_with_too_many_columns_is_refused():
    assert problems(book(groups=[("name", *[None] * 50, "shoe"), ("teachers",)])) == [
        "sheet groups: has more than 50 columns."
    ]


def test_nothing_in_an_export_is_calculated_when_it_is_opened():
    factories.make_stream("=1+1", note="+49", source="@SUM(A1)")
    sheet = load_workbook(io.BytesIO(export_sheets()))["streams"]
    row = [cell for cell in sheet[2] if cell.value is not None]
    assert [cell.value for cell in row] == ["=1+1", "@SUM(A1)", "+49"]
    assert {cell.data_type for cell in row} == {"s"}


def test_an_export_has_a_sheet_and_columns_for_everything_a_file_can_say():
    import_access(EVERYTHING)
    import_access(WAYS_IN)
    root = read_sheets(export_sheets())
    assert {key.value for key, _ in root.value} == COLUMNS.keys() - {"tokens"}
