"""The documentation site: built without a warning, complete, and with nothing loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from pages import PAGES, ROOT, code_blocks

import inspo
from docs import site
from docs.docstrings import as_markdown

ASSET = re.compile(r"<(?:script|img|iframe|link rel=.stylesheet.)[^>]* (?:src|href)=.?(http[^\"' >]+)")
GUIDES = ("check_a_claim", "toy", "first_run", "evaluation", "reproduce", "from_trl")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a built site; a warning, such as of a link or an anchor that is not there, fails it."""
    folder = tmp_path_factory.mktemp("site")
    return site.build(folder / "source", folder / "site").parent


@pytest.mark.slow
def test_every_page_is_on_it(built):
    for page in PAGES:
        path = page.relative_to(ROOT)
        assert (built / ("index.html" if str(path) == "README.md" else path.with_suffix(".html"))).is_file(), path


@pytest.mark.slow
def test_it_loads_nothing_from_elsewhere(built):
    for page in built.rglob("*.html"):
        assert not ASSET.findall(page.read_text()), page


@pytest.mark.slow
def test_every_public_name_has_its_docstring_there(built):
    text = (built / "api" / "inspo.html").read_text()
    for name in inspo.__all__:
        assert f'id="inspo.{name}"' in text or any(
            f'.{name}"' in page.read_text() for page in (built / "api").glob("inspo*.html")
        ), name
    for page in (built / "api").glob("*.html"):
        said = re.sub(r"<details class=\"mkdocstrings-source\">.*?</details>", "", page.read_text(), flags=re.DOTALL)
        assert not re.search(r":(?:func|class|data|meth|mod|attr):", said), page


def test_the_navigation_has_a_guide_for_each_use():
    text = (ROOT / "mkdocs.yml").read_text()
    for guide in GUIDES:
        assert f"docs/{guide}.md" in text
    named = set(re.findall(r": (\S+\.md)$", text, re.MULTILINE))
    pages = {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"}
    assert all((ROOT / name).is_file() for name in named - {"index.md"})
    assert {page for page in pages if page.startswith("docs/")} <= named


def test_a_link_to_nowhere_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("[there](nowhere.py) and ```[code](x.py)```")
    with pytest.raises(FileNotFoundError, match=r"page.md links to nowhere.py, which is not there"):
        site.stage(tmp_path / "staged")


def test_links_keep_their_place_and_folders_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    monkeypatch.setattr(site, "API", ())
    (tmp_path / "docs" / "img").mkdir(parents=True)
    (tmp_path / "docs" / "img" / "one.png").write_bytes(b"one")
    (tmp_path / "README.md").write_text("# Here\n[guide](docs/guide.md#part) [https](https://example.org)\n")
    (tmp_path / "docs" / "guide.md").write_text("# Part\n[home](../README.md) ![one](img/one.png) [all](img)\n")
    site.stage(tmp_path / "staged")
    assert "(docs/guide.md#part) [https](https://example.org)" in (tmp_path / "staged" / "index.md").read_text()
    assert "(../index.md) ![one](img/one.png) [all](img/index.md)" in (tmp_path / "staged/docs/guide.md").read_text()
    assert (tmp_path / "staged/docs/img/one.png").read_bytes() == b"one"
    assert "- `one.png`" in (tmp_path / "staged/docs/img/index.md").read_text()


def test_the_claims_page_computes_what_it_says():
    """Each line with a comment has that value, to the digits that the comment has."""
    (block,) = code_blocks((ROOT / "docs" / "check_a_claim.md").read_text(), "python")
    said = re.findall(r"^(\S.*)  # (array\(.*?\)|[\d.]+): ", block, re.MULTILINE)
    shown = block + "".join(f"\nprint(repr({code}))" for code, _ in said)
    found = subprocess.run([sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line, (code, expected) in zip(found.splitlines(), said, strict=True):
        value = re.sub(r"np\.float64\((.*)\)", r"\1", line)
        assert (value if expected.startswith("array") else f"{float(value):.2f}") == expected, code
    assert len(said) == 3


def test_docstrings_are_markdown():
    text = "One\n\n>>> f(1)\n2\n>>> g()\n\nsee :class:`inspo.pairs.PairLogps`"
    assert as_markdown(text).splitlines()[2:7] == ["```pycon", ">>> f(1)", "2", ">>> g()", "```"]
    assert 'identifier="inspo.pairs.PairLogps"' in as_markdown(text)


def test_its_configuration_stages_where_nothing_is_kept():
    given = site.settings()
    assert given["strict"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert all(given[name].split("/")[0] + "/" in ignored for name in ("docs_dir", "site_dir"))
