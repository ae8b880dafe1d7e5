#!/usr/bin/env python3
"""Writes the dashboard beside this file: python3 configs/grafana/dashboard.py

The JSON is what Grafana is given; it is made here because a panel is a line or two of thought and fifty of JSON. A test
fails when the two differ.
"""

import json
import pathlib

OUT = pathlib.Path(__file__).with_name("dwcp-anomaly-detection-dashboard.json")

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
TARGET = 'job=~"$job",instance=~"$instance"'
METRIC = TARGET + ',metric_name=~"$metric"'
SIDECAR = "and on (job, instance) dwcp_build_info"

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
SEVERITIES = {"info": BLUE, "warning": ORANGE, "critical": RED}
MODELS = {
    "isolation_forest": "#5794F2",
    "lstm_autoencoder": "#B877D9",
    "zscore": "#FF9830",
    "seasonal_esd": "#37872D",
    "ensemble": "#C4162A",
}


def query(expr, legend="", instant=False, ref="A"):
    """One query; a table wants `instant` ones."""
    target = {"refId": ref, "datasource": SOURCE, "expr": expr, "legendFormat": legend}
    return target | ({"instant": True, "range": False} if instant else {"instant": False, "range": True})


def queries(*parts, instant=False):
    """Queries A, B, C…, each an expression and a legend."""
    return [query(expr, legend, instant, ref) for ref, (expr, legend) in zip("ABCDEFGH", parts)]


def steps(*pairs):
    """Thresholds: the first colour from the beginning, each other from its value."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]}


def named(name, **properties):
    """An override for the field of that name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def colored(colors):
    return [named(name, color={"mode": "fixed", "fixedColor": color}) for name, color in colors.items()]


def mapped(*texts):
    """Values 0, 1, 2… in words and colours."""
    return [{
        "type": "value",
        "options": {str(at): {"index": at, "text": text, "color": color} for at, (text, color) in enumerate(texts)},
    }]


def panel(kind, title, description, targets, options, defaults, overrides=(), transformations=()):
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": targets,
        "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        **({"transformations": list(transformations)} if transformations else {}),
    }


def stat(title, description, expr, legend="", unit="short", thresholds=None, decimals=None, text="value", **more):
    defaults = {"unit": unit, "thresholds": thresholds or steps((None, GREEN)), "color": {"mode": "thresholds"}, **more}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background_solid", "graphMode": "none", "justifyMode": "center",
        "textMode": text, "orientation": "auto",
    }
    return panel("stat", title, description, [query(expr, legend, instant=True)], options, defaults)


def lines(title, description, targets, unit, overrides=(), low=None, high=None, stack=False, links=(), table=True):
    custom = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 20 if stack else 0,
        "showPoints": "never", "spanNulls": False, "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "axisPlacement": "auto", "scaleDistribution": {"type": "linear"},
    }
    defaults = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}, "links": list(links)}
    defaults |= {} if low is None else {"min": low}
    defaults |= {} if high is None else {"max": high}
    legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"], "sortBy": "Max",
              "sortDesc": True} if table else {"displayMode": "list", "placement": "bottom", "calcs": []}
    options = {"legend": {"showLegend": True, **legend}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, description, targets, options, defaults, overrides)


