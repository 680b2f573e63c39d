"""What is missing or foreign is named, a note stands in its place, and nothing of it ends the page."""

import json
import shutil

import numpy as np
import pytest
from built import require_node

from inspo.command_line import UserError
from report import build, examples, generations, markup, told, verdicts, watched, worlds
from report.__main__ import main
from report.sources import ROOT, Collection, Source
from theory import exact
from toy.baselines import pi_star, value_and_kl


@pytest.fixture
def found():
    return Collection()


def test_no_number_without_a_source(found):
    with pytest.raises(KeyError, match="rests on nothing"):
        found.number("a.b", 1, "1", "nothing")


def test_verdicts_are_those_of_their_page(found):
    verdicts.collect(found)
    text = verdicts.PAGE.read_text()
    claims = found.parts["verdicts"]
    assert len(claims) == text.count("- *Witness:* ")
    assert sum(len(claim["evidence"]) for claim in claims) == sum(
        line[2:3].isdigit() for line in text.splitlines() if line[:2] == "| "
    )
    for claim in claims:
        assert claim["verdict"] in verdicts.VERDICTS
        assert claim["truth"]
        assert claim["witness"]
        assert (claim["verdict"] == "true with assumption") == bool(claim["missing"])
        assert bool(claim["quote"]) == (claim["group"] != "own")


@pytest.mark.parametrize("text", [None, "no claims", "## The claims\n| [a](#a) |\n## a\nno verdict\n"])
def test_a_page_of_verdicts_that_is_none_is_named(found, tmp_path, text):
    page = tmp_path / "VERDICTS.md"
    if text is not None:
        page.write_text(text)
    verdicts.collect(found, page)
    assert found.parts["verdicts"] == []
    (note,) = found.notes["verdicts"]
    assert str(page) in note
    assert "python -m theory --write" in note


def test_worlds_without_results_are_named(found, tmp_path):
    worlds.collect(found, tmp_path)
    assert found.parts["worlds"] == []
    for name in worlds.WORLDS:
        assert f"python -m experiments run --world {name}" in found.notes[f"world-{name}"][0]


def test_a_foreign_result_is_named_and_not_counted(found, tmp_path):
    folder = tmp_path / "smol"
    shutil.copytree(worlds.RESULTS / "smol", folder)
    count = len(list(folder.glob("*.json")))
    (folder / "mine.json").write_text("{}")
    worlds.collect(found, tmp_path)
    assert [note.partition(": ")[2] for note in found.notes["world-smol"][:1]] == [
        "not counted: mine.json: has no 'version'"
    ]
    assert found.numbers["smol.trainings"]["value"] == count


@pytest.mark.parametrize(
    ("text", "why"), [(None, "make toy, or make quick"), ("{", "not valid JSON"), ("{}", "not the results")]
)
def test_results_of_the_toy_that_are_none_are_named(found, tmp_path, text, why):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    watched.collect(found, [tmp_path])
    assert found.parts["toy"] == []
    assert why in found.notes["toy"][0]


@pytest.mark.parametrize("text", [None, "[]", '{"about": {}, "replies": []}'])
def test_replies_that_are_none_are_named(found, tmp_path, text):
    file = tmp_path / "generations.json"
    if text is not None:
        file.write_text(text)
    generations.collect(found, file)
    assert found.parts["generations"] is None
    assert "python -m report.generations makes it" in found.notes["generations"][0]


def test_a_section_that_is_gone_is_named(found, tmp_path):
    (tmp_path / "page.md").write_text("# Title\n")
    told.collect(found, {"here": (tmp_path / "page.md", "Gone"), "there": (tmp_path / "none.md", "Gone")})
    assert "no heading 'Gone'" in found.notes["here"][0]
    assert "none.md" in found.notes["there"][0]


def test_a_section_ends_where_the_next_begins():
    text = "# A\n\n## B\none\n### C\ntwo\n## D\nthree\n"
    assert markup.section(text, "B") == "one\n### C\ntwo\n"
    assert markup.section(text, "D") == "three\n"


def test_markdown_has_no_markup_of_others_and_no_links_that_lead_nowhere():
    code = markup.markdown(
        "<b>x</b> [v](theory/VERDICTS.md#eq-6) [f](docs/toy.md) ![p](a.png)\n\n| a |\n|---|\n| 1 |\n"
    )
    assert "&lt;b&gt;" in code
    assert '<a href="#claim-eq-6">v</a>' in code
    assert '<span class="file" title="docs/toy.md">f</span>' in code
    assert "<img" not in code
    assert 'class="scroll" tabindex="0"' in code


def test_the_examples_are_what_their_claims_say(found):
    """V* of each as the claim's own witness has it, in the explorer's numbers."""
    examples.collect(found)
    of = {}
    for example in found.parts["examples"]:
        of.setdefault(example["claim"], []).append(example)
    wanted = {
        "thm-3.2-ii": [0.7, 1.0],
        "eq-10": [5 / 8],
        "variants": [21 / 40],
        "converse": [(1 / 2 + 4 / 5 + 3 / 4) / 3],
        "deployment": [0.6],
    }
    for claim, values in wanted.items():
        for example, V in zip(of[claim], values, strict=True):
            P, mu = (np.array(example[name]) for name in ("P", "mu"))
            assert value_and_kl(pi_star(P), P, mu)["value"] == pytest.approx(V), claim
    assert of["prop-3.1"][1]["P"] == [[float(p) for p in row] for row in exact.W]


def test_the_data_can_end_no_script():
    page = f"<html>{build.PLACE}</html>"
    text = build.fill(page, {"a": "</script><script>alert(1)</script>\u2028&"})
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028") & set(data)
    assert json.loads(data)["a"].endswith("\u2028&")


def test_a_page_that_is_too_large_is_refused():
    with pytest.raises(UserError, match="more than 5000000"):
        build.fill(build.PLACE, {"a": "x" * build.LARGEST})


def test_without_its_packages_the_command_says_so_in_a_line(monkeypatch, tmp_path, capsys):
    require_node()
    monkeypatch.setattr(build, "HERE", tmp_path)
    with pytest.raises(UserError, match="make report installs it"):
        build.bundle()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--out", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err == "error: node is not installed: the page is built with Node 20 or newer\n"


def test_every_committed_source_is_there(found):
    verdicts.collect(found)
    examples.collect(found)
    told.collect(found)
    assert not found.notes
    for source in found.sources.values():
        assert isinstance(source, Source)
        assert (ROOT / source.file.partition(",")[0]).exists()
