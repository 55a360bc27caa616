"""Pictures of figures, as PNG."""

from collections.abc import Sequence
from pathlib import Path

from bench.suite import Plot, Row


def draw(plot: Plot, title: str, rows: Sequence[Row], file: Path) -> None:
    """One panel per column, one line or one colour of bars per series."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in rows if plot.only(row)]
    if not shown:
        return
    series = list(dict.fromkeys(str(row[plot.series]) for row in shown))
    places = list(dict.fromkeys(row[plot.x] for row in shown))
    are_numbers = all(isinstance(place, int | float) for place in places)
    figure, axes = pyplot.subplots(1, len(plot.panels), figsize=(6.5 * len(plot.panels), 4.5), squeeze=False)
    for axis, panel in zip(axes[0], plot.panels, strict=True):
        for number, name in enumerate(series):
            of_series = {row[plot.x]: row[panel] for row in shown if str(row[plot.series]) == name and panel in row}
            if are_numbers:
                axis.plot(list(of_series), list(of_series.values()), marker="o", label=name)
                continue
            width = 0.8 / len(series)
            at = [place + (number - (len(series) - 1) / 2) * width for place in range(len(places))]
            axis.bar(at, [of_series.get(place, 0) for place in places], width, label=name)
        if are_numbers:
            axis.set_xlabel(plot.x.replace("_", " "))
        else:
            axis.set_xticks(range(len(places)), [str(place) for place in places])
        if plot.logarithmic:
            axis.set_xscale("log")
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_title(panel.replace("_", " "))
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize="small")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
