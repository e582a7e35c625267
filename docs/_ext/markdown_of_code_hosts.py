"""Reads Markdown as code hosts do: its links lead to files of the repository."""

from __future__ import annotations

import re

# What `html_extra_path` has is at the top of the site.
EXTRA = re.compile(r"\[([^]]*)\]\(_extra/([^)]*)\)")
# `docs/notebooks` is a link to the folder of the notebooks, which are pages here.
NOTEBOOK = re.compile(r"\]\(\.\./examples/(\w+)\.ipynb")


def lead_to_pages(app, name, source):
    source[0] = EXTRA.sub(r'<a href="\2">\1</a>', source[0])
    source[0] = NOTEBOOK.sub(r"](notebooks/\1", source[0])


def setup(app):
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
