"""The page itself, of committed results: numbers followed back to their files, and looked at in a real browser."""

import json
import os
import re
from functools import partial
from html import unescape
from random import Random

import pytest
from browsing import chromium, opened
from built import AXE, require_node, write
from playwright.sync_api import expect

from report.__main__ import gather
from report.sources import ROOT
from report.worlds import RESULTS

pytestmark = pytest.mark.slow
expect.set_options(timeout=30_000)  # of a busy machine
WIDTHS, SCHEMES = (390, 768, 1440), ("light", "dark")


@pytest.fixture(scope="module")
def data():
    require_node()
    return gather(ROOT / "results", RESULTS).as_dict()


@pytest.fixture(scope="module")
def address(data, tmp_path_factory):
    return write(tmp_path_factory.mktemp("page") / "page.html", data)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    """The same without pictures, which is opened sooner."""
    bare = {part: [one | {"picture": None} for one in data[part]] for part in ("toy", "worlds", "paper")}
    return write(tmp_path_factory.mktemp("plain") / "page.html", data | bare)


@pytest.fixture
def page(browser, plain):
    with opened(browser, plain, offline=True) as shown:
        yield shown


# ---------------------------------------------------------------- where numbers come from


def source_text(data, name):
    """The file that a number rests on, without the section's name behind a comma."""
    return (ROOT / data["sources"][name]["file"].partition(",")[0]).read_text()


def world_page(name):
    return (RESULTS / f"{name.upper()}.md").read_text()


def follow_row(_data, world, row):
    (line,) = re.findall(rf"^\| {re.escape(row['name'])} \|.*$", world_page(world), re.MULTILINE)
    assert f"{row['mean']:+.3f} ± {row['se']:.3f} {row['unit']}" in line
    assert line.endswith(f"| {row['verdict']} |")


def follow_number(data, key, number):
    source, place = data["sources"][number["source"]], number["source"]
    if key.startswith("claims."):
        _, group, *verdict = key.split(".")
        (counted,) = re.findall(
            rf"{ {'paper': 'The paper', 'own': 'Our own'}[group] }.* claims: .*", source_text(data, place)
        )
        wanted = f"{number['text']} {verdict[0].replace('_', ' ') if verdict else 'claims'}"
        assert number["text"] == "0" or wanted in counted
    elif key.startswith("table_"):
        (item,) = (item for item in data["paper"] if item["id"] == place)
        assert item["html"].rpartition("<ol>")[2].count("<li>") == number["value"]
    elif "/" in place:
        (row,) = (row for world in data["worlds"] for row in world["rows"] if row.get("source") == place)
        assert number["value"] in (row["mean"], row["seeds"], row["verdict"])
        follow_row(data, place.partition("/")[0], row)
    else:
        assert source["file"].startswith("experiments/results/")
        text = world_page(place.removeprefix("world-"))
        rows = re.findall(r"^\| [\w.-]+ \|.*\| ([\w:, ]+) \|$", text, re.MULTILINE)
        decided = sum(verdict.startswith(("yes", "no:")) for verdict in rows)
        found = {"decided": str(decided), "asked": str(len(rows))}
        what = key.partition(".")[2]
        assert number["text"] == found[what] if what in found else f"{number['text']} {what}" in text


def follow_cell(data, source, cell):
    def bare(text):
        return re.sub(r"[\s`*]", "", text)

    assert bare(cell) in bare(source_text(data, source).replace("\\|", "|"))


def follow_count(_data, table, i, j):
    file = table["source"]
    counts = json.loads((ROOT / "toy" / "data" / f"{file}.json").read_text())["counts"]
    assert counts[i][j] == table["counts"][i][j]


def everything(data):
    """Every number on the page, as a function that follows it back."""
    yield from (partial(follow_number, data, key, number) for key, number in data["numbers"].items())
    for world in data["worlds"]:
        yield from (partial(follow_row, data, world["name"], row) for row in world["rows"] if "mean" in row)
    for claim in data["verdicts"]:
        for each in claim["evidence"]:
            yield partial(follow_cell, data, "verdicts", each["finding"])
    for told in data["told"].values():
        for cell in re.findall(r"<td[^>]*>([^<]*\d[^<]*)</td>", told["html"]):
            yield partial(follow_cell, data, told["source"], unescape(cell))
    for table in data["tables"]:
        for i, row in enumerate(table["counts"]):
            yield from (partial(follow_count, data, table, i, j) for j in range(len(row)))


def test_ten_numbers_at_random_are_in_their_files(data):
    """Ten of each of ten draws, so that every kind is among them; drawn anew where CI is not set."""
    seed = 0 if os.environ.get("CI") else int.from_bytes(os.urandom(4))
    rng, pool = Random(seed), list(everything(data))  # noqa: S311  # no secrets
    for follow in [*rng.sample(pool, 100), *rng.sample(pool[: len(data["numbers"])], 10)]:
        try:
            follow()
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"seed {seed}: {follow.func.__name__} {follow.args[1:]}") from error


