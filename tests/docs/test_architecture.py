"""The page that says where things are, and the picture of a pair's walk."""

import re
import tomllib

import pytest
import torch
from pages import ROOT, names_in, table_rows
from PIL import Image

from docs.draw_walk import CONTENTS, PICTURE, draw
from docs.walk import STATIONS, walk

PAGE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("reference"))


def test_the_stations_on_the_page_are_those_of_the_picture_and_exist():
    rows = table_rows(PAGE, header="| station | what a pair is there |")
    assert [(name, file.strip("`"), function.strip("`")) for name, _, file, function in rows] == list(STATIONS)
    assert len(CONTENTS) == len(STATIONS) == 10
    for station in STATIONS:
        assert station.function in names_in(station.file)


def test_the_committed_picture_is_of_these_stations():
    described = Image.open(PICTURE).text["Description"]
    assert described.splitlines() == [" ".join(station) for station in STATIONS]


def test_a_pair_walks_all_the_way(walked):
    """x = 21, y_w = 16 and y_l = 6 tokens, as the picture says: the tree has 21 + 2 (16 + 6) - 2 = 63."""
    index = walked.index
    pair, tree = walked.examples.pairs[index], walked.examples.tree(index)
    assert walked.record["chosen"][0]["content"] in walked.line
    assert len(walked.examples) + len(walked.validation) == len(walked.kept)
    assert (len(pair.prompt), len(pair.chosen), len(pair.rejected)) == (21, 16, 6)
    assert len(tree) == 63
    assert sum(len(slot.pairs) for slot in walked.plan.updates[0]) == walked.plan.batch_size
    assert walked.batch.row.tokens[: len(tree)].tolist() == tree.tokens.tolist()
    policy, reference = walked.policy.values(), walked.batch.reference.values()
    ratios = [mine - theirs for mine, theirs in zip(policy, reference, strict=True)]
    torch.testing.assert_close(walked.losses, -torch.nn.functional.logsigmoid(0.1 * (ratios[0] - ratios[1])))


def test_it_can_be_drawn(walked):
    figure = draw(walked)
    assert len(figure.axes) == 1 + len(STATIONS)
    shown = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
    assert all(station.file in shown for station in STATIONS)


def test_where_is_names_what_exists():
    rows = table_rows(PAGE, header="| what | where |")
    assert len(rows) > 25
    for what, where in rows:
        assert re.search(r"`[\w/]+\.py`", where), what
        file = None
        for name in re.findall(r"`([^`]+)`", where):
            if name.endswith(".py"):
                file = name
                assert (ROOT / file).is_file(), what
            elif re.fullmatch(r"\w+", name):
                assert name in names_in(file), f"{what}: {name} is not in {file}"


@pytest.mark.parametrize(("drawn", "contract"), [(1, "within scaled: run"), (2, "within scaled.evaluation: ")])
def test_the_layers_are_those_of_the_contracts(drawn, contract):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["name"].startswith(contract))
    lines = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[drawn].splitlines()
    lines = [*(line.split("  ")[0] for line in lines[:-1]), lines[-1].split("   ")[0]]

    def rooms(line: str) -> set[str]:
        return set(re.findall(r"\w+", line.replace("scaled.", "").replace("evaluation.", "")))

    assert [rooms(line) for line in lines[:-1]] == [rooms(layer) for layer in layers[: len(lines) - 1]]
    assert rooms(lines[-1]) == set().union(*map(rooms, layers[len(lines) - 1 :]))