def states(title, description, targets, mappings, thresholds):
    options = {
        "showValue": "never", "rowHeight": 0.8, "mergeValues": True, "alignValue": "left",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults = {
        "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False}, "mappings": mappings,
        "thresholds": thresholds, "color": {"mode": "thresholds"},
    }
    return panel("state-timeline", title, description, targets, options, defaults)


def bars(title, description, expr, legend, overrides=()):
    options = {
        "orientation": "horizontal", "displayMode": "gradient", "valueMode": "text", "showUnfilled": True, "minVizHeight": 10,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    defaults = {"unit": "none", "decimals": 0, "min": 0, "thresholds": steps((None, BLUE)), "color": {"mode": "palette-classic"}}
    return panel("bargauge", title, description, [query(expr, legend, instant=True)], options, defaults, overrides)


TO_RUNBOOK = {"title": "Runbook of ${__field.labels.metric_name}", "targetBlank": True,
              "url": "${page}/runbook/${__field.labels.metric_name}"}


def now():
    return [
        (4, stat("Incidents firing", "Incidents at warning or above, by the sidecars' own judgement.",
                 f'sum(dwcp_anomaly_firing{{{METRIC},severity=~"warning|critical"}})',
                 thresholds=steps((None, GREEN), (1, RED)))),
        (4, stat("Signals above the threshold", "Signals whose score exceeds the dashboard's threshold, of all that are judged.",
                 f"avg(dwcp_anomaly_score{{{METRIC}}} > bool $threshold)", unit="percentunit", decimals=0,
                 thresholds=steps((None, GREEN), (0.01, YELLOW), (0.3, RED)))),
        (6, stat("Worst metric", "The score of the metric that is strangest now.",
                 f"dwcp_anomaly_score{{{METRIC}}} and topk(1, dwcp_anomaly_strength{{{METRIC}}})", "{{metric_name}} on {{instance}}", decimals=2, text="value_and_name",
                 thresholds=steps((None, GREEN), (0.4, YELLOW), (0.6, RED)), links=[TO_RUNBOOK])),
        (3, stat("Targets down", "Targets that the sidecars cannot scrape.",
                 f"count(dwcp_target_up{{{TARGET}}}) - sum(dwcp_target_up{{{TARGET}}})",
                 thresholds=steps((None, GREEN), (1, RED)))),
        (3, stat("Oldest verdict", "Age of the last verdict, of the target that has waited longest.",
                 f"time() - min(dwcp_last_verdict_timestamp_seconds{{{TARGET}}})", unit="s", decimals=0,
                 thresholds=steps((None, GREEN), (60, YELLOW), (300, RED)))),
        (4, stat("False-alert budget used",
                 "Incidents of the last 24 h by detector.false_alerts_per_day, of the worst target; true ones count as well.",
                 f"max(dwcp_false_alert_budget_used_ratio{{{TARGET}}})", unit="percentunit", decimals=0,
                 thresholds=steps((None, GREEN), (1, YELLOW), (3, RED)))),
    ]


def anomalies():
    firing = " or ".join(f'dwcp_anomaly_firing{{{METRIC},severity="{severity}"}} * {level}'
                         for level, severity in ((3, "critical"), (2, "warning"), (1, "info")))
    detected = f'dwcp_anomalies_detected_total{{{METRIC},model_type="ensemble"}}'
    threshold = named("threshold", color={"mode": "fixed", "fixedColor": RED}, custom__lineWidth=2,
                      custom__lineStyle={"fill": "dash", "dash": [8, 8]}, links=[])
    heat = {
        "calculate": False, "cellGap": 1, "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "none"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange", "reverse": False,
                  "min": 0, "max": 1},
        "rowsFrame": {"layout": "auto"}, "showValue": "never", "legend": {"show": True}, "exemplars": {"color": RED},
        "filterValues": {"le": -1}, "tooltip": {"show": True, "mode": "single", "yHistogram": False, "showColorScale": True},
    }
    pie = {
        "pieType": "donut", "displayLabels": ["percent"], "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "legend": {"showLegend": True, "displayMode": "table", "placement": "right", "values": ["value"]},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return [
        (16, lines("Anomaly timeline", "Score of each signal. The sidecar opens an incident when one stays above its threshold.",
                   queries((f"dwcp_anomaly_score{{{METRIC}}}", "{{metric_name}} on {{instance}}"), ("vector($threshold)", "threshold")),
                   "none", [threshold], low=0, high=1, links=[TO_RUNBOOK])),
        (8, states("Incidents", "Severity of each incident while it fires.",
                   [query(f"max by (instance, metric_name) ({firing})", "{{metric_name}} on {{instance}}")],
                   mapped(("none", GREEN), ("info", BLUE), ("warning", ORANGE), ("critical", RED)),
                   steps((None, GREEN), (1, BLUE), (2, ORANGE), (3, RED)))),
        (8, bars("Anomalies by metric", "Incidents in the range shown.",
                 f"round(sum by (metric_name) (increase({detected}[$__range])))", "{{metric_name}}")),
        (6, panel("piechart", "Severity distribution", "Incidents in the range shown, by severity.",
                  [query(f"round(sum by (severity) (increase({detected}[$__range])))", "{{severity}}", instant=True)],
                  pie, {"unit": "none", "decimals": 0}, colored(SEVERITIES))),
        (10, panel("heatmap", "Confidence heatmap", "Confidence of the detectors that vote, of the worst target, for each metric.",
                   [query(f'max by (metric_name) (dwcp_anomaly_confidence{{{METRIC},model_type="ensemble"}})', "{{metric_name}}")],
                   heat, {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}})),
    ]


