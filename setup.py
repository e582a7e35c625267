"""Gives the README that is published with the package addresses that work away from the clone."""

import re
from pathlib import Path

from setuptools import setup

SOURCE = "https://github.com/keras3-vis/keras3-vis"
# Pages are shown as the code host shows them, pictures are the files themselves.
PAGES = f"{SOURCE}/blob/main/"
PICTURES = f"{SOURCE.replace('//github.com', '//raw.githubusercontent.com')}/main/"


def absolute(readme: str) -> str:
    """The text with the addresses of pictures and pages of the repository in full."""
    readme = re.sub(r"(!\[[^]]*\]\()(?!\w+:)", rf"\1{PICTURES}", readme)
    return re.sub(r"(\]\()(?![\w+.-]+:|#)", rf"\1{PAGES}", readme)


setup(
    long_description=absolute(Path(__file__).with_name("README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
    project_urls={"Source": SOURCE, "Changelog": f"{PAGES}CHANGELOG.md"},
)
