"""docs/errors.md quotes the beginnings of messages; each is compared with the source of `vis/`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
ENTRIES = re.findall(r"^\| `` (.+?) `` \|", PAGE.read_text("utf-8"), re.M)
VARIABLE = "…"
# Words that a quotation needs to be found by a search.
FEWEST_WORDS = 2


def strings(path):
    """All strings of a file but its docstrings, with `…` for the values in f-strings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else VARIABLE for p in node.values]
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


SOURCE = [text for path in sorted((ROOT / "vis").rglob("*.py")) for text in strings(path)]


def is_in_source(entry):
    """Whether a string of the code has this text, or what follows "`argument` must" in it."""
    rest = re.sub(r"^`\w+` (must |should )?", "", entry)
    return len(rest.split()) >= FEWEST_WORDS and any(rest in text for text in SOURCE)


@pytest.mark.parametrize("entry", ENTRIES)
def test_messages_are_quoted_as_the_code_has_them(entry):
    assert is_in_source(entry)


def test_common_messages_are_listed_once_each():
    assert len(ENTRIES) >= 40
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_a_renamed_message_would_be_noticed():
    for entry in ENTRIES:
        assert not is_in_source(entry + " zebra")


def test_each_message_has_a_cause_and_a_cure():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ``")]
    assert len(rows) == len(ENTRIES)
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row
