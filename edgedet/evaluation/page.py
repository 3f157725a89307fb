"""An HTML page in one file: escaping, tables, style and script; nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from edgedet.evaluation.coco import NO_TRUTH
from edgedet.evaluation.points import points


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        content: HTML.
        key: number it is sorted by, where that isn't its text.
        style: class of the style sheet.
    """

    content: str
    key: float | None = None
    style: str = ""


def escaped(text: object) -> str:
    """Text for HTML, attributes included; what can't be shown becomes a replacement character."""
    shown = "".join(
        # Control characters, halves of surrogate pairs, and what turns the direction of writing.
        "\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNS else letter
        for letter in " ".join(str(text).split())
    )
    return html.escape(shown, quote=True)


_LEFT = ("words", "name")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def name_of(label: str) -> str:
    """A name from outside as HTML; its direction of writing doesn't leak into what follows."""
    short = shortened(label, 48)
    title = "" if short == " ".join(label.split()) else f' title="{escaped(label)}"'
    return f"<bdi{title}>{escaped(short)}</bdi>"


def shortened(text: str, most: int = 60) -> str:
    """The text, or its beginning and an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell | str]], *, sortable: bool = False
) -> str:
    """A table whose first column is text and whose others are numbers.

    Args:
        columns: heads, as text.
        rows: cells, as HTML.
        sortable: whether a click on a head sorts the rows.
    """
    styles = [cell.style if isinstance(cell, Cell) else "" for cell in rows[0]] if rows else []
    heads = "".join(
        _head(name, sortable, styles[position] if styles and styles[position] in _LEFT else "")
        for position, name in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    style = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll"><table{style}><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def score_cell(value: float | None) -> Cell:
    """A score in points of 100."""
    return Cell(points(value), NO_TRUTH if value is None else value)


def section(title: str, *parts: str, lead: str = "") -> str:
    """A part of the page; `lead` says in a sentence what is to be seen."""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section><h2>{escaped(title)}</h2>{lead}{''.join(parts)}</section>"


def page(title: str, body: str) -> str:
    """The whole document around `body`."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    return _PAGE.substitute(
        title=escaped(title), style=_STYLE, script=_SCRIPT, digest=digest, body=body
    )


def _head(name: str, sortable: bool, style: str) -> str:
    text = escaped(name)
    if sortable:
        text = f'<button type="button">{text}</button>'
    style = f' class="{style}"' if style else ""
    return f'<th scope="col"{style}>{text}</th>'


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{cell}</td>"
    key = "" if cell.key is None else f' data-key="{cell.key:.6g}"'
    style = f' class="{cell.style}"' if cell.style else ""
    return f"<td{style}{key}>{cell.content}</td>"


