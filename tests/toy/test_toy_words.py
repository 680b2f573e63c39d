"""What the plots say, and that names of any kind are drawn as they are and beside each other."""

import re
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from inspo.preferences import PreferenceTable, from_counts
from toy import style
from toy.config import ToyConfig
from toy.plots import PLOTS
from toy.problems import NotApplicableError
from toy.style import FORMATS, Page, drawable, is_saved, plt, save
from toy.words import Caption, codes, markdown, plain, spaced, wrap

QUICK = ToyConfig(steps=10, replicates=2, problems=3, draws=20)
LABELS = {
    "dollars": ["Ca$$h", "pro ($20, was $29)", r"$\frac{1}{0$ \alpha_{", "50% & more"],
    "short dollars": ["Ca$$h", r"\pi$", "$x^2"],
    "long": [f"experiment {i}: a checkpoint with quite a long name, seed {i}" for i in range(9)],
    "many": [f"experiment {i}: a checkpoint with quite a long name, seed {i}" for i in range(25)],
    "numbers": ["7", "13", "70"],
}
NAMING = ["prop_3_1", "valley", "realizability", "human_tables", "one_sided", "training_dynamics"]


@cache
def computed(name, labels):
    """A plot's results on a table with these labels; None where the plot has nothing to say."""
    names = LABELS[labels]
    k, rng = len(names), np.random.default_rng(5)
    above = np.triu(rng.integers(5, 36, (k, k)), 1)
    counts = np.where(np.eye(k), 0, above + np.tril(40 - above.T, -1))
    table = PreferenceTable(from_counts(counts), tuple(names), f"{labels} $HOME", "a <b> & $c", counts)
    try:
        return PLOTS[name].compute(QUICK, table)
    except NotApplicableError:
        return None


@pytest.mark.parametrize("labels", ["dollars", "short dollars"])
@pytest.mark.parametrize("name", NAMING)
def test_names_with_dollar_signs_are_drawn_as_they_are(name, labels, tmp_path, monkeypatch):
    """matplotlib reads text between two dollar signs as mathematics, and stops where that is none."""
    monkeypatch.setitem(style._SETTINGS, "svg.fonttype", "none")  # noqa: SLF001  # text that can be read
    results = computed(name, labels)
    save(PLOTS[name].draw(results, Page()), PLOTS[name].describe(results), tmp_path, name)
    assert is_saved(tmp_path, name)
    drawn = re.sub(r"<!--.*?-->|<[^>]*>", "", (tmp_path / f"{name}.svg").read_text(), flags=re.DOTALL)
    assert "$" in drawn
    assert r"\$" not in drawn


