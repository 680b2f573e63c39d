"""``python toy/run.py`` as its users meet it."""

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inspo.command_line import UserError, one_line
from inspo.preferences import PreferenceTable, load_table
from toy import report, style, summary
from toy.config import ToyConfig, flag, parse
from toy.plots import PLOTS, human_tables, prop_3_1
from toy.problems import DATA, HUMAN_TABLES
from toy.report import run
from toy.style import FORMATS, plt

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OWN = [[0.5, 0.7, 0.2], [0.3, 0.5, 0.6], [0.8, 0.4, 0.5]]
TINY = ["--steps", "20", "--replicates", "3", "--problems", "4", "--draws", "50", "--workers", "1"]


def toy(*arguments, out):
    run(parse([*arguments, "--out", str(out)]))


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "toy" / "run.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """As its users run it, in two processes."""
    out = tmp_path_factory.mktemp("toy")
    result = command(*TINY[:-2], "--workers", "2", "--out", out)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture
def undrawn(monkeypatch):
    """Numbers alone: drawing is most of a tiny run's time."""
    monkeypatch.setattr(report, "save", lambda figure, *_: plt().close(figure))


@pytest.fixture
def only_png(monkeypatch):
    monkeypatch.setattr(style, "FORMATS", ("png",))


def test_a_run_writes_all_plots_and_every_plotted_number(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "results.json",
        "report.md",
        *(f"{plot}.{kind}" for plot in PLOTS for kind in FORMATS),
    }
    results = json.loads((finished / "results.json").read_text())
    assert results["config"]["steps"] == 20
    assert list(results["plots"]) == list(PLOTS)
    assert [table["name"] for table in results["plots"]["human_tables"]["tables"]] == list(HUMAN_TABLES)


@pytest.mark.usefixtures("undrawn")
def test_same_seed_same_bytes_in_one_process_and_in_two_other_seed_other_bytes(finished, tmp_path):
    toy(*TINY, out=tmp_path / "again")
    toy(*TINY, "--seed", "1", out=tmp_path / "other")
    first, again, other = ((out / "results.json").read_bytes() for out in (finished, *sorted(tmp_path.iterdir())))
    assert first == again
    assert first != other
    assert (tmp_path / "again" / "report.md").read_bytes() == (finished / "report.md").read_bytes()


@pytest.mark.usefixtures("only_png")
def test_redraw_draws_the_same_picture_without_training(finished, tmp_path):
    """Drawn in one process where it was in two before."""
    (tmp_path / "results.json").write_bytes((finished / "results.json").read_bytes())
    toy("--redraw", "--workers", "1", out=tmp_path)
    for name in PLOTS:
        assert (tmp_path / f"{name}.png").read_bytes() == (finished / f"{name}.png").read_bytes()


def layout(results, path=""):
    """Every path of names in results.json; a list counts as one place."""
    if isinstance(results, dict):
        return {path}.union(*(layout(value, f"{path}.{name}") for name, value in results.items()))
    if isinstance(results, list):
        return {path}.union(*(layout(value, f"{path}[]") for value in results))
    return {path}


def test_results_of_another_layout_have_another_number(finished):
    """If this fails, results.json has changed: raise report.FORMAT, so that --redraw refuses older files."""
    paths = layout(json.loads((finished / "results.json").read_text()))
    digest = hashlib.sha256("\n".join(sorted(paths)).encode()).hexdigest()[:8]
    assert (report.FORMAT, digest) == (7, "76fdfdaf")


