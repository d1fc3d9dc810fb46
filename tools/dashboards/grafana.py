# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a Board to Grafana's JSON, by the models and builders of grafana-foundation-sdk. Nothing else needs it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ansible_collections.local_llm.ops.tools.dashboards.model import (
    COLUMNS,
    GREEN,
    GREY,
    Alert,
    Board,
    Limit,
    Marker,
    Panel,
    Query,
    Variable,
)

TAG = "local_llm"
_SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_EDITOR = "PrometheusVariableQueryEditor-VariableQuery"
_GRAFANA = dashboard.DataSourceRef(type_val="grafana", uid="-- Grafana --")


class _AtValue(dashboard.AnnotationQuery):
    """An annotation with the settings that Prometheus' plugin reads and the library's model does not know."""

    def __init__(self, marker: Marker) -> None:
        super().__init__(
            name=marker.name,
            datasource=_SOURCE,
            enable=marker.shown,
            icon_color=marker.colour,
            expr=marker.expr,
        )
        self.more: dict[str, object] = {
            "step": "60s",
            "tagKeys": ",".join(marker.tags),
            "textFormat": marker.text,
            "titleFormat": marker.title,
            "useValueForTime": marker.at_value,
        }

    def to_json(self) -> dict[str, object]:
        """Return the annotation with all its settings."""
        return {**super().to_json(), **self.more}


def board_json(board: Board) -> str:
    """Return the text of a dashboard's file: the same every time."""
    made = builders.Dashboard(board.title).uid(board.uid).description(board.description).tags([TAG])
    made = made.timezone("browser").tooltip(dashboard.DashboardCursorSync.CROSSHAIR).time(board.since, "now")
    made = made.refresh(board.refresh).link(_links())
    made = made.with_variable(_datasource())
    for variable in board.variables:
        made = made.with_variable(_variable(variable))
    below = 0
    for row in board.rows:
        place = dashboard.GridPos(h=1, w=COLUMNS, x=0, y=below)
        made = made.with_row(builders.Row(row.title).id(_number(board.uid, f"row {row.title}")).grid_pos(place))
        below += 1
        for panel, x, y in placed(row.panels):
            made = made.with_panel(_panel(board.uid, panel, x, below + y))
        below += max(y + panel.height for panel, _x, y in placed(row.panels))
    document = made.build()
    document.annotations = dashboard.AnnotationContainer(list_val=[_builtin(), *map(_AtValue, board.markers)])
    return json.dumps(document, cls=JSONEncoder, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def placed(panels: Iterable[Panel]) -> list[tuple[Panel, int, int]]:
    """Return where each panel of a row stands, from left to right, in lines as high as their highest panel."""
    found, x, y, highest = [], 0, 0, 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, highest = 0, y + highest, 0
        found.append((panel, x, y))
        x, highest = x + panel.width, max(highest, panel.height)
    return found


def description(panel: Panel) -> str:
    """Return what a panel means, what to do, and the alerts and runbooks that belong to it."""
    parts = [panel.means, f"What to do: {panel.do}"]
    parts += [
        f"Alert {alert.name} ({alert.severity}{_at(alert, panel.unit)}): {alert.runbook}" for alert in panel.alerts
    ]
    return "\n\n".join(parts)


def steps(limits: Iterable[Limit]) -> list[tuple[float | None, str]]:
    """Return where colours begin, from the lowest value up. Good values are green; without limits none has a colour."""
    limits = list(limits)
    if not limits:
        return [(None, GREY)]
    too_low = sorted((limit for limit in limits if not limit.above), key=lambda limit: limit.value)
    too_high = sorted((limit for limit in limits if limit.above), key=lambda limit: limit.value)
    found: list[tuple[float | None, str]] = []
    begins: float | None = None
    for limit in too_low:
        found.append((begins, limit.colour))
        begins = limit.value
    found.append((begins, GREEN))
    return found + [(limit.value, limit.colour) for limit in too_high]


def _at(alert: Alert, unit: str) -> str:
    limit = alert.limit
    if limit is None:
        return ""
    if unit in ("none", "short") and limit == Limit(1, True, limit.colour):
        return ", from 1 on"
    scale, word = _SPOKEN.get(unit, (1, ""))
    return f", {'above' if limit.above else 'below'} {limit.value * scale:g}{word}"


# Units as people say them.
_SPOKEN = {
    "percentunit": (100, " %"),
    "celsius": (1, " °C"),
    "s": (1, " s"),
    "bytes": (1 / 1024**3, " GiB"),
    "suffix:x": (1, "x"),
}


def _panel(uid: str, panel: Panel, x: int, y: int) -> Any:
    made: Any = _KINDS[panel.kind](panel)
    made = made.id(_number(uid, panel.title)).title(panel.title).description(description(panel)).datasource(_SOURCE)
    made = made.unit(panel.unit).grid_pos(dashboard.GridPos(h=panel.height, w=panel.width, x=x, y=y))
    levels = [dashboard.Threshold(value=value, color=colour) for value, colour in steps(panel.all_limits)]
    mode = dashboard.ThresholdsMode.ABSOLUTE
    made = made.thresholds(builders.ThresholdsConfig().mode(mode).steps(levels))
    made = made.color_scheme(builders.FieldColor().mode(_COLOUR_MODES[panel.kind]))
    if panel.decimals is not None:
        made = made.decimals(panel.decimals)
    if panel.top is not None:
        made = made.max(panel.top)
    if panel.words:
        words = {
            str(number): dashboard.ValueMappingResult(text=text, color=colour, index=place)
            for place, (number, (text, colour)) in enumerate(sorted(panel.words.items()))
        }
        made = made.mappings([dashboard.ValueMap(options=words)])
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        made = made.with_target(_query(ref, query, panel.kind))
    return made


def _query(ref: str, query: Query, kind: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(ref).expr(query.expr).legend_format(query.legend or "__auto")
    made = made.datasource(_SOURCE)
    if kind == "table":
        return made.instant().format(PromQueryFormat.TABLE)
    return made.instant() if kind == "stat" else made.range()


def _graph(panel: Panel) -> Any:
    made = timeseries.Panel().line_width(1).fill_opacity(8).show_points(common.VisibilityMode.NEVER).axis_soft_min(0)
    made = made.tooltip(_tooltip()).legend(_legend())
    if panel.all_limits:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        made = made.thresholds_style(style)
    if panel.stacked:
        made = made.fill_opacity(30).stacking(
            common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        )
    return made


def _bars(panel: Panel) -> Any:
    """Return one bar for each day."""
    made = timeseries.Panel().draw_style(common.GraphDrawStyle.BARS).line_width(1).fill_opacity(60).axis_soft_min(0)
    made = made.interval("1d").tooltip(_tooltip()).legend(_legend())
    return made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))


