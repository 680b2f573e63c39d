"""The documentation site: every page of the repository, and API pages from docstrings. ``python -m docs.site``.

Pages are staged at their own paths with the files that they link to, so that a link leads to the same place on the site
as in a checkout; one to a folder leads to a page that lists it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from inspo.command_line import UserError, exit_code

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "mkdocs.yml"
PAGES = (".", "docs", "theory", "theory/proofs", "benchmarks", "experiments/results")
"""Folders whose pages are on the site."""

API = ("inspo", "inspo.hf", "inspo.trl", "scaled.generation")
"""Packages with API pages: what others import."""

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]+)?(\))")


def stage(folder: Path) -> list[Path]:
    """Put the site's sources into a folder, which is made anew.

    Args:
        folder: for the sources.

    Returns:
        The pages, but for those of the API.

    Raises:
        FileNotFoundError: a page links to what is not there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = sorted(page for place in PAGES for page in (ROOT / place).glob("*.md"))
    for page in pages:
        target = _place(folder, page)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_linked(page, folder, set(pages)))
    (folder / "api").mkdir()
    for module in chain(*api_modules().values()):
        (folder / "api" / f"{module}.md").write_text(f"# `{module}`\n\n::: {module}\n")
    return pages


def api_modules() -> dict[str, list[str]]:
    """By package of :data:`API` its modules, itself first."""
    found = {}
    for package in API:
        files = sorted((ROOT / package.replace(".", "/")).glob("*.py"))
        found[package] = [package, *(f"{package}.{file.stem}" for file in files if file.stem != "__init__")]
    return found


def _place(folder: Path, file: Path) -> Path:
    """Where a file of the repository is among the sources; the README of all is the first page."""
    path = file.relative_to(ROOT)
    return folder / ("index.md" if path == Path("README.md") else path)


def _linked(page: Path, folder: Path, pages: Iterable[Path]) -> str:
    """A page's text; what it links to is staged."""

    def follow(match: re.Match[str]) -> str:
        before, link, fragment, after = match[1], match[2], match[3] or "", match[4]
        if re.match(r"[a-z]+:", link):
            return match[0]
        file = (page.parent / link).resolve()
        if not file.is_relative_to(ROOT) or not file.exists():
            raise FileNotFoundError(f"{page.relative_to(ROOT)} links to {link}, which is not there")
        target = _place(folder, file)
        if file.is_dir():
            target = target / "index.md"
            target.parent.mkdir(parents=True, exist_ok=True)
            names = (one.name for one in sorted(file.iterdir()) if not one.name.startswith(("_", ".")))
            if not (file / "README.md").exists():
                target.write_text("\n".join([f"# `{link}`", "", *(f"- `{name}`" for name in names)]) + "\n")
        elif file not in pages:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        return f"{before}{os.path.relpath(target, _place(folder, page).parent)}{fragment}{after}"

    parts = re.split(r"(```.*?```)", page.read_text(), flags=re.DOTALL)
    return "".join(part if number % 2 else LINK.sub(follow, part) for number, part in enumerate(parts))


def build(source: Path, out: Path) -> Path:
    """Stage and build the site.

    Args:
        source: for what it is built from.
        out: for the site.

    Returns:
        Its first page.

    Raises:
        UserError: a package is missing, or something that the site says is not there.
    """
    try:
        from mkdocs.commands.build import build as build_site
        from mkdocs.config import load_config
        from mkdocs.exceptions import Abort
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install --group site -e .") from None
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stage(source)
    nav = settings()["nav"]
    (api,) = (entry for entry in nav if "API" in entry)
    api["API"] = [
        {package: [{module: f"api/{module}.md"} for module in modules]} for package, modules in api_modules().items()
    ]
    try:
        build_site(load_config(str(CONFIG), nav=nav, docs_dir=str(source), site_dir=str(out)))
    except Abort as error:
        raise UserError(f"the site is not built: {error}") from None
    return out / "index.html"


def settings() -> dict[str, Any]:
    """What mkdocs.yml says."""
    found: dict[str, Any] = yaml.unsafe_load(CONFIG.read_text())  # it names a function
    return found


def main() -> str:
    """The command; it says where the site is."""
    given = settings()
    return str(build(ROOT / given["docs_dir"], ROOT / given["site_dir"]))


if __name__ == "__main__":
    sys.exit(exit_code(main))
