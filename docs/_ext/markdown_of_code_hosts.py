"""Rewrites links to repository files, which code hosts follow, into links to pages of the site."""

import re

# Files of `html_extra_path` are at the top of the site.
EXTRA = re.compile(r"\[([^]]*)\]\(_extra/([^)]*)\)")
# `docs/notebooks` is a symbolic link to `examples`, whose notebooks are pages here.
NOTEBOOK = re.compile(r"\]\(\.\./examples/(\w+)\.ipynb")


def link_to_pages(app, name, source):
    source[0] = EXTRA.sub(r'<a href="\2">\1</a>', source[0])
    source[0] = NOTEBOOK.sub(r"](notebooks/\1", source[0])


def setup(app):
    app.connect("source-read", link_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
