"""Compares the list of API pages with the public names of the modules."""

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
INDEX = DOCS / "api" / "index.rst"


def listed():
    """Names with a page, by module."""
    names, module = {}, None
    for line in INDEX.read_text("utf-8").splitlines():
        if match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   (\w+)", line):
            names.setdefault(module, []).append(match[1])
    return names


def exported(module):
    """Public names of a module: its `__all__`, or everything with an example."""
    if hasattr(module, "__all__"):
        return {name for name in module.__all__ if is_defined_in_vis(getattr(module, name))}
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and "Example:" in (value.__doc__ or "")
    }


def is_defined_in_vis(value):
    return (getattr(value, "__module__", None) or "").startswith("vis")


@pytest.mark.parametrize("name", listed())
def test_public_names_have_a_page(name):
    # Some names are exported by two modules, such as `vis.visualization` and a submodule.
    pages = [
        getattr(importlib.import_module(module), page)
        for module, names in listed().items()
        for page in names
    ]
    module = importlib.import_module(name)
    for export in exported(module):
        assert any(getattr(module, export) is page for page in pages), export


@pytest.mark.parametrize("name", listed())
def test_names_with_a_page_exist_and_have_a_docstring(name):
    module = importlib.import_module(name)
    for page in listed()[name]:
        value = getattr(module, page)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), page
    assert len(set(listed()[name])) == len(listed()[name])


def test_the_index_lists_functions_of_keras():
    from vis import backend

    text = INDEX.read_text("utf-8")
    for name in backend.__all__:
        assert is_defined_in_vis(getattr(backend, name)) != (f"``{name}``" in text), name


@pytest.fixture(scope="module")
def readme():
    spec = importlib.util.spec_from_file_location("api_readme", DOCS / "_ext" / "api_readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.text()


def test_the_page_for_code_hosts_is_current(readme):
    """If not, run `python docs/_ext/api_readme.py`."""
    assert (DOCS / "api" / "README.md").read_text("utf-8") == readme


def test_the_page_for_code_hosts_has_each_name_with_arguments_and_source(readme):
    found = set()
    for name, path, arguments in re.findall(
        r"^- \[`(\w+)`\]\((.+?)\)`\((.*?)\)`: \w", readme, re.M
    ):
        source = (DOCS / "api" / path).resolve().read_text("utf-8")
        assert re.search(rf"^(def|class) {name}\b|^{name} = ", source, re.M), name
        assert all(
            argument.strip("*") in source for argument in re.findall(r"[*\w]+(?==)", arguments)
        )
        found.add(name)
    functions = {
        name
        for module, names in listed().items()
        for name in names
        if callable(getattr(importlib.import_module(module), name))
    }
    assert found == functions
