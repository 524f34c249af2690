"""Lines of CSV files, to be written one by one. No cell of them is a formula."""

import csv
import io
from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would calculate."""


def csv_line(cells: Iterable[str]) -> bytes:
    """One line. What a spreadsheet would calculate gets an apostrophe in front."""
    line = io.StringIO()
    csv.writer(line).writerow([defused(cell) for cell in cells])
    return line.getvalue().encode(errors="replace")


def defused(cell: str) -> str:
    """The cell as a spreadsheet takes it for text."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