def test_every_source_is_whole(data):
    for name, source in data["sources"].items():
        for field in ("file", "command", "seeds", "date"):
            assert source[field], f"{name} has no {field}"
        assert re.fullmatch(r"20\d\d-\d\d-\d\d( to 20\d\d-\d\d-\d\d)?", source["date"]), name
        for file in (source["file"].partition(",")[0], *source["parts"]):
            assert (ROOT / file).exists(), file
    named = [item["source"] for part in ("paper", "toy", "tables", "examples") for item in data[part]]
    named += [row["source"] for world in data["worlds"] for row in world["rows"] if "mean" in row]
    assert set(named) <= set(data["sources"])


def test_the_prose_types_no_numbers(page, data):
    """What is dotted is from the data, and rests on a source."""
    shown = page.eval_on_selector_all("[data-number]", "all => all.map((one) => [one.dataset.number, one.textContent])")
    assert len(shown) > 10
    for key, text in shown:
        assert data["numbers"][key]["text"] == text
    assert page.locator(".missing").count() == 0


def test_every_claim_figure_and_table_is_there(page, data):
    assert page.locator("details.claim").count() == len(data["verdicts"])
    for number in range(1, 8):
        assert page.locator(f"#paper-table_{number}").count() == 1
    for number in range(1, 4):
        assert page.locator(f"#paper-figure_{number}").count() == 1
    for place, notes in data["notes"].items():
        assert page.locator(f".notes[data-place='{place}'] li").all_text_contents() == notes, place


# ---------------------------------------------------------------- looked at