def _stat(panel: Panel) -> Any:
    last = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    made = stat.Panel().reduce_options(last).color_mode(common.BigValueColorMode.VALUE)
    made = made.graph_mode(common.BigValueGraphMode.NONE)
    return made.text_mode(common.BigValueTextMode.AUTO)


def _timeline(panel: Panel) -> Any:
    made = statetimeline.Panel().show_value(common.VisibilityMode.NEVER).merge_values(True).row_height(0.8)
    made = made.fill_opacity(70).line_width(0)
    return made.legend(_legend()).tooltip(_tooltip())


def _table(panel: Panel) -> Any:
    made = table.Panel().show_header(True).align(common.FieldTextAlignment.AUTO)
    changes = []
    if panel.join:
        options: dict[str, object] = {"byField": panel.join, "mode": "outer"}
        changes.append(dashboard.DataTransformerConfig(id_val="joinByField", options=options))
    hidden = {name: True for name in panel.hidden_columns}
    names = {"excludeByName": hidden, "indexByName": {}, "renameByName": dict(panel.column_names)}
    changes.append(dashboard.DataTransformerConfig(id_val="organize", options=names))
    made = made.transformations(changes)
    for column, unit in panel.column_units.items():
        made = made.override_by_name(column, [dashboard.DynamicConfigValue(id_val="unit", value=unit)])
    return made


_KINDS = {"graph": _graph, "bars": _bars, "stat": _stat, "timeline": _timeline, "table": _table}


_LINES, _LEVELS = dashboard.FieldColorModeId.PALETTE_CLASSIC, dashboard.FieldColorModeId.THRESHOLDS
_COLOUR_MODES = {"graph": _LINES, "bars": _LINES, "stat": _LEVELS, "timeline": _LEVELS, "table": _LEVELS}


def _legend() -> common_builders.VizLegendOptions:
    made = common_builders.VizLegendOptions().show_legend(True).calcs([])
    return made.display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)


def _tooltip() -> common_builders.VizTooltipOptions:
    return common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


def _links() -> builders.DashboardLink:
    made = builders.DashboardLink("Dashboards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    return made.as_dropdown(True).include_vars(True).keep_time(True)


def _datasource() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _variable(variable: Variable) -> Any:
    if not variable.query:
        chosen = dashboard.VariableOption(selected=True, text=variable.default, value=variable.default)
        typed = builders.TextBoxVariable(variable.name).label(variable.label).default_value(variable.default)
        return typed.description(variable.description).current(chosen).options([chosen])
    # What label_values() is when the query editor stores it.
    query: dict[str, object] = {"qryType": 1, "query": variable.query, "refId": _EDITOR}
    made = builders.QueryVariable(variable.name).label(variable.label).query(query).datasource(_SOURCE)
    made = made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.NATURAL_ASC)
    everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    made = made.multi(True).include_all(True).current(everything)
    return made.all_value(variable.any_value) if variable.any_value else made


def _builtin() -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery(
        name="Annotations & Alerts",
        datasource=_GRAFANA,
        hide=True,
        icon_color="rgba(0, 211, 255, 1)",
        type_val="dashboard",
        built_in=1,
    )


def _number(uid: str, title: str) -> int:
    """Return a panel's number: it stays when others come and go, so that links to the panel hold."""
    return zlib.crc32(f"{uid}/{title}".encode()) % 1_000_000 + 1