def texts(figure):
    """Every text that a figure shows, and where, in pixels."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    undrawn = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not (axes.axison and axes.get_visible() and low - margin <= tick.get_loc() <= high + margin):
                    undrawn |= {id(tick.label1), id(tick.label2)}
    shown = []
    for text in figure.findobj(Text):
        axes = text.axes
        visible = text.get_visible() and (axes is None or axes.get_visible()) and id(text) not in undrawn
        if visible and text.get_text().strip():
            shown.append((text.get_text(), text.get_window_extent(renderer)))
    return shown


def overprinted(figure):
    """Pairs of texts of a figure that are drawn over each other by more than a hair."""
    return [
        (first, second)
        for (first, one), (second, other) in combinations(texts(figure), 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 2 and min(one.y1, other.y1) - max(one.y0, other.y0) > 2
    ]


_DRAWN = [(name, None) for name in PLOTS] + [
    (name, labels) for name in NAMING for labels in ("long", "many", "numbers")
]


@pytest.mark.parametrize(("name", "labels"), _DRAWN)
def test_nothing_is_printed_over_something_else(name, labels):
    results = computed(name, labels) if labels else PLOTS[name].compute(QUICK, None)
    if results is None:
        assert name == "one_sided"
        return
    figure = PLOTS[name].draw(results, Page())
    found = overprinted(figure)
    plt().close(figure)
    assert found == []


@pytest.mark.parametrize("name", PLOTS)
def test_without_a_caption_nothing_is_cut_off_or_printed_over_something_else(name):
    """As the page of all results shows it: with a caption a picture grows until all is there, this not."""
    figure = PLOTS[name].draw(PLOTS[name].compute(QUICK, None), Page(bare=True))
    found, edges = texts(figure), figure.bbox
    cut = [text for text, at in found if at.x0 < -2 or at.x1 > edges.x1 + 2 or at.y0 < -2 or at.y1 > edges.y1 + 2]
    over = overprinted(figure)
    plt().close(figure)
    assert found
    assert cut == []
    assert over == []


def test_labels_that_do_not_fit_get_letters_and_a_key():
    short, key = codes(["a", "bb", "c$d"])
    assert short == ["a", "bb", r"c\$d"]
    assert key == ""
    letters, key = codes(LABELS["long"])
    assert letters == list("ABCDEFGHI")
    assert key.startswith("A = experiment 0: a checkpoint")
    assert len(set(codes(LABELS["many"])[0])) == 25
    numbers, key = codes([f"a response of a long name {i}" for i in range(30)])
    assert numbers[29] == "30"
    assert "30 = a response of a long name 29" in key
    # A letter must not be the name of another response.
    assert codes(["B", "a response of a long name, the first"])[0] == ["#1", "#2"]


def test_one_text_is_mathematics_markdown_and_plain():
    text = r"$\bar\pi$ picks c\$d in $\beta=0.1$, a_b <i>"
    assert plain(text) == "pi_bar picks c$d in beta=0.1, a_b <i>"
    assert markdown(text) == r"$\bar\pi$ picks c\$d in $\beta=0.1$, a\_b &lt;i&gt;"
    assert spaced("weights_1975") == "weights 1975"
    assert spaced("my_file") == '"my_file"'
    lines = wrap(text, 14).split("\n")
    assert " ".join(lines) == text
    assert all(len(plain(line)) <= 14 for line in lines)
    assert drawable("caf\u00e9 \u6f22") == "caf\u00e9 \N{WHITE SQUARE}"


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_explains_its_symbols(name):
    words = PLOTS[name].describe(PLOTS[name].compute(QUICK, None))
    said = " ".join(words[:3])
    for symbol, meaning in ((r"\bar\pi", "prompt alone"), (r"\pi^*", "sees $y'$ too"), (r"\psi", "counts for")):
        assert symbol not in said or meaning in words.key, symbol


def test_a_picture_is_the_same_after_a_stop_while_it_was_drawn(tmp_path):
    """No time, no random id, and nothing half-written is taken for finished."""
    results, words = computed("prop_3_1", "numbers"), Caption("a", "b", "c", "d")
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    left = tmp_path / "second" / ".prop_3_1.drawing"
    left.mkdir()
    (left / "prop_3_1.svg").write_text("<svg")
    (tmp_path / "second" / "prop_3_1.svg").write_text("<svg")
    assert not is_saved(tmp_path / "second", "prop_3_1")
    for folder in ("first", "second"):
        save(PLOTS["prop_3_1"].draw(results, Page()), words, tmp_path / folder, "prop_3_1")
    for kind in FORMATS:
        one, two = ((tmp_path / folder / f"prop_3_1.{kind}").read_bytes() for folder in ("first", "second"))
        assert one == two, kind
    assert not left.exists()


def test_a_vector_figure_needs_no_fonts(tmp_path):
    """Where a browser lacks those of mathematics it shows a prime as 0, and words run into each other."""
    results = computed("valley", "numbers")
    save(PLOTS["valley"].draw(results, Page()), PLOTS["valley"].describe(results), tmp_path, "valley")
    assert "<text" not in (tmp_path / "valley.svg").read_text()


def test_plain_figures_are_as_wide_as_the_page_and_have_no_caption(tmp_path):
    results, words = computed("valley", "numbers"), Caption("the headline", "the text", "the number", "the key")
    page = ToyConfig(plain=True, width=3.5).page()
    save(PLOTS["valley"].draw(results, page), words, tmp_path, "valley", page)
    assert "headline" not in (tmp_path / "valley.svg").read_text()
    assert Image.open(tmp_path / "valley.png").width == 3.5 * 300
