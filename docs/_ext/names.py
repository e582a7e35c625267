"""Links names in docstrings to the pages of this site, keras.io, NumPy, Matplotlib and Python.

Docstrings write all code in single backticks, as Keras does. The default role makes a link of each
name that has a page, and code of everything else.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.intersphinx import resolve_reference_any_inventory

KERAS = "https://keras.io/api/"
# Pages of keras.io by module. It has no inventory.
KERAS_PAGES = {
    "layers": "layers",
    "models": "models",
    "Model": "models",
    "Sequential": "models",
    "optimizers": "optimizers",
    "callbacks": "callbacks",
    "applications": "applications",
    "ops": "ops",
    "losses": "losses",
    "utils": "utils",
}
# Abbreviations in docstrings and type hints.
SHORT = {
    "np.": "numpy.",
    "plt.": "matplotlib.pyplot.",
    "Figure$": "matplotlib.figure.Figure",
    "Axes$": "matplotlib.axes.Axes",
    "numpy.random._generator.": "numpy.random.",
    "concurrent.futures._base.": "concurrent.futures.",
}
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def keras_page(name: str) -> str:
    """Address of the page for a name such as `keras.layers.Layer` or `keras.src.models.X`."""
    first = name.removeprefix("keras.").removeprefix("src.").split(".")[0]
    return f"https://keras.io/api/{KERAS_PAGES[first]}/" if first in KERAS_PAGES else KERAS


def code_or_name(role, rawtext, text, lineno, inliner, options=None, content=None):
    """The default role: a reference that may remain unresolved without a warning."""
    literal = nodes.literal(rawtext, text, classes=["py"])
    if not NAME.fullmatch(text):
        return [literal], []
    reference = addnodes.pending_xref(rawtext, literal, reftype="maybe", reftarget=text)
    reference["refdomain"] = ""
    return [reference], []


def in_this_site(env, name: str):
    """Page and anchor of an object of this site, by its full name or the end of it."""
    objects = env.domains["py"].objects
    if name in objects:
        return name, objects[name]
    ends = [
        (full, entry)
        for full, entry in objects.items()
        if full.endswith(f".{name}")
        and (entry.objtype in ("class", "function", "exception") or "." in name)
    ]
    # Names in two modules, such as `relu`, are ambiguous.
    return ends[0] if len({entry.node_id for _, entry in ends}) == 1 else None


def in_inventory(env, target: str, contnode):
    """A reference to the documentation of NumPy, Matplotlib or Python."""
    for kind in ("class", "func", "meth", "data"):
        reference = addnodes.pending_xref("", refdomain="py", reftype=kind, reftarget=target)
        if found := resolve_reference_any_inventory(env, False, reference, contnode):
            return found
    return None


def resolve(app, env, node, contnode):
    """Resolves references that Sphinx does not."""
    target = node.get("reftarget", "")
    for short, full in SHORT.items():
        target = re.sub(f"^{short}", full, target)
    if target.startswith("keras."):
        return nodes.reference("", "", contnode, refuri=keras_page(target), internal=False)
    if found := in_this_site(env, target):
        full, entry = found
        address = app.builder.get_relative_uri(node["refdoc"], entry.docname)
        return nodes.reference("", "", contnode, refuri=f"{address}#{entry.node_id}", reftitle=full)
    if found := in_inventory(env, target, contnode):
        return found
    # Internal names have no page, and not all code is a name.
    return contnode if target.startswith("vis.") or node.get("reftype") == "maybe" else None


def set_page(app, doctree):
    """Sets the page of references that custom roles create."""
    for node in doctree.findall(addnodes.pending_xref):
        node.setdefault("refdoc", app.env.docname)


def setup(app):
    app.add_role("code-or-name", code_or_name)
    app.config.default_role = "code-or-name"
    app.connect("doctree-read", set_page)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
