"""Moved to plugins.tasks.distillation.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.distillation.protocol import (
    TEACHER_FILE,
    DistillationMethod,
    DistillationProtocol,
    DistillationView,
    LossMethod,
    Outcome,
    StageShapes,
    StudentRecipe,
    stage_shapes,
    train_alone,
    train_student,
    train_students,
    train_students_alone,
)

__all__ = [
    "TEACHER_FILE",
    "DistillationMethod",
    "DistillationProtocol",
    "DistillationView",
    "LossMethod",
    "Outcome",
    "StageShapes",
    "StudentRecipe",
    "stage_shapes",
    "train_alone",
    "train_student",
    "train_students",
    "train_students_alone",
]

warnings.warn(
    "harness.tasks.distillation has moved to plugins.tasks.distillation.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
