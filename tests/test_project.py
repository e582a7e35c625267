"""Files about the project agree with one another, and with what there is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from unittest import mock

import pytest

import vis

ROOT = Path(__file__).parent.parent


def text(path):
    return (ROOT / path).read_text("utf-8")


def test_all_name_the_same_version():
    newest = re.search(r"^## \[(\d.*)\]$", text("CHANGELOG.md"), re.M)[1]
    assert newest == vis.__version__
    assert re.search(r"^version: (.+)$", text("CITATION.cff"), re.M)[1] == vis.__version__


def test_the_lowest_versions_are_those_that_are_tested():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    admitted = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text(".ci/lowest.txt"), re.M))
    lowest = dict(requirement.split(">=") for requirement in admitted)
    assert lowest.keys() == tested.keys()
    for name, version in lowest.items():
        assert re.fullmatch(rf"{re.escape(version)}(\.0)*", tested[name]), name


def checks():
    return re.findall(r"^(\w+)\(\) \{", text(".ci/run"), re.M)


def test_contributors_are_told_of_all_checks():
    told = re.findall(r"^- `(\w+)`", text("CONTRIBUTING.md"), re.M)
    assert set(told) == set(checks()) - {"environment", "newest"}
    default = re.search(r"checks=\(([a-z ]+)\)", text(".ci/run"))[1].split()
    assert sorted(default) == sorted(told)


def test_workflows_run_what_continuous_integration_runs():
    found = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for command in re.findall(r"run: (.+)", path.read_text()):
            script, *names = command.split()
            assert script == ".ci/run"
            found.update(names)
    assert found == set(checks()) - {"environment", "newest"}


@pytest.fixture
def setup():
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    setuptools = pytest.importorskip("setuptools")
    with mock.patch.object(setuptools, "setup") as called:
        spec.loader.exec_module(module)
    module.given = called.call_args.kwargs
    return module


def test_the_readme_that_is_published_leads_to_files_that_exist(setup):
    published = setup.given["long_description"]
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


def test_the_gallery_has_a_picture_and_a_few_lines_of_each_kind(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs" / "_ext"), *sys.path])
    from gallery import cards

    found = list(cards())
    assert len(found) >= 16
    assert len({card.name for card in found}) == len(found)
    for card in found:
        assert 1 <= len([line for line in card.code.splitlines() if line.strip()]) <= 5, card.title
        assert len(card.picture) > 1000, card.title