OVERLAPS = """() => {
  const clipped = (rect, node) => {
    let { left, right, top, bottom } = rect;
    for (let at = node; at; at = at.parentElement) {
      if (getComputedStyle(at).overflowX === "visible" || at === document.documentElement) continue;
      const box = at.getBoundingClientRect();
      [left, right, top, bottom] = [Math.max(left, box.left), Math.min(right, box.right),
        Math.max(top, box.top), Math.min(bottom, box.bottom)];
    }
    return { left, right, top, bottom };
  };
  const rects = [];
  const walker = document.createTreeWalker(document.getElementById("page"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const [text, within] = [node.data.trim(), node.parentElement];
    if (!text || !within.checkVisibility() || within.closest(".hidden, .skip, math, option, svg title")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = clipped(rect, node.parentElement);
      if (box.right - box.left > 2 && box.bottom - box.top > 2) rects.push({ ...box, text: node.data.slice(0, 40) });
    }
  }
  rects.sort((a, b) => a.top - b.top);
  const found = [];
  rects.forEach((a, n) => {
    for (let m = n + 1; m < rects.length && rects[m].top < a.bottom - 3; m++) {
      const b = rects[m];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - b.top;
      if (across > 2 && down > 0.45 * Math.min(a.bottom - a.top, b.bottom - b.top)) found.push([a.text, b.text]);
    }
  });
  if (rects.length < 300) throw Error(`only ${rects.length} texts`);
  return found;
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_fits_the_window(browser, address, scheme):
    """No horizontal scroll and no text over another, closed and with everything open."""
    with opened(browser, address, color_scheme=scheme, offline=True) as page:
        for opens in ("", "all.forEach((one) => one.setAttribute('open', ''))"):
            page.eval_on_selector_all("details", f"all => {{ {opens} }}")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
                assert page.evaluate(OVERLAPS) == [], width


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_everybody_can_read_it(browser, plain, width, scheme):
    """No violation of WCAG A and AA by axe-core, contrast among them."""
    with opened(browser, plain, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        page.add_script_tag(content=AXE.read_text())
        rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
        found = page.evaluate("(rules) => axe.run(document, rules)", rules)["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_it_prints(browser, plain):
    with opened(browser, plain, viewport={"width": 720, "height": 900}) as page:
        closed = page.locator("details.claim:not([open])").count()
        assert closed
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator("details.claim:not([open])").count() == 0
        assert page.locator(".filters").is_hidden()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details.claim:not([open])").count() == closed


FOCUSED = """() => {
  const one = document.activeElement;
  return one.id || one.dataset.cell || one.getAttribute("aria-label") || one.type || one.tagName;
}"""


def test_everything_is_reached_by_keyboard(page):
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
    assert {"A", "the reference", "open", "file", "button", "0,1", "range", "radio", "beta", "tau", "size"} <= reached


# ---------------------------------------------------------------- the explorer


def policy(page, name):
    return page.locator(f".policies tr[data-policy={name}] td").first


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end)
    page.mouse.up()


def give(page, name, text):
    page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": text.encode()})


def test_the_first_toy_flips_by_keyboard_and_by_hand(page):
    pick = page.locator("[data-toy=pick]")
    expect(pick).to_have_text("y2")
    page.locator(".toy .handle").focus()
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    expect(pick).to_have_text("y1")
    box = page.locator(".toy svg").bounding_box()
    x, y = ([box[side] + box[size] * share for share in (0.5, 0.8)] for side, size in (("x", "width"), ("y", "height")))
    drag(page, (x[0], y[0]), (x[0], y[1]))
    expect(pick).to_have_text("y2")


def test_a_cell_is_dragged_and_typed(page):
    cell, best = page.locator("[data-cell='0,2']"), policy(page, "pi_star")
    expect(best).to_have_text("0.7000")
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    drag(page, (box["x"] + 10, box["y"] + 10), (box["x"] - 70, box["y"] + 10))  # half of its range
    expect(cell).to_have_text("0.40")
    expect(page.locator("[data-cell='2,0']")).to_have_text("0.60")
    expect(best).to_have_text("0.6000")  # (7/10 + 1/2 + 3/5) / 3
    cell.focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowUp")
    expect(cell).to_have_text("0.51")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-cell='1,0']")).to_be_focused()


def test_a_certain_preference_says_what_is_lost(page):
    for cell in ("0,1", "0,2"):
        page.locator(f"[data-cell='{cell}']").focus()
        page.keyboard.press("End")
    expect(page.locator("tr[data-policy=dpo] .why")).to_contain_text("no finite optimum")
    page.get_by_role("radio", name="log-odds").check()
    expect(page.locator(".get .complaint")).to_have_text("log-odds are infinite where y1 over y2 is 1")


def test_claims_are_filtered_and_their_witnesses_loaded(page, data):
    false = [claim["id"] for claim in data["verdicts"] if claim["verdict"] == "false"]
    page.click(".filters button.false")
    expect(page.locator("details.claim")).to_have_count(len(false))
    page.click("#claim-eq-10 > summary")
    page.click("[data-load=eq-10]")
    expect(page.locator("[data-title]")).to_contain_text("eq-10")
    expect(policy(page, "pi_star")).to_have_text("0.6250")  # V* = 5/8, and DPO's 9/16, as the witness says
    expect(policy(page, "dpo")).to_have_text("0.5625")


def test_a_link_holds_the_state(page, browser):
    page.select_option("#open", label="Celebrities, 1971")
    page.locator("#beta").fill("-1")
    page.get_by_role("radio", name="log-odds").check()
    page.wait_for_function("location.hash.includes('log_odds')")
    wanted = page.locator(".policies").inner_text()
    with opened(browser, page.url, offline=True) as again:
        expect(again.locator(".matrix thead th").first).to_have_text("LBJ")
        assert again.locator(".policies").inner_text() == wanted
    rest = "labels=a,b,c&psi=identity&beta=1&tau=.3"
    for broken in ("P=.3,.9&mu=1", f"P=2,.9,.6&mu=.3,.3,.4&{rest}", f"P=.3,.9,.6&mu=1,1,1&{rest}", "P=%&labels=%"):
        with opened(browser, f"{page.url.partition('#')[0]}#{broken}", offline=True) as again:
            expect(again.locator("[data-title]")).to_contain_text("W, the witness")


WRONG = {
    ("a.csv", ",a,b\na,0.5,0.7\nb,0.4,0.5\n"): "a over b is 0.7 and b over a is 0.4: together they must be 1",
    ("a.csv", "0.5,x\n0.3,0.5\n"): 'y1 over y2 is "x", must be a number',
    ("a.csv", "0,3\n1.5,0\n"): "y2 over y1 is 1.5: a count is 0, 1, 2, ...",
    ("a.csv", "0.5;0.7\n0.3;0.5\n"): "separated by semicolons",
    ("a.csv", "0.5,0.7,0.1\n0.3,0.5\n"): "row y1 has 3 entries, but there are 2 rows",
    ("a.csv", ""): "a.csv is empty",
    ("a.csv", "0.5,1.2\n-0.2,0.5\n"): "y1 over y2 = 1.2 is not a probability",
    ("a.json", '{"counts": [[0, 1], [2'): "no valid JSON",
    ("a.json", "[1, 2]"): 'one of the keys "counts" and "preferences"',
}


def test_a_table_that_is_wrong_gets_one_line_and_changes_nothing(page):
    before = page.locator(".board").inner_text()
    for (name, text), complaint in WRONG.items():
        give(page, name, text)
        said = page.locator(".choose + .complaint")
        expect(said).to_contain_text(complaint)
        assert "\n" not in said.inner_text()
        assert page.locator(".board").inner_text() == before


def test_a_table_that_is_right_is_taken_also_where_it_is_dropped(page):
    cell = page.locator("[data-cell='0,1']")
    for text, wins in ((",a,b\na,0.5,\nb,0.4,0.5\n", "0.60"), ("0,3\n1,0\n", "0.75"), ("50%,70%\n30%,50%\n", "0.70")):
        give(page, "a.csv", text)
        expect(cell).to_have_text(wins)
    page.evaluate(
        """() => {
          const carried = new DataTransfer();
          carried.items.add(new File(['{"counts": [[0, 9], [1, 0]], "labels": ["here", "there"]}'], "mine.json"));
          document.querySelector("h1").dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true }));
        }"""
    )
    expect(cell).to_have_text("0.90")
    expect(page.locator("[data-title]")).to_have_text("Shown: mine.json")


def test_the_first_steps_are_ticked_off(page):
    done = page.locator(".steps .done")
    for number in range(5):
        expect(done).to_have_count(number)
        page.click(".steps .next button")
    expect(done).to_have_count(5)
