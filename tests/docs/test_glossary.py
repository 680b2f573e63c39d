"""A word of the glossary means one thing, and is used."""

import re
from collections import Counter

import pytest
from pages import PAGES, ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text()
TERMS = [" ".join(term.replace("\\", "").split()) for term in re.findall(r"\*\*([^*]+(?:\\\*)?)\*\*", PAGE)]
NAMES = re.findall(r"`([A-Za-z_.]+)`", PAGE)
FOLDERS = ("inspo", "scaled", "toy", "theory", "paper_figures")


def spaced(text: str) -> str:
    """A name's words apart: ``reference_model`` is a use of "reference model"."""
    return re.sub(r"(?<=\w)[_-](?=\w)", " ", text)


@pytest.fixture(scope="module")
def elsewhere() -> str:
    """Everything but the glossary, in lower case, its words separated by single spaces."""
    code = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    text = " ".join(path.read_text() for path in (*code, *PAGES) if path.name != "glossary.md")
    return spaced(re.sub(r"\s+", " ", text.replace("\\", "")).lower())


def test_it_has_the_words_that_readers_ask_about():
    asked = {
        *("comparator", "draft", "context", "separator", "tree", "row", "slot", "update", "micro-step", "plan"),
        *("margin", "score", "reward", "reference_logps", "reference context", "reference model", "validation"),
        *("rank", "world size", "architecture", "fingerprint", "metrics", "verdict", "claim", "V", "pi_bar", "psi"),
    }
    assert asked <= set(TERMS)


def test_each_word_is_explained_once():
    assert [term for term, count in Counter(TERMS).items() if count > 1] == []


@pytest.mark.parametrize("term", TERMS)
def test_each_word_is_used(term, elsewhere):
    pattern = rf"(?<!\w){re.escape(spaced(term.lower()))}(s|es|ed)?(?!\w)"
    assert re.search(pattern, elsewhere), term


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_used(name, elsewhere):
    assert spaced(name.lower()) in elsewhere, name
