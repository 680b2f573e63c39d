"""Links between the pages lead somewhere, and the paper is cited rightly."""

import re

import pytest
import yaml
from pages import PAGES, ROOT, anchor

import inspo


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert fragment in map(anchor, headings), target


def test_the_software_and_the_paper_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license"} <= citation.keys()
    assert citation["version"] == inspo.__version__
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Li", "Lan", "Qi"]
    assert paper["title"] in inspo.__doc__.replace("\n", " ")
    assert "2512.23126" in paper["url"]
    bibtex = (ROOT / "README.md").read_text().replace("{InSPO}", "InSPO").replace("{LLM}", "LLM")
    assert f"title   = {{{paper['title']}}}" in bibtex
