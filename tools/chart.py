"""Small charts as SVG, for pages of docs/results."""

import statistics
from math import ceil, floor, log10


def panel(title, curves, left, logarithmic):
    """One chart of an SVG: curves of (name, colour, pairs of clock and value)."""
    top, width, height = 34, 330, 220
    scale = log10 if logarithmic else float
    values = [scale(value) for _, _, pairs in curves for _, value in pairs]
    low, high = min(values), max(values)
    if logarithmic:
        marks = [m * 10.0**e for e in range(floor(low), ceil(high) + 1) for m in (1, 2, 5)]
        marks = [mark for mark in marks if low - 0.02 <= log10(mark) <= high + 0.02]
    else:
        marks = [low + (high - low) * part / 4 for part in range(5)]
    last = max(images for _, _, pairs in curves for images, _ in pairs)

    def place(images, value):
        return left + width * images / last, top + height * (high - scale(value)) / (high - low)

    lines = [f'<text x="{left}" y="18" font-weight="bold">{title}</text>']
    for mark in marks:
        y = place(0, mark)[1]
        lines.append(f'<path d="M{left} {y:.1f}h{width}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:.3g}</text>')
    for part in range(0, 5, 2):
        x = left + width * part / 4
        lines.append(f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">{int(last * part // 4):,}</text>')
    for _, color, pairs in curves:
        points = " ".join("{:.1f},{:.1f}".format(*place(*pair)) for pair in pairs)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>')
    return lines


def smooth(pairs, width=4):
    """Means of so many neighbours: the loss of a few batches is noise."""
    return [
        (pairs[i + width - 1][0], statistics.fmean(value for _, value in pairs[i : i + width]))
        for i in range(len(pairs) - width + 1)
    ]


def legend(names):
    """Names with their colours, below two panels."""
    x, lines = 56, []
    for name, color in names:
        lines.append(f'<rect x="{x}" y="286" width="12" height="12" fill="{color}"/>')
        lines.append(f'<text x="{x + 18}" y="297">{name}</text>')
        x += 50 + 7 * len(name)
    return lines


def picture(*parts):
    """Two panels, at 56 and 466, and their legend."""
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 310" font-family="sans-serif" font-size="12">',
        '<rect width="820" height="310" fill="white"/>',
        *(line for part in parts for line in part),
    ]
    return "\n".join([*lines, "</svg>", ""])
