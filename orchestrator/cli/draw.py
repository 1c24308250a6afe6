"""``cellwright draw``: a process cell file as a drawing, in SVG.

The places stand where the file's ``drawing`` table puts them. An arm has no entry there: its
own taught coordinates and the table describe the same places, so where it stands follows
from both (least squares over shift and scale). It isn't drawn where they disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import typer

from orchestrator.cli.cells import load
from orchestrator.cli.options import AsJson, write_file
from orchestrator.cli.printing import say, say_json
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.process_cell.config import CellConfig, LoadedCell, Unit

MARGIN_MM: Final = 120
TEXT_MM: Final = 44
LINE_MM: Final = 66
DOT_MM: Final = 28
LEGEND_MM: Final = 1_500
AGREE_MM: Final = 25.0
"""How far a place may lie from where the arm was taught it, for the arm to be drawn."""

COLOURS: Final = (
    "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2",
    "#7f7f7f", "#bcbd22", "#17becf", "#ff7f0e", "#393b79", "#637939",
)  # fmt: skip


class Point(NamedTuple):
    """A place in the drawing, in millimetres from the cell's corner."""

    x: float
    y: float


@dataclass(frozen=True)
class Arm:
    """Where an arm stands, and which places it was taught."""

    equipment: str
    base: Point
    reach_mm: float
    places: tuple[str, ...]


