"""The page's bundle for tests, built once a process; skipped where node or its packages are missing."""

import shutil
from functools import cache

from examples import missing

from report.build import HERE, bundle, fill

AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"


def require_node():
    """Skip where the page cannot be built; see :func:`examples.missing`."""
    if shutil.which("npm") is None:
        missing("npm is not installed: the page is built with Node 20 or newer")
    if not (HERE / "node_modules").is_dir():
        missing("report/node_modules is missing: make packages")


@cache
def bundled():
    """The page without data."""
    require_node()
    return bundle()


def write(path, data):
    """A page of these data."""
    path.write_text(fill(bundled(), data), encoding="utf-8")
    return path.as_uri()
