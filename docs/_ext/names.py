"""Links the names in docstrings: ours by themselves, those of Keras to keras.io by a rule.

Docstrings write all code in single backticks, as Keras does. So the default role makes a link of
what is the name of something that has a page, and code of all else.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.intersphinx import resolve_reference_any_inventory

KERAS = "https://keras.io/api/"
# What keras.io calls the pages of a module; it has no inventory.
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
# As the docstrings and the type hints shorten them.
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
    """Address of the page about a name such as `keras.layers.Layer` or `keras.src.models.X`."""
    first = name.removeprefix("keras.").removeprefix("src.").split(".")[0]
    return f"https://keras.io/api/{KERAS_PAGES[first]}/" if first in KERAS_PAGES else KERAS


def code_or_name(role, rawtext, text, lineno, inliner, options=None, content=None):
    """The default role: a reference that may lead nowhere, without complaint."""
    literal = nodes.literal(rawtext, text, classes=["py"])
    if not NAME.fullmatch(text):
        return [literal], []
    reference = addnodes.pending_xref(rawtext, literal, reftype="maybe", reftarget=text)
    reference["refdomain"] = ""
    return [reference], []


def of_ours(env, name: str):
    """Page and anchor of what has a page here: by its full name, or by the end of it."""
    objects = env.domains["py"].objects
    if name in objects:
        return name, objects[name]
    ends = [
        (full, entry)
        for full, entry in objects.items()
        if full.endswith(f".{name}")
        and (entry.objtype in ("class", "function", "exception") or "." in name)
    ]
    # Of names that two modules have, such as `relu`, nobody knows which is meant.
    return ends[0] if len({entry.node_id for _, entry in ends}) == 1 else None


def in_inventory(env, target: str, contnode):
    """A reference into the documentation of NumPy, Matplotlib or Python."""
    for kind in ("class", "func", "meth", "data"):
        asked = addnodes.pending_xref("", refdomain="py", reftype=kind, reftarget=target)
        if found := resolve_reference_any_inventory(env, False, asked, contnode):
            return found
    return None


def resolve(app, env, node, contnode):
    """Links what Sphinx itself does not find."""
    target = node.get("reftarget", "")
    for short, full in SHORT.items():
        target = re.sub(f"^{short}", full, target)
    if target.startswith("keras."):
        return nodes.reference("", "", contnode, refuri=keras_page(target), internal=False)
    if found := of_ours(env, target):
        full, entry = found
        address = app.builder.get_relative_uri(node["refdoc"], entry.docname)
        return nodes.reference("", "", contnode, refuri=f"{address}#{entry.node_id}", reftitle=full)
    if found := in_inventory(env, target, contnode):
        return found
    # What the inside of the library is made of has no page, and not all code is a name.
    return contnode if target.startswith("vis.") or node.get("reftype") == "maybe" else None


def remember_page(app, doctree):
    """References made by a role of its own do not know which page they are on."""
    for node in doctree.findall(addnodes.pending_xref):
        node.setdefault("refdoc", app.env.docname)


def setup(app):
    app.add_role("code-or-name", code_or_name)
    app.config.default_role = "code-or-name"
    app.connect("doctree-read", remember_page)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