def detectors():
    confidence = f'dwcp_anomaly_confidence{{{METRIC},model_type!="ensemble"}}'
    bucket = f"dwcp_anomaly_detection_latency_seconds_bucket{{{TARGET}}}"
    latency = [(f"histogram_quantile({q}, sum by (le) (rate({bucket}[$__rate_interval])))", name)
               for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]
    columns = {
        f"min by (model_type) (dwcp_detector_ready{{{TARGET}}})": "ready",
        f"avg by (model_type) (avg_over_time({confidence}[$__range]))": "mean confidence",
        f"max by (model_type) (max_over_time({confidence}[$__range]))": "highest",
        f'round(sum by (model_type) (increase(dwcp_anomalies_detected_total{{{METRIC},model_type!="ensemble"}}[$__range])))': "votes",
        f"time() - min by (model_type) (dwcp_model_trained_timestamp_seconds{{{TARGET}}}) or 0 * min by (model_type) (dwcp_detector_ready{{{TARGET}}})": "model's age",
    }
    table = [q | {"format": "table"} for q in queries(*((expr, "") for expr in columns), instant=True)]
    rename = {"model_type": "detector"} | {f"Value #{ref}": name for ref, name in zip("ABCDE", columns.values())}
    order = {name: at for at, name in enumerate(rename)}
    bar = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    overrides = [
        named("ready", mappings=mapped(("warming up", YELLOW), ("votes", GREEN)), custom__cellOptions={"type": "color-text"}),
        named("mean confidence", decimals=3, min=0, max=1),
        named("highest", decimals=2, min=0, max=1, custom__cellOptions=bar),
        named("votes", decimals=0),
        named("model's age", unit="s", decimals=0, mappings=mapped(("no model", GREY))),
    ]
    return [
        (10, lines("Model comparison", "Highest confidence of each detector over the metrics chosen. A detector votes at 0.5.",
                   [query(f"max by (model_type) ({confidence})", "{{model_type}}")], "none", colored(MODELS), low=0, high=1, table=False)),
        (14, panel("table", "Models", "Each detector over the range shown: whether it votes, how sure it was, and for how many incidents it voted. "
                   "An age counts from the newest row a model was fitted on.", table,
                   {"showHeader": True, "cellHeight": "sm"}, {"custom": {"align": "auto"}}, overrides,
                   [{"id": "merge", "options": {}},
                    {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": rename}}])),
        (12, states("Detectors ready", "Whether each detector votes.",
                    [query(f"min by (model_type, instance) (dwcp_detector_ready{{{TARGET}}})", "{{model_type}} on {{instance}}")],
                    mapped(("warming up", YELLOW), ("votes", GREEN)), steps((None, YELLOW), (1, GREEN)))),
        (12, lines("Detection latency", "From the end of a scrape to the published verdict.", queries(*latency), "s", low=0, table=False)),
    ]


def each_metric():
    band = [
        named("upper", custom__fillBelowTo="lower", custom__fillOpacity=15, custom__lineWidth=0,
              color={"mode": "fixed", "fixedColor": BLUE}, custom__hideFrom={"legend": True, "tooltip": False, "viz": False}),
        named("lower", custom__lineWidth=0, color={"mode": "fixed", "fixedColor": BLUE},
              custom__hideFrom={"legend": True, "tooltip": False, "viz": False}),
        named("expected", custom__lineStyle={"fill": "dash", "dash": [4, 6]}, color={"mode": "fixed", "fixedColor": BLUE}),
    ]
    score = named("score", custom__lineWidth=3, color={"mode": "fixed", "fixedColor": MODELS["ensemble"]})
    threshold = named("threshold", color={"mode": "fixed", "fixedColor": RED}, custom__lineStyle={"fill": "dash", "dash": [8, 8]})
    return [
        (14, lines("$metric: value with band", "The value against what is expected, in the signal's unit. Where several targets or series are "
                   "chosen, the band is what covers theirs: choose one instance for its own.",
                   queries((f"dwcp_signal_value{{{METRIC}}}", "{{instance}}"), (f"max(dwcp_signal_upper{{{METRIC}}})", "upper"),
                           (f"min(dwcp_signal_lower{{{METRIC}}})", "lower"), (f"avg(dwcp_signal_expected{{{METRIC}}})", "expected")),
                   "short", band, table=False, links=[TO_RUNBOOK])),
        (10, lines("$metric: score by detector", "Confidence of each detector and the weighted score, of the worst target.",
                   queries((f'max by (model_type) (dwcp_anomaly_confidence{{{METRIC},model_type!="ensemble"}})', "{{model_type}}"),
                           (f"max(dwcp_anomaly_score{{{METRIC}}})", "score"), ("vector($threshold)", "threshold")),
                   "none", [*colored(MODELS), score, threshold], low=0, high=1, table=False)),
    ]


def sidecars():
    alerts = [(f"sum by (endpoint) (increase(dwcp_alerts_{what}_total[$__rate_interval])) or vector(0)", f"{what} {{{{endpoint}}}}")
              for what in ("sent", "failed", "dropped")]
    return [
        (8, states("Targets up", "Whether the last scrape of each target succeeded.",
                   [query(f"dwcp_target_up{{{TARGET}}}", "{{instance}}")], mapped(("down", RED), ("up", GREEN)), steps((None, RED), (1, GREEN)))),
        (8, lines("Anomaly rate by target", "Share of each target's signals above the dashboard's threshold.",
                  [query(f"avg by (instance) (dwcp_anomaly_score{{{TARGET}}} > bool $threshold)", "{{instance}}")],
                  "percentunit", low=0, high=1, table=False)),
        (8, lines("False-alert budget used", "Incidents of the last 24 h by detector.false_alerts_per_day.",
                  [query(f"dwcp_false_alert_budget_used_ratio{{{TARGET}}}", "{{instance}}")], "percentunit", low=0, table=False)),
        (8, lines("Alerts told", "Alerts taken by each receiver, refused or not delivered, and given up.", queries(*alerts), "none", low=0, table=False)),
        (8, lines("Samples taken in", "Samples a second, by target.",
                  [query(f"rate(dwcp_metrics_processed_total{{{TARGET}}}[$__rate_interval])", "{{instance}}")], "wps", low=0, table=False)),
        (8, lines("Memory and CPU", "Resident memory of each sidecar, and its share of one core.",
                  queries((f"process_resident_memory_bytes {SIDECAR}", "memory {{instance}}"),
                          (f"rate(process_cpu_seconds_total[$__rate_interval]) {SIDECAR}", "CPU {{instance}}")), "bytes",
                  [{"matcher": {"id": "byRegexp", "options": "/^CPU/"},
                    "properties": [{"id": "unit", "value": "percentunit"}, {"id": "custom.axisPlacement", "value": "right"}]}],
                  low=0, table=False)),
        (8, stat("Signals that have drifted", "Signals whose last day is unlike the training: a population stability index above 0.25.",
                 f"count(dwcp_signal_drift_index{{{METRIC}}} > 0.25) or vector(0)", thresholds=steps((None, GREEN), (1, YELLOW)))),
        (8, stat("Sidecars whose configuration was refused", "The one before stays in force.",
                 "count(dwcp_config_last_reload_successful == 0) or vector(0)", thresholds=steps((None, GREEN), (1, RED)))),
        (8, stat("Sidecars by version", "What runs.", "count by (version) (dwcp_build_info)", "{{version}}", text="value_and_name")),
    ]


ROWS = [
    ("Now", now, 4, None),
    ("Anomalies", anomalies, 9, None),
    ("Detectors", detectors, 8, None),
    ("$metric", each_metric, 9, "metric"),
    ("The sidecars", sidecars, 7, None),
]


def place(rows):
    """Rows of panels, each panel with its width, from left to right and top to bottom."""
    placed, top = [], 0
    for title, panels, height, repeat in rows:
        row = {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        placed.append(row | ({"repeat": repeat} if repeat else {}))
        left, top = 0, top + 1
        for width, panel in panels():
            if left + width > 24:
                left, top = 0, top + height
            placed.append(panel | {"gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return [{"id": at} | panel for at, panel in enumerate(placed, start=1)]


def variable(name, label, expr, many=True, hide=0):
    every = {"text": ["All"], "value": ["$__all"]} if many else {}
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE, "definition": expr, "hide": hide,
        "query": {"query": expr, "refId": "variable"}, "refresh": 2, "sort": 1, "regex": "",
        "multi": many, "includeAll": many, "current": every,
    }


def threshold(values, chosen):
    options = [{"text": value, "value": value, "selected": value == chosen} for value in values]
    return {
        "type": "custom", "name": "threshold", "label": "Threshold", "query": ",".join(values), "options": options,
        "current": {"text": chosen, "value": chosen}, "multi": False, "includeAll": False, "hide": 0,
        "description": "What counts as anomalous on this dashboard; the sidecars' own is detector.ensemble_threshold.",
    }


def dashboard():
    return {
        "uid": "dwcp-anomaly-detection",
        "title": "dwcp-anomaly: anomaly detection",
        "description": "What the sidecars find unusual, how sure they are, and how they are themselves.",
        "tags": ["dwcp-anomaly", "anomaly-detection"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [{"type": "link", "title": "The sidecar's page", "url": "${page}", "icon": "external link", "targetBlank": True,
                   "tooltip": "Signals, incidents with their reasons, detectors and what they wait for", "asDropdown": False,
                   "includeVars": False, "keepTime": False, "tags": []}],
        "annotations": {"list": [
            {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
             "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"},
            {"datasource": SOURCE, "enable": True, "hide": False, "iconColor": RED, "name": "Incidents", "step": "10s",
             "expr": f'dwcp_anomaly_firing{{{METRIC},severity=~"warning|critical"}} == 1',
             "titleFormat": "{{severity}}: {{metric_name}}", "textFormat": "{{instance}}", "tagKeys": "severity,metric_name"},
        ]},
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "current": {}, "hide": 0,
             "includeAll": False, "multi": False, "refresh": 1, "regex": ""},
            variable("job", "Job", "label_values(dwcp_target_up, job)"),
            variable("instance", "Instance", 'label_values(dwcp_target_up{job=~"$job"}, instance)'),
            variable("metric", "Metric", f"label_values(dwcp_anomaly_firing{{{TARGET}}}, metric_name)"),
            threshold(["0.4", "0.5", "0.6", "0.7", "0.8", "0.9"], "0.6"),
            variable("page", "Page", f"label_values(dwcp_sidecar_info{{{TARGET}}}, page)", many=False, hide=2),
        ]},
        "panels": place(ROWS),
    }


if __name__ == "__main__":
    OUT.write_text(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n")
