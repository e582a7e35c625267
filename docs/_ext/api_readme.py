"""Writes `docs/api/README.md`, the API for readers of a code host, which cannot build the site.

Run `python docs/_ext/api_readme.py` after a change of a public signature or summary.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import vis

FOLDER = Path(__file__).parents[1] / "api"
HEAD = """# API

All public names of `vis` with their arguments. Names link to the source, whose docstrings describe
arguments, results and errors, with an example. `python -m sphinx docs docs/_build/html` builds the
same as a site.
"""


def groups() -> Iterator[tuple[str, str, list[str]]]:
    """The names in `index.rst`, by the title of the section and the module."""
    names: dict[tuple[str, str], list[str]] = {}
    title = module = ""
    lines = (FOLDER / "index.rst").read_text("utf-8").splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch(r"-+", below):
            title = line
        elif match := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.fullmatch(r"   (\w+)", line):
            names.setdefault((title, module), []).append(match[1])
    for key, values in names.items():
        yield *key, values


def signature(value: Any) -> str:
    """Names of the arguments with their defaults, without types."""
    parameters = inspect.signature(value).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name != "self"]
    return str(inspect.Signature(bare))


def entry(module: str, name: str) -> str:
    """A line for a public name: its arguments, the beginning of its docstring, and a link."""
    value = getattr(importlib.import_module(module), name)
    summary = (inspect.getdoc(value) or "").split("\n\n", 1)[0].replace("\n", " ")
    if not callable(value):
        return f"- `{name}`"
    path = (
        Path(inspect.getfile(inspect.unwrap(value)))
        .relative_to(Path(vis.__file__).parents[1])
        .as_posix()
    )
    return f"- [`{name}`](../../{path})`{signature(value)}`: {summary}"


def text() -> str:
    """The page."""
    parts, last = [HEAD], ""
    for title, module, names in groups():
        lines = "\n".join(entry(module, name) for name in names)
        heading = "" if title == last else f"\n## {title}\n"
        parts.append(f"{heading}\n`from {module} import ...`\n\n{lines}\n")
        last = title
    return "".join(parts)


if __name__ == "__main__":
    (FOLDER / "README.md").write_text(text(), "utf-8")
