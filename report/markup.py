"""Markdown and formulas as HTML, before the page is opened: no library for either is in it."""

from __future__ import annotations

import html
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from markdown_it import MarkdownIt

from inspo.command_line import UserError

HERE = Path(__file__).parent

# The page's formulas. In texts of the project they stand between dollar signs.
FORMULAS = {
    "preference": r"P(y\succ y')",
    "dpo": r"-\log\sigma\Big(\beta\log\tfrac{\pi(y_w\mid x)}{\pi_{\mathrm{ref}}(y_w\mid x)}"
    r"-\beta\log\tfrac{\pi(y_\ell\mid x)}{\pi_{\mathrm{ref}}(y_\ell\mid x)}\Big)",
    "inspo": r"-\log\sigma\Big(\beta\log\tfrac{\pi(y_w\mid x,\,\mathbf{y_\ell})}{\pi_{\mathrm{ref}}(y_w\mid x)}"
    r"-\beta\log\tfrac{\pi(y_\ell\mid x,\,\mathbf{y_w})}{\pi_{\mathrm{ref}}(y_\ell\mid x)}\Big)",
    "V": r"V(\pi)=\mathbb{E}\,\psi\big(P(y\succ y')\big),\quad y\sim\pi,\ y'\sim\pi_{\mathrm{ref}}",
    "pi_bar": r"\bar\pi",
    "pi_star": r"\pi^{*}",
    "psi": r"\psi",
    "beta": r"\beta",
    "tau": r"\tau",
}
_MATH = re.compile(r"(?<!\\)\$([^$\n]+)\$")
_PLACE = re.compile(r"MATH(\d+)MATH")
_LINK = re.compile(r'<a href="([^"]*)">(.*?)</a>', re.DOTALL)
_IMAGE = re.compile(r"<img [^>]*>")


def mathml(formulas: Mapping[str, str]) -> dict[str, str]:
    """Formulas in TeX as MathML, by KaTeX.

    Raises:
        UserError: node is not there, or a formula is none.
    """
    command = ["node", str(HERE / "formulas.mjs")]
    try:
        done = subprocess.run(command, input=json.dumps(dict(formulas)), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("node is not installed: the page is built with Node 20 or newer") from None
    if done.returncode:
        raise UserError(f"formulas: {next(iter(done.stderr.strip().splitlines()), 'node failed')}; run make report")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def markdown(text: str) -> str:
    """Markdown of the project's own files as HTML.

    Links within the repository become the names of what they link to, those to verdicts links within the page.
    Pictures are left out: the page has its own.
    """
    formulas: list[str] = []

    def keep(found: re.Match[str]) -> str:
        formulas.append(found[1])
        return f"MATH{len(formulas) - 1}MATH"

    code = MarkdownIt("commonmark", {"html": False}).enable("table").render(_MATH.sub(keep, text))
    code = _IMAGE.sub("", _LINK.sub(_linked, code)).replace("<p></p>", "")
    code = code.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>')
    code = code.replace("</table>", "</table></div>")
    made = mathml({str(place): formula for place, formula in enumerate(formulas)}) if formulas else {}
    return _PLACE.sub(lambda found: made[found[1]], code)


def _linked(found: re.Match[str]) -> str:
    address, text = html.unescape(found[1]), found[2]
    if address.startswith("https://"):
        return found[0]
    if claim := re.search(r"VERDICTS\.md#([\w-]+)$", address):
        return f'<a href="#claim-{claim[1]}">{text}</a>'
    return f'<span class="file" title="{html.escape(address)}">{text}</span>'


def section(text: str, heading: str) -> str:
    """What stands below a heading of Markdown, up to the next of its depth or a higher one.

    Raises:
        ValueError: there is no such heading.
    """
    found = re.search(rf"^(#+) {re.escape(heading)}$\n", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"there is no heading {heading!r}")
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest
