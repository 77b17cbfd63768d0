"""The evaluation protocol: one confusion matrix over a whole split, and tables of its results."""

from __future__ import annotations

from labelfree.evaluation.confusion import ConfusionMatrix, Evaluation, evaluate_labels
from labelfree.evaluation.method_results import MethodResult, Table, class_table, comparison_table, confusion_table

__all__ = [
    "ConfusionMatrix",
    "Evaluation",
    "MethodResult",
    "Table",
    "class_table",
    "comparison_table",
    "confusion_table",
    "evaluate_labels",
]
