"""Charts of a report as SVG, by matplotlib: the extra `report`; without it there are none."""

import importlib.util
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from reasoning_bank.monitoring.report import CHARTS, Report


def drawable() -> bool:
    """Whether matplotlib is there; it is loaded when a chart is drawn."""
    return importlib.util.find_spec("matplotlib") is not None


def charts(reports: Sequence[Report]) -> Iterator[tuple[str, str]]:
    """(title, SVG element) of every chart that there are figures for, the reports one after another in each.

    Texts in it are paths, so that it looks the same everywhere, and nothing in it is a script.
    """
    for title, metrics in CHARTS.items():
        lines = {metric: _points(reports, metric) for metric in metrics}
        if any(lines.values()):
            yield title, _svg({metric: points for metric, points in lines.items() if points})


def _points(reports: Sequence[Report], metric: str) -> list[tuple[int, float]]:
    return sorted({point for report in reports for point in report.series.get(metric, ())})


def _svg(lines: dict[str, list[tuple[int, float]]]) -> str:
    # An extra, and half a second.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    # A figure of its own, without pyplot: no window system, and nothing shared between threads.
    drawing: Any = mpl
    with drawing.rc_context({"svg.hashsalt": "reasoning-bank", "svg.fonttype": "path"}):
        figure: Any = Figure(figsize=(9, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for metric, points in lines.items():
            times = [datetime.fromtimestamp(at, UTC) for at, _ in points]
            axes.plot(times, [value for _, value in points], marker=".", linewidth=1.2, label=metric)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small", loc="upper left")
        axes.tick_params(labelsize="small")
        drawn = io.BytesIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(drawn, metadata={"Date": None})
    text = drawn.getvalue().decode()
    return text[text.index("<svg") :]