# Only this very script may run and nothing may be loaded, whatever a name might smuggle in.
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-$digest'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
<script>$script</script>
</body>
</html>
""")

_SCRIPT = """
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    // Names from A on and numbers from the largest on; the next click turns it round.
    const sorted = head.getAttribute("aria-sort");
    const up = sorted ? sorted === "descending" : column === 0;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => {
      const cell = row.cells[column];
      return "key" in cell.dataset ? Number(cell.dataset.key) : cell.textContent;
    };
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      const order = typeof left === "number" && typeof right === "number"
        ? left - right
        : String(left).localeCompare(String(right), undefined, { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
"""

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
_STYLE = """
:root { color-scheme: light dark;
  --page: #fafaf8; --card: #fff; --ink: #1b1b1a; --soft: #5f5f5a; --rule: #e2e1dc;
  --hit: #009e73; --false: #d98f00; --miss: #c0619a; --accent: #0072b2; --track: #ecebe6; }
@media (prefers-color-scheme: dark) { :root {
  --page: #151615; --card: #1f201f; --ink: #ecebe7; --soft: #a3a29c; --rule: #363733;
  --hit: #2bbd92; --false: #f0ab2e; --miss: #de8fbd; --accent: #5fb4e8; --track: #323330; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 16px 0 6px; color: var(--soft); font-weight: 600; }
p { margin: 0 0 12px; max-width: 76ch; overflow-wrap: anywhere; }
.lead, .note, header p { color: var(--soft); }
.note { font-size: 13px; }
section { margin-top: 44px; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere;
  background: var(--track); border-radius: 4px; padding: 1px 5px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px;
  margin: 24px 0; }
.card, figure, .findings { background: var(--card); border: 1px solid var(--rule);
  border-radius: 10px; padding: 14px 16px; margin: 0; }
.card b { display: block; font-size: 30px; line-height: 1.15; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: 13px; }
.card .name { color: var(--ink); font-weight: 600; }
.card .up { color: var(--hit); } .card .down { color: var(--miss); }
.findings { border-left: 4px solid var(--accent); }
.findings ul { margin: 0; padding-left: 20px; } .findings li { margin: 4px 0; }
.columns figure { max-width: 560px; }
.columns { display: grid; align-items: start; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  background: var(--card); border: 1px solid var(--rule); }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
th { font-size: 13px; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere;
  min-width: 8em; }
td.name, th.name { text-align: left; }
td.words, th.words { text-align: left; white-space: normal; }
tbody tr:hover { background: var(--track); }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; text-decoration: underline dotted; text-underline-offset: 3px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
.up { color: var(--hit); } .down { color: var(--miss); }
.figure { display: inline-block; min-width: 2.9em; }
.track { display: inline-block; width: 110px; height: 9px; background: var(--track);
  border-radius: 5px; overflow: hidden; vertical-align: middle; }
.fill { display: block; height: 100%; background: var(--accent); }
.fill.hit { background: var(--hit); } .fill.miss { background: var(--miss); }
.words { color: var(--soft); font-size: 13px; }
svg.chart { width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .tick { fill: var(--soft); font-size: 11px; } svg .axis { fill: var(--soft); }
.grid { stroke: var(--rule); fill: none; } .edge { stroke: var(--soft); fill: none; }
figure h3, .findings h3 { margin-top: 0; }
.mark { stroke: var(--soft); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line:hover { stroke-width: 4; }
.mean { stroke: var(--ink); stroke-width: 3.2; } .other { stroke: var(--rule); stroke-width: 1.2; }
.c0 { stroke: #0072b2; } .c1 { stroke: #d55e00; } .c2 { stroke: #009e73; }
.c3 { stroke: #cc79a7; } .c4 { stroke: #e69f00; } .c5 { stroke: #56b4e9; }
.dash { stroke-dasharray: 7 4; }
.bar { fill: var(--accent); fill-opacity: .7; } .bar ~ .mark { stroke: var(--ink); }
.key { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft);
  margin: 8px 0 0; padding: 0; list-style: none; }
.key svg { width: 22px; height: 10px; vertical-align: middle; margin-right: 5px; }
.matrix { display: block; } .matrix rect.hit { fill: var(--hit); }
.matrix rect.false { fill: var(--false); } .matrix rect.miss { fill: var(--miss); }
.matrix .n, .matrix .s { text-anchor: middle; dominant-baseline: central; font-size: 12px; }
.matrix.medium .n, .matrix.medium .s { font-size: 10px; }
.matrix.small .tick { font-size: 9px; }
.switch:has(.counts:checked) .s { display: none; }
.switch:not(:has(.counts:checked)) .n { display: none; }
.switch label { margin-right: 16px; font-size: 13px; cursor: pointer; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr));
  gap: 14px; margin-top: 12px; }
.gallery figure { padding: 0; overflow: hidden; }
.gallery svg { display: block; width: 100%; aspect-ratio: 4 / 3; background: var(--track); }
.gallery figcaption { padding: 8px 12px 10px; font-size: 13px; overflow-wrap: anywhere; }
.gallery figcaption span { color: var(--soft); }
.gallery rect { fill: none; vector-effect: non-scaling-stroke; stroke-width: 2; }
.gallery .hit rect { stroke: #00b383; } .gallery .false rect { stroke: #ffa915; }
.gallery .miss rect { stroke: #ff7cc4; stroke-dasharray: 6 3; }
.gallery text { fill: #fff; stroke: #000; stroke-width: .28em; paint-order: stroke;
  stroke-linejoin: round; font-weight: 600; font-size: inherit; }
.boxes:has(.hits:not(:checked)) g.hit, .boxes:has(.falses:not(:checked)) g.false,
.boxes:has(.misses:not(:checked)) g.miss { display: none; }
.boxes label { margin-right: 16px; font-size: 14px; cursor: pointer; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin: 0 3px 0 2px;
  vertical-align: -1px; }
.swatch.hit { background: #00b383; } .swatch.false { background: #ffa915; }
.swatch.miss { background: #ff7cc4; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
