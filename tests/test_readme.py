"""Checks commands, links and imports of README.md and the pages in docs/."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def commands():
    """The commands of README.md that create a virtual environment, by their last part."""
    lines = "".join(code_blocks(ROOT / "README.md", "sh")).splitlines()
    steps = [line.split(" && ") for line in lines if line.startswith("python3 -m venv")]
    return {last: first for *first, last in steps}


def test_both_commands_include_their_setup():
    lines = commands()
    assert len(lines) == 2
    for last, first in lines.items():
        assert first[0] == "python3 -m venv .venv"
        assert first[1].startswith(".venv/bin/pip install")
        assert last.startswith(".venv/bin/python")


def test_the_script_of_the_first_command_exists():
    scripts = [last.split()[1] for last in commands() if "pytest" not in last]
    assert len(scripts) == 1
    assert (ROOT / scripts[0]).is_file()


def test_the_extras_of_the_commands_exist():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for first in commands().values():
        (extra,) = re.findall(r"\.\[(\w+)\]", first[1])
        assert extra in extras["optional-dependencies"]


def test_continuous_integration_finds_the_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -E '([^']+)' README\.md", script)[1]
    lines = [
        line for line in (ROOT / "README.md").read_text().splitlines() if re.search(pattern, line)
    ]
    assert len(lines) == 1
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


@each_page
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@each_page
def test_imports_in_code_blocks_work(page):
    for block in code_blocks(page, "python"):
        imports = [
            node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        exec(compile(ast.Module(imports, type_ignores=[]), page.name, "exec"), {})
