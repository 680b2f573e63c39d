"""A table as Markdown and as LaTeX."""

from __future__ import annotations

from paper_figures.table import Cell, Row, Table, segments

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
}


def markdown(table: Table) -> str:
    """GitHub's Markdown. Its tables have one head row and no spans, so groups go into the column names."""
    names = [" ".join(dict.fromkeys(filter(None, column))) for column in zip(*map(_spread, table.head), strict=True)]
    dashes = [{"l": ":--", "c": ":-:", "r": "--:"}[align] for align in table.align]
    lines = [
        f"**{table.label}.** {_markdown(table.title)}",
        "",
        _line([_markdown(name) for name in names]),
        _line(dashes),
    ]
    for row in table.body:
        texts = [text for cell in row.cells for text in [_markdown_cell(cell), *[""] * (cell.span - 1)]]
        lines.append(_line(texts))
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def _spread(row: Row) -> list[str]:
    return [cell.text for cell in row.cells for _ in range(cell.span)]


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _markdown_cell(cell: Cell) -> str:
    text = " ".join(filter(None, (_markdown(cell.text), _markdown(cell.small))))
    mark = "**" if cell.strong else "*" if cell.quiet else ""
    return f"{mark}{text}{mark}" if text else ""


def _markdown(text: str) -> str:
    def one(kind: str, part: str) -> str:
        if kind == "math":
            return f"${part}$"
        return f"`{part}`" if kind == "code" else part.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")

    return "".join(one(*segment) for segment in segments(text))


def latex(table: Table) -> str:
    """A LaTeX table float; needs the packages booktabs, amssymb, amsmath and colortbl."""
    lines = [
        "% needs \\usepackage{amsmath, amssymb, booktabs, colortbl}",
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{_latex(table.title)}}}",
        rf"\label{{tab:{table.label.lower().replace(' ', '-')}}}",
        rf"\begin{{tabular}}{{{table.align}}}",
        r"\toprule",
    ]
    for row in table.head:
        lines += [_latex_row(row), *_group_rules(row)]
    lines.append(r"\midrule")
    for index, row in enumerate(table.body):
        lines += [r"\midrule"] if row.rule and index else []
        lines.append((r"\rowcolor[gray]{0.93} " if row.shaded else "") + _latex_row(row))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_row(row: Row) -> str:
    parts, column = [], 0
    for cell in row.cells:
        text = _latex_cell(cell)
        where = "l" if column == 0 else "c"
        parts.append(text if cell.span == 1 else rf"\multicolumn{{{cell.span}}}{{{where}}}{{{text}}}")
        column += cell.span
    return " & ".join(parts) + r" \\"


def _group_rules(row: Row) -> list[str]:
    rules, column = [], 1
    for cell in row.cells:
        if cell.span > 1 and cell.text:
            rules.append(rf"\cmidrule(lr){{{column}-{column + cell.span - 1}}}")
        column += cell.span
    return ["".join(rules)] if rules else []


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    if cell.strong:
        text = rf"\textbf{{{text}}}"
    if cell.small:
        text += rf" {{\scriptsize {_latex(cell.small)}}}"
    return rf"\textit{{{text}}}" if cell.quiet and text else text


def _latex(text: str) -> str:
    """Escape a text for LaTeX.

    Raises:
        ValueError: a character that plain LaTeX does not have.
    """

    def one(kind: str, part: str) -> str:
        if kind == "math":
            return f"${part}$"
        escaped = "".join(_LATEX.get(character, character) for character in part)
        if not escaped.isascii():
            raise ValueError(f"no LaTeX for {sorted(set(escaped) - set(map(chr, range(128))))} in {part!r}")
        return rf"\texttt{{{escaped}}}".replace("--", "-{}-") if kind == "code" else escaped

    return "".join(one(*segment) for segment in segments(text))
