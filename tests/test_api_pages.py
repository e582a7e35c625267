"""The list of the API pages against what the modules export."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

INDEX = Path(__file__).parent.parent / "docs" / "api" / "index.rst"


def listed():
    """Names that have a page, by module."""
    found, module = {}, None
    for line in INDEX.read_text("utf-8").splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   (\w+)", line):
            found.setdefault(module, []).append(match[1])
    return found


def exported(module):
    """What a module offers: what it says itself, or what it shows how to use."""
    if hasattr(module, "__all__"):
        return {name for name in module.__all__ if comes_from_here(getattr(module, name))}
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and "Example:" in (value.__doc__ or "")
    }


def comes_from_here(value):
    return (getattr(value, "__module__", None) or "").startswith("vis")


@pytest.mark.parametrize("name", listed())
def test_all_that_a_module_exports_has_a_page(name):
    # Some is exported by two modules, as `vis.visualization` is the shorter way to it.
    pages = [
        getattr(importlib.import_module(module), page)
        for module, names in listed().items()
        for page in names
    ]
    module = importlib.import_module(name)
    for export in exported(module):
        assert any(getattr(module, export) is page for page in pages), export


@pytest.mark.parametrize("name", listed())
def test_all_that_has_a_page_is_there_and_documented(name):
    module = importlib.import_module(name)
    for page in listed()[name]:
        value = getattr(module, page)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), page
    assert len(set(listed()[name])) == len(listed()[name])


def test_the_index_names_what_comes_from_keras():
    from vis import backend

    text = INDEX.read_text("utf-8")
    for name in backend.__all__:
        assert comes_from_here(getattr(backend, name)) != (f"``{name}``" in text), name