def run(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="A process cell file")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there; else to standard output")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a process cell file as SVG: its places, and what its arms reach.

    With --json one object with cell, digest, width, depth, places (place, unit, x, y) and
    arms (equipment, x, y, reach, places), all in millimetres; the drawing isn't printed then.
    """
    loaded = load(cell)
    if not loaded.config.drawing:
        raise ConfigurationRefusedError(
            f"draw {cell}",
            why="it has no drawing table, so nobody knows where its places are",
            do_next="Add a [[drawing]] with place, x and y for each place",
        )
    if to is not None:
        write_file(to, drawing(loaded))
    if as_json:
        say_json(_described(loaded))
    elif to is None:
        say(drawing(loaded).rstrip("\n"))


def drawing(loaded: LoadedCell) -> str:
    """Return the cell as an SVG document, the same for the same file."""
    config = loaded.config
    points = _points(config)
    arms = list(arms_of(config))
    width = max([config.width, *(int(point.x) for point in points.values())])
    legend = list(_legend(config))
    depth = max(
        [config.depth, *(int(point.y) for point in points.values()), LINE_MM * (len(legend) + 2)]
    )
    whole = f"{-MARGIN_MM} {-MARGIN_MM} {width + LEGEND_MM + 2 * MARGIN_MM} {depth + 2 * MARGIN_MM}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{whole}" '
        f'font-family="sans-serif" font-size="{TEXT_MM}" role="img">',
        f"<title>Process cell {escape(config.name)}</title>",
        f"<desc>{escape(loaded.source)}, SHA-256 {loaded.digest}</desc>",
        _element("rect", x=-MARGIN_MM, y=-MARGIN_MM, width="100%", height="100%", fill="#ffffff"),
        _element(
            "rect", x=0, y=0, width=width, height=config.depth or depth, rx=40, fill="#f6f8fa",
            stroke="#333333", stroke_width=8,
        ),
    ]  # fmt: skip
    for arm in arms:
        lines += _drawn_arm(arm, points)
    for place, point in points.items():
        lines += _drawn_place(place, point, config, arms)
    lines += [
        _text(width + MARGIN_MM, 40, config.name + " (emulated)" * config.emulated, bold=True),
        *(
            line
            for row, (colour, text) in enumerate(legend)
            for line in _drawn_row(width + MARGIN_MM, 40 + LINE_MM * (row + 1), colour, text)
        ),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def arms_of(config: CellConfig) -> Iterator[Arm]:
    """Yield the arms whose taught places agree with the drawing."""
    points = _points(config)
    for module in config.modules:
        if module.capability != "container_transport":
            continue
        stations: dict[str, Any] = module.settings.get("stations", {})
        taught = {
            place: Point(float(one["x_mm"]), float(one["y_mm"]))
            for place, one in stations.items()
            if place in points
        }
        found = _fitted(taught, points)
        if found is not None:
            base, scale = found
            reach = max(math.hypot(*point) for point in taught.values()) * scale
            yield Arm(module.equipment, base, reach, tuple(taught))


def _fitted(taught: dict[str, Point], points: dict[str, Point]) -> tuple[Point, float] | None:
    """Return where an arm's own zero lies in the drawing, and the drawing's scale."""
    if len(taught) < 2:
        return None
    count = len(taught)
    own = Point(
        sum(p.x for p in taught.values()) / count, sum(p.y for p in taught.values()) / count
    )
    drawn = Point(sum(points[name].x for name in taught) / count,
                  sum(points[name].y for name in taught) / count)  # fmt: skip
    spread = sum((p.x - own.x) ** 2 + (p.y - own.y) ** 2 for p in taught.values())
    if spread == 0:
        return None
    scale = (
        sum(
            (p.x - own.x) * (points[name].x - drawn.x) + (p.y - own.y) * (points[name].y - drawn.y)
            for name, p in taught.items()
        )
        / spread
    )
    base = Point(drawn.x - scale * own.x, drawn.y - scale * own.y)
    strays = (
        math.dist(points[name], (base.x + scale * p.x, base.y + scale * p.y))
        for name, p in taught.items()
    )
    return (base, scale) if scale > 0 and max(strays) <= AGREE_MM else None


def _points(config: CellConfig) -> dict[str, Point]:
    return {str(one.place): Point(one.x, one.y) for one in config.drawing}


def _drawn_arm(arm: Arm, points: dict[str, Point]) -> Iterator[str]:
    x, y = round(arm.base.x), round(arm.base.y)
    yield _element(
        "circle", cx=x, cy=y, r=round(arm.reach_mm), fill="#fff8e1", stroke="#b8860b",
        stroke_width=6, stroke_dasharray="24 18",
    )  # fmt: skip
    for place in arm.places:
        end = points[place]
        yield _element(
            "line", x1=x, y1=y, x2=round(end.x), y2=round(end.y), stroke="#d9c58b", stroke_width=4
        )
    yield _element("circle", cx=x, cy=y, r=60, fill="#b8860b")
    yield _text(x, y + 120, f"{arm.equipment} reaches {len(arm.places)} places", anchor="middle")


def _drawn_place(place: str, point: Point, config: CellConfig, arms: list[Arm]) -> Iterator[str]:
    unit = config.unit_of_place.get(place)
    x, y = round(point.x), round(point.y)
    name = place.rpartition("/")[2]
    yield (
        f"<g><title>{escape(place)}{escape(f', {unit.name}') if unit else ''}</title>"
        + _element("circle", cx=x, cy=y, r=DOT_MM, fill=_colour(config, unit))
        + "</g>"
    )
    base = next((arm.base for arm in arms if place in arm.places), None)
    if base is None:
        named = unit is not None and place in map(str, unit.named_places.values())
        side = -1 if named else 1
        yield _text(x + side * 44, y + 15, name, anchor="end" if named else "start")
        return
    away = math.dist(base, point) or 1.0
    ux, uy = (point.x - base.x) / away, (point.y - base.y) / away
    anchor = "middle" if abs(ux) < 0.4 else "start" if ux > 0 else "end"
    yield _text(round(x + 48 * ux), round(y + 15 + 58 * uy), name, anchor=anchor)


def _legend(config: CellConfig) -> Iterator[tuple[str, str]]:
    """Yield colour and text of each line; a line without a colour belongs to the one above."""
    for unit in config.units:
        yield _colour(config, unit), f"{unit.name}: {_counted(unit)}"
        for module in unit.modules:
            yield "", f"{module.equipment}  {module.capability} {module.part}, {module.model}"


def _counted(unit: Unit) -> str:
    places = [*map(str, unit.places), *map(str, unit.named_places.values())]
    if not places:
        return "no place of its own"
    return ", ".join(places) if len(places) <= 3 else f"{places[0]} to {places[-1]}"


def _drawn_row(x: int, y: int, colour: str, text: str) -> Iterator[str]:
    if colour:
        yield _element("circle", cx=x + 20, cy=y - 14, r=20, fill=colour)
    yield _text(x + (60 if colour else 100), y, " ".join(text.split()).replace(" ,", ","))


def _colour(config: CellConfig, unit: Unit | None) -> str:
    if unit is None:
        return "#000000"
    return COLOURS[config.units.index(unit) % len(COLOURS)]


def _text(x: int, y: int, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _element(name: str, **attributes: str | int) -> str:
    written = " ".join(
        f"{key.replace('_', '-')}={quoteattr(str(value))}" for key, value in attributes.items()
    )
    return f"<{name} {written}/>"


def _described(loaded: LoadedCell) -> dict[str, Any]:
    config = loaded.config
    return {
        "cell": config.name,
        "digest": loaded.digest,
        "width": config.width,
        "depth": config.depth,
        "places": [
            {
                "place": place,
                "unit": config.unit_of_place[place].name if place in config.unit_of_place else None,
                "x": round(point.x),
                "y": round(point.y),
            }
            for place, point in _points(config).items()
        ],
        "arms": [
            {
                "equipment": arm.equipment,
                "x": round(arm.base.x),
                "y": round(arm.base.y),
                "reach": round(arm.reach_mm),
                "places": list(arm.places),
            }
            for arm in arms_of(config)
        ],
    }
