"""Checks that files about the project agree with each other and with the code."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import vis

ROOT = Path(__file__).parent.parent


def text(path):
    return (ROOT / path).read_text("utf-8")


def test_all_files_have_the_same_version():
    newest = re.search(r"^## \[(\d.*)\]$", text("CHANGELOG.md"), re.M)[1]
    assert newest == vis.__version__
    assert re.search(r"^version: (.+)$", text("CITATION.cff"), re.M)[1] == vis.__version__


def test_import_prints_nothing():
    """TensorFlow 2.21 prints six lines whatever its switches are."""
    run = subprocess.run([sys.executable, "-c", "import vis"], capture_output=True, check=True)
    assert run.stdout + run.stderr == b""


def test_the_lowest_versions_are_tested():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    required = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text(".ci/lowest.txt"), re.M))
    lowest = dict(requirement.split(">=") for requirement in required)
    assert lowest.keys() == tested.keys()
    for name, version in lowest.items():
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", tested[name]), name


def test_files_that_the_docs_name_exist():
    """`vis/backend/` and the like in the Markdown files."""
    for page in [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for path in re.findall(
            r"`((?:vis|tests|benchmarks|examples|docs)/[\w/.]*)`", page.read_text()
        ):
            assert (ROOT / path).exists(), (page.name, path)


def test_names_in_the_design_exist():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "vis").rglob("*.py"))
    for code in re.findall(r"`([^`\n]+)`", text("docs/design.md")):
        for name in re.findall(r"[A-Za-z]\w*[a-z_][A-Z_]\w*", re.sub(r"\S*/\S*", "", code)):
            assert name in source, name


def checks():
    """The functions of `.ci/run` that are checks."""
    functions = re.findall(r"^([\w-]+)\(\) \{", text(".ci/run"), re.M)
    return set(functions) - {"environment", "newest"}


def test_contributing_lists_all_checks():
    lines = re.findall(r"^- `([\w-]+)`(, not by default)?:", text("CONTRIBUTING.md"), re.M)
    assert {name for name, _ in lines} == checks()
    default = re.search(r"checks=\(([a-z -]+)\)", text(".ci/run"))[1].split()
    assert {name for name, excluded in lines if not excluded} == set(default)


def test_workflows_run_what_continuous_integration_runs():
    called = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for command in re.findall(r"run: (.+)", path.read_text()):
            script, *names = command.split()
            assert script == ".ci/run"
            called.update(name for name in names if name in checks())
        for matrix in re.findall(r"check: \[(.+)\]", path.read_text()):
            called.update(matrix.split(", "))
    assert called == checks()


@pytest.fixture
def setup():
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    setuptools = pytest.importorskip("setuptools")
    with mock.patch.object(setuptools, "setup") as called:
        spec.loader.exec_module(module)
    module.arguments = called.call_args.kwargs
    return module


def test_links_of_the_published_readme_lead_to_files(setup):
    published = setup.arguments["long_description"]
    assert published.splitlines()[0] == text("README.md").splitlines()[0]
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", published)
    links = re.findall(r"(?<!!)\[[^]]*\]\(([^)]+)\)", published)
    assert pictures
    assert links
    for start, addresses in ((setup.PICTURES, pictures), (setup.PAGES, links)):
        assert any(address.startswith(start) for address in addresses)
        for address in addresses:
            assert address.startswith("https://"), address
            if address.startswith(start):
                assert (ROOT / address.removeprefix(start).split("#")[0]).is_file(), address


def test_the_gallery_has_pictures_with_a_few_lines_of_code(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs" / "_ext"), *sys.path])
    from gallery import cards

    gallery = list(cards())
    assert len(gallery) >= 16
    assert len({card.name for card in gallery}) == len(gallery)
    for card in gallery:
        assert 1 <= len([line for line in card.code.splitlines() if line.strip()]) <= 5, card.title
        assert len(card.picture) > 1000, card.title
