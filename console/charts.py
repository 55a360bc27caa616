"""Options of the charts, in colours that are readable on a light and on a dark page."""

from collections.abc import Mapping, Sequence
from typing import Any

_GREY = "#7c8798"
BLUE, RED, GREEN, AMBER, VIOLET, TEAL = "#4c83ee", "#e0675f", "#3fa672", "#d09a34", "#9270d8", "#35a3a8"
PALETTE = [BLUE, GREEN, AMBER, VIOLET, TEAL, RED, "#b7679c", "#88955b", "#6f7fb8", "#c0764a"]


def _base(legend: Sequence[str]) -> dict[str, Any]:
    return {
        "color": PALETTE,
        "animationDuration": 250,
        "aria": {"enabled": True},
        "textStyle": {"color": _GREY, "fontFamily": "inherit"},
        "tooltip": {"trigger": "axis"},
        "legend": {
            "data": list(legend),
            "top": 0,
            "right": 0,
            "textStyle": {"color": _GREY},
            "type": "scroll",
            "itemHeight": 9,
            "itemWidth": 14,
        },
        "grid": {"left": 8, "right": 8, "top": 32, "bottom": 4, "containLabel": True},
    }


def _value_axis(**more: Any) -> dict[str, Any]:
    line = {"lineStyle": {"color": "rgba(124,135,152,.22)"}}
    return {"type": "value", "axisLabel": {"color": _GREY}, "splitLine": line, **more}


def sales(
    periods: Sequence[str], net: Sequence[float], canceled: Sequence[float], names: tuple[str, str]
) -> dict[str, Any]:
    """Bars per period, one above the other: what stayed and what went back."""
    line = {"axisLabel": {"color": _GREY}, "axisTick": {"show": False}, "axisLine": {"lineStyle": {"color": _GREY}}}
    return _base(names) | {
        "xAxis": {"type": "category", "data": list(periods), **line},
        "yAxis": _value_axis(),
        "series": [_bars(names[0], net, BLUE), _bars(names[1], canceled, RED)],
    }


def _bars(name: str, values: Sequence[float], color: str) -> dict[str, Any]:
    style = {"color": color}
    return {"name": name, "type": "bar", "stack": "all", "data": list(values), "barMaxWidth": 28, "itemStyle": style}


def minutes(series: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Lines over the last minutes: pairs of milliseconds since 1970 and value."""
    return _base(list(series)) | {
        "animation": False,
        "xAxis": {"type": "time", "axisLabel": {"color": _GREY, "hideOverlap": True}, "splitLine": {"show": False}},
        "yAxis": _value_axis(min=0),
        "series": [_line(name, points) for name, points in series.items()],
    }


def _line(name: str, points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    data = [list(one) for one in points]
    return {"name": name, "type": "line", "showSymbol": False, "lineStyle": {"width": 1.6}, "data": data}
