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
    return _base(names) | {
        "xAxis": {"type": "category", "data": list(periods), "axisLabel": {"color": _GREY}, "axisTick": {"show": False}},
        "yAxis": _value_axis(),
        "series": [
            {"name": names[0], "type": "bar", "stack": "s", "data": list(net), "barMaxWidth": 28, "itemStyle": {"color": BLUE}},
            {"name": names[1], "type": "bar", "stack": "s", "data": list(canceled), "barMaxWidth": 28, "itemStyle": {"color": RED, "borderRadius": [2, 2, 0, 0]}},
        ],
    }  # fmt: skip


def minutes(series: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Lines over the last minutes: pairs of milliseconds since 1970 and value."""
    return _base(list(series)) | {
        "animation": False,
        "xAxis": {"type": "time", "axisLabel": {"color": _GREY, "hideOverlap": True}, "splitLine": {"show": False}},
        "yAxis": _value_axis(min=0),
        "series": [
            {"name": name, "type": "line", "showSymbol": False, "lineStyle": {"width": 1.6}, "data": [list(one) for one in points]}
            for name, points in series.items()
        ],
    }  # fmt: skip
