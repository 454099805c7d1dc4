"""A trace as a picture (SVG 1.1): origins to the left, uses to the right, links as lines.

Drawn from numbers and escaped texts alone: no script, no style sheet, nothing to load.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from app.registry.trace import CARRIES, Trace
from app.registry.traced import text_of

DRAWN = 300  # nodes; a picture of more tells nothing

_WIDTH, _HEIGHT = 190, 40
_ACROSS, _DOWN = 290, 56
_MARGIN = 20
_LETTERS = 26

# Fill by resource type; all others, and what is known by its number alone, are grey.
_FILLS = {
    "Patient": "#fde2e1",
    "Person": "#fde2e1",
    "RelatedPerson": "#fde2e1",
    "Device": "#dbeafe",
    "DeviceDefinition": "#e0e7ff",
    "Group": "#fef3c7",
    "Procedure": "#dcfce7",
    "Medication": "#ede9fe",
    "BiologicallyDerivedProduct": "#fee2e2",
    "Specimen": "#fae8ff",
    "Location": "#ecfeff",
    "Organization": "#ecfeff",
}
_OTHER = "#f1f5f9"


def as_svg(trace: Trace) -> str:
    """Return the picture; of a larger trace, the nodes nearest to the start."""
    spots = _spots(trace)
    width = max((x for x, _ in spots.values()), default=0) + _WIDTH + _MARGIN
    height = max((y for _, y in spots.values()), default=0) + _HEIGHT + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape('、'.join(trace.name(node) for node in trace.start))}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
        *_lines(trace, spots),
        *_boxes(trace, spots),
    ]
    if trace.truncated or len(spots) < len(trace.places):
        parts.append(f'<text x="{_MARGIN}" y="{height - 6}" fill="#b45309">…</text>')
    return "".join([*parts, "</svg>"])


def _spots(trace: Trace) -> dict[int, tuple[int, int]]:
    """Return where each node stands: a column for each step, in the order found."""
    nearest = sorted(trace.places, key=lambda node: trace.places[node].hops)[:DRAWN]
    first = min((trace.places[node].column for node in nearest), default=0)
    filled: dict[int, int] = {}
    spots = {}
    for node in nearest:
        column = trace.places[node].column - first
        row = filled[column] = filled.get(column, -1) + 1
        spots[node] = (_MARGIN + column * _ACROSS, _MARGIN + row * _DOWN)
    return spots


def _lines(trace: Trace, spots: dict[int, tuple[int, int]]) -> Iterator[str]:
    for edge in trace.edges:
        if edge.source not in spots or edge.target not in spots:
            continue
        (x1, y1), (x2, y2) = spots[edge.source], spots[edge.target]
        y1, y2 = y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        if x1 == x2:  # beside each other in one column: round the right side
            x1 = x2 = x1 + _WIDTH
            path = f"M{x1} {y1}C{x1 + 50} {y1} {x2 + 50} {y2} {x2} {y2}"
            middle = x1 + 40
        else:
            x1, x2 = (x1 + _WIDTH, x2) if x1 < x2 else (x1, x2 + _WIDTH)
            half = (x1 + x2) // 2
            path = f"M{x1} {y1}C{half} {y1} {half} {y2} {x2} {y2}"
            middle = half
        dashes = ' stroke-dasharray="3 3"' if edge.relation == CARRIES else ""
        yield f'<path d="{path}" fill="none" stroke="#64748b" marker-end="url(#tip)"{dashes}/>'
        yield (
            f'<text x="{middle}" y="{(y1 + y2) // 2 - 4}" fill="#475569" font-size="10"'
            f' text-anchor="middle">{escape(edge.relation)}</text>'
        )


def _boxes(trace: Trace, spots: dict[int, tuple[int, int]]) -> Iterator[str]:
    for node, (x, y) in spots.items():
        resource = trace.resources.get(node)
        fill = _FILLS.get(resource.type, _OTHER) if resource else _OTHER
        edge = "#dc2626" if resource and not resource.here else "#94a3b8"
        width = 3 if node in trace.start else 1
        name, text = trace.name(node), text_of(trace, node)
        yield (
            f'<g><title>{escape(name)}</title><rect x="{x}" y="{y}" width="{_WIDTH}"'
            f' height="{_HEIGHT}" rx="6" fill="{fill}" stroke="{edge}" stroke-width="{width}"/>'
        )
        if text:
            yield f'<text x="{x + 8}" y="{y + 17}">{escape(_short(text))}</text>'
        y += 33 if text else 25
        small = f'<text x="{x + 8}" y="{y}" font-size="10" fill="#475569">'
        yield f"{small}{escape(_short(name))}</text></g>"


def _short(text: str) -> str:
    """Return a text that fits into a box: its beginning and its end; no control character."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LETTERS else f"{text[:12]}…{text[-12:]}"
