"""What methods that look at the stages of both networks share: which stage belongs to which, and how their maps are brought to one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from harness import TrialUnsupported

if TYPE_CHECKING:
    from harness.training.networks import Output

__all__ = ["MOST_STAGES", "same_size", "stage_pairs"]

MOST_STAGES = 3  # those of a residual network behind its stem, which the reference implementation leaves out


def stage_pairs(student: Output, teacher: Output, pictures: bool = False) -> list[tuple[Tensor, Tensor]]:
    """
    Pair the maps of student and teacher from the last stage backwards, as far as both have stages and :data:`MOST_STAGES` goes; the first stands first.

    Args:
        student: Of a batch.
        teacher: Of the same batch.
        pictures: Whether maps must have rows and columns.

    Raises:
        TrialUnsupported: They must and have not.
    """
    count = min(len(student.maps), len(teacher.maps), MOST_STAGES)
    pairs = list(zip(student.maps[-count:], teacher.maps[-count:], strict=True))
    for which, maps in zip(("student", "teacher"), zip(*pairs, strict=True), strict=True):
        if pictures and any(each.ndim != 4 for each in maps):
            raise TrialUnsupported(
                f"this method compares maps of rows and columns, and the {which} has none: take a convolutional one ('model')"
            )

    return pairs


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average the larger of two maps ``(N, c, h, w)`` to the size of the smaller; the height decides which one that is."""
    if student.shape[2] > teacher.shape[2]:
        return adaptive_avg_pool2d(student, teacher.shape[2:]), teacher
    if student.shape[2] < teacher.shape[2]:
        return student, adaptive_avg_pool2d(teacher, student.shape[2:])

    return student, teacher