@pytest.mark.parametrize("older", [{}, {"format": report.FORMAT - 1}], ids=["none", "older"])
def test_redraw_refuses_the_results_of_another_version_before_it_draws(finished, tmp_path, older):
    results = json.loads((finished / "results.json").read_text())
    del results["format"]
    del results["plots"]["realizability"]["sums_without_self"]
    (tmp_path / "results.json").write_text(json.dumps(results | older))
    with pytest.raises(ValueError, match=r"another version.* without --redraw"):
        toy("--redraw", "--workers", "1", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.usefixtures("only_png")
def test_a_users_own_table_replaces_the_problems(tmp_path):
    own = tmp_path / "my own.csv"
    own.write_text(",a,b,c\na,0.5,0.7,0.2\nb,0.3,0.5,0.6\nc,0.8,0.4,0.5\n")
    toy(*TINY, "--preferences", str(own), "--samples", "0", "--psi", "log_odds", out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (table,) = results["plots"]["human_tables"]["tables"]
    assert table["labels"] == ["a", "b", "c"]
    assert table["policies"]["dpo"]["value_se"] is None  # no counts, so no sampling error is claimed
    assert results["skipped"] == {}
    assert "a" in results["plots"]["prop_3_1"]["simplex"]["labels"]
    assert results["plots"]["prop_3_1"]["example"] is None
    again = (tmp_path / "out" / "report.md").read_text().split("```bash\n")[1].split("\n")[0]
    assert parse(shlex.split(again)[2:]).preferences == own


@pytest.mark.usefixtures("undrawn")
def test_log_odds_skip_the_table_with_a_unanimous_pair_and_say_so(tmp_path, capsys):
    toy(*TINY, "--psi", "log_odds", out=tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["skipped"]) == ["school_subjects_1940_boys"]  # wood against gram is 21 : 0
    assert "P[0, 11]" in capsys.readouterr().out


def test_the_shipped_tables_are_the_published_counts(shared_data):
    for name in HUMAN_TABLES:
        ours = load_table(DATA / f"{name}.json")
        published = load_table(shared_data / "human_preferences" / f"{name}.json")
        assert (ours.counts == published.counts).all()
        assert (ours.labels, ours.source) == (published.labels, published.source)


def test_the_human_tables_have_the_known_values(finished):
    """Paired-comparison tables with uniform mu: pi_bar's pick, V(pi_bar), V(pi*), cyclic triads."""
    expected = {
        "celebrities_1971": ("LBJ", 0.6890, 0.6952, 0),
        "school_subjects_1940_girls": ("gymn", 0.7218, 0.7491, 16),
        "school_subjects_1940_boys": ("wood", 0.8114, 0.8260, 3),
        "weights_1975": ("110g", 0.7860, 0.7860, 0),
    }
    results = json.loads((finished / "results.json").read_text())
    for table in results["plots"]["human_tables"]["tables"]:
        pick, bar, star, triads = expected[table["name"]]
        assert table["pi_bar_picks"] == [pick]
        assert table["policies"]["pi_bar"]["value"] == pytest.approx(bar, abs=5e-5)
        assert table["policies"]["pi_star"]["value"] == pytest.approx(star, abs=5e-5)
        assert table["cyclic_triads"] == triads


@pytest.mark.usefixtures("undrawn")
def test_a_table_that_fits_no_plot_about_log_odds_is_noted_as_skipped(tmp_path, capsys):
    own = tmp_path / "certain.csv"
    own.write_text("0.5,1,0.3\n0,0.5,0.6\n0.7,0.4,0.5\n")
    toy(*TINY, "--preferences", str(own), out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"frontier", "realizability", "one_sided"} <= set(results["skipped"])
    assert "skipped frontier" in capsys.readouterr().out
    assert "## Left out" in (tmp_path / "out" / "report.md").read_text()


def test_prop_3_1_holds_exactly_between_the_derived_bounds():
    """S_id = (.55, .56, .25 + p/2, .25 + (1-p)/2): y2 leads for 19/50 < p < 31/50; under log-odds
    logit(p)/2 must stay below ln 1.5, so 4/13 < p < 9/13; with (.9, .1), .05 + .9 (1-p) < .83."""
    intervals = [setting["claim_holds_for_p_between"] for setting in prop_3_1.settings()]
    assert intervals == pytest.approx(np.array([[19 / 50, 31 / 50], [4 / 13, 9 / 13], [2 / 15, 1]]), abs=1e-12)


def test_the_report_has_every_plot_with_its_number_and_the_command(finished):
    text = (finished / "report.md").read_text()
    assert "python toy/run.py --replicates 3 --problems 4 --draws 50 --steps 20\n" in text
    assert text.count("**The number to remember:**") == len(PLOTS)
    assert all(f"({name}.png)" in text for name in PLOTS)


BAD_TABLES = {
    "not_square.csv": ("0.5,0.6\n0.4,0.5\n0.1,0.2\n", "row 0 has 2 entries"),
    "outside.csv": ("0.5,1.6\n-0.6,0.5\n", "P[0, 1] = 1.6"),
    "nan.csv": ("0.5,nan\nnan,0.5\n", "P[0, 1] is 'nan'"),  # one of the two is enough, since they add up to 1
    "sum.csv": ("0.5,0.7\n0.7,0.5\n", "P[0, 1] + P[1, 0]"),
    "negative.csv": ("0,-3\n4,0\n", "counts[0, 1] = -3"),
    "fractional.csv": ("0,2.5\n4,0\n", "counts[0, 1] = 2.5"),
    "textual.csv": ("0,many\n4,0\n", "'many'"),
    "empty_pair.csv": ("0,1,0\n2,0,3\n0,1,0\n", "counts[0, 2] and counts[2, 0]"),
    "cut_off.json": ('{"counts": [[0, 3], [1', "cut off?"),
    "no_key.json": ('{"labels": ["a", "b"]}', '"counts" and "preferences"'),
    "empty.csv": ("", "empty"),
    "no_suffix": ("0,1\n1,0\n", ".json or .csv"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_names_file_and_entry_and_leaves_nothing_behind(name, tmp_path):
    text, complaint = BAD_TABLES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r".+") as caught:
        toy("--preferences", str(tmp_path / name), out=tmp_path / "out")
    message = str(caught.value)
    assert name in message
    assert complaint in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    result = command("--preferences", tmp_path / "missing.json")
    assert result.returncode == 2, result.stderr
    assert "no such file" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_other_bad_input_is_one_line(tmp_path, capsys):
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\x00\xff\xfe\x01")
    file = tmp_path / "file"
    file.write_text("")
    cases = [
        (["--preferences", binary], "not a text file"),
        (["--out", file / "below"], "cannot be written"),
        (["--beta", "0"], "--beta 0 must be greater than 0"),
        (["--methods", "dpo", "ppo"], "--methods 'ppo' must be one of dpo, ipo"),
        (["--conditionings", "both"], "--conditionings 'both' must be one of none, one_sided"),
        (["--steps", "many"], "--steps 'many' must be a whole number"),
        (["--learning-rate", "-1"], "--learning-rate -1 must be greater than 0"),
        (["--color", "red"], "--color"),
        (["--steps", "1e30"], "--steps '1e30' must be a whole number"),
        (["--problems", "10000000000"], "--problems 10000000000 must be at most"),
        (["--redraw", "--seed", "3"], "--redraw"),
        (["--redraw", "--out", tmp_path / "nothing"], "without --redraw"),
    ]
    for arguments, complaint in cases:
        with pytest.raises(UserError) as caught:
            run(parse(list(map(str, arguments))))
        assert complaint in one_line(caught.value)
    assert capsys.readouterr().out == ""


def test_results_that_were_changed_since_are_not_drawn(finished, tmp_path):
    """Whatever was done to them: drawing could fail in the middle, or show what was never computed."""
    text = (finished / "results.json").read_text()
    path = tmp_path / "results.json"
    results = json.loads(text)
    results["plots"]["frontier"]["problems"] = "many"
    for changed, complaint in (
        (json.dumps(results), "changed since it was written"),
        (text[: len(text) // 2], "cut off"),
        ("[" * 100_000, "cut off"),
        ("[]", "not the results of this program"),
        (json.dumps({"plots": {}}), "another version"),
    ):
        path.write_text(changed)
        with pytest.raises(UserError, match=complaint):
            toy("--redraw", "--workers", "1", out=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_a_table_of_too_many_responses_is_refused_before_work(tmp_path):
    rows = [",".join(["0.5"] * 61)] * 61
    (tmp_path / "many.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=r"many\.csv: 61 responses, more than the 60"):
        toy("--preferences", str(tmp_path / "many.csv"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_diverges_says_so():
    with pytest.raises(UserError, match="training diverged within 20 steps: lower --learning-rate 1e"):
        human_tables.compute(ToyConfig(steps=20, replicates=2, learning_rate=1e308), None)


def test_a_programming_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts its own folder first
    from toy import run as script

    def fail(_):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(report, "run", fail)
    monkeypatch.setattr(sys, "argv", ["toy/run.py"])
    with pytest.raises(ValueError, match="broadcast"):
        script.main()


def test_names_are_text_in_the_report():
    """Not HTML, emphasis or links."""
    labels = ["<img src=x onerror=alert(1)>", "a_b_c", "[link](x)"]
    table = PreferenceTable(np.array(OWN), tuple(labels), "<b>mine</b>", "")
    shown = PLOTS["prop_3_1"].compute(ToyConfig(), table)
    results = {"preferences": table.name, "preferences_file": None, "inspo": "1", "torch": "2", "skipped": {"x": "<i>"}}
    text = summary.markdown(results | {"config": ToyConfig().record(), "plots": {"prop_3_1": shown}})
    assert "<" not in text.replace("&lt;", "")
    assert "&lt;img src=x" in text
    assert r"a\_b\_c" in text
    assert r"\[link\](x)" in text


def test_psi_that_is_infinite_on_the_users_table_is_refused(tmp_path):
    (tmp_path / "certain.csv").write_text("0.5,1\n0,0.5\n")
    with pytest.raises(
        UserError, match=r"certain\.csv: y1 is preferred to y2 with probability 1, so --psi log_odds has"
    ):
        toy("--preferences", str(tmp_path / "certain.csv"), "--psi", "log_odds", out=tmp_path / "out")


@pytest.mark.usefixtures("undrawn")
def test_smoothing_makes_a_unanimous_pair_fit_every_plot(tmp_path, capsys):
    own = tmp_path / "wins.csv"
    own.write_text(",a,b,c\na,0,40,10\nb,0,0,20\nc,30,20,0\n")
    with pytest.raises(UserError, match=r"\(40 : 0; --smoothing 0\.5 adds half a win"):
        toy("--preferences", str(own), "--psi", "log_odds", out=tmp_path / "out")
    arguments = [*TINY, "--preferences", str(own), "--psi", "log_odds", "--smoothing", "0.5"]
    toy(*arguments, out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["skipped"] == {}
    (table,) = results["plots"]["human_tables"]["tables"]
    assert table["preferences"][0][1] == pytest.approx(40.5 / 41)
    report_ = (tmp_path / "out" / "report.md").read_text()
    assert "(smoothed by 0.5)" in report_
    assert "--smoothing 0.5" in report_.split("```")[1]
    capsys.readouterr()


def test_probabilities_are_not_smoothed(tmp_path):
    (tmp_path / "own.csv").write_text("0.5,1\n0,0.5\n")
    with pytest.raises(UserError, match=r"own\.csv: probabilities cannot be smoothed"):
        toy("--preferences", str(tmp_path / "own.csv"), "--smoothing", "1", out=tmp_path / "out")
    with pytest.raises(UserError, match="--smoothing is for counts of your own"):
        parse(["--smoothing", "1"])


@pytest.mark.usefixtures("undrawn")
def test_a_stopped_run_leaves_earlier_results_alone_and_goes_on_where_it_was(finished, tmp_path, monkeypatch):
    (tmp_path / "results.json").write_text("earlier")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(human_tables, "compute", stop)
        with pytest.raises(KeyboardInterrupt):
            toy(*TINY, out=tmp_path)
    (parts,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (tmp_path / "results.json").read_text() == "earlier"
    done = {path.stem for path in parts.glob("*.json")}
    assert done
    assert "human_tables" not in done
    for name in done:
        monkeypatch.setattr(PLOTS[name], "compute", stop)  # what is done is not done again
    toy(*TINY, out=tmp_path)
    assert (tmp_path / "results.json").read_bytes() == (finished / "results.json").read_bytes()
    assert not parts.exists()


def test_a_stopped_run_says_what_is_kept(monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts its own folder first
    from toy import run as script

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", stop)
    monkeypatch.setattr(sys, "argv", ["toy/run.py"])
    assert script.main() == 130
    message = capsys.readouterr().err
    assert "the same command goes on" in message
    assert "nothing" not in message


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    for plot in PLOTS.values():
        monkeypatch.setattr(plot, "compute", stop)
    with pytest.raises(KeyboardInterrupt):
        toy(*TINY, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_option_has_a_help_text_and_quick_only_cuts():
    quick = parse(["--quick", "--steps", "100"]).effective()
    assert quick.steps == 100
    assert quick.replicates < ToyConfig().replicates
    assert parse(["--quick"]).effective().steps == ToyConfig().steps, "a method that is stopped half way misleads"
    assert ToyConfig(steps=5000).effective().steps == 5000
    help_text = command("--help").stdout
    assert all(flag(name) in help_text for name in ToyConfig.model_fields)
