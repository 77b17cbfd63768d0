"""Results as files: predictions, image panels and the HTML report."""

from __future__ import annotations

from labelfree.results.cloud_view import CloudLayer, CloudView, label_layer
from labelfree.results.curves import MetricSeries, read_metrics
from labelfree.results.environment import environment_facts
from labelfree.results.export import overlay, save_legend, save_prediction, save_results
from labelfree.results.panels import FrameRow, cloud_panel, frame_panel
from labelfree.results.report import ClassShare, PanelFigure, ReportContent, class_share, write_report

__all__ = [
    "ClassShare",
    "CloudLayer",
    "CloudView",
    "FrameRow",
    "MetricSeries",
    "PanelFigure",
    "ReportContent",
    "class_share",
    "cloud_panel",
    "environment_facts",
    "frame_panel",
    "label_layer",
    "overlay",
    "read_metrics",
    "save_legend",
    "save_prediction",
    "save_results",
    "write_report",
]
