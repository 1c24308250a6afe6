"""The shape of the arm: which joints reach which place, and how far each joint goes.

Joints are the column in mm, shoulder, elbow and wrist in degrees, and the width between the
fingers in mm. Assumed: the lengths of the links, and all ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, atan2, cos, degrees, hypot, radians, sin
from typing import Final

from hw_mocks.brooks_pf400_words import TcsRefusedError

Joints = tuple[float, float, float, float, float]

LINKS_MM: Final = (302.0, 289.0)  # assumed
JOINT_RANGES: Final = (  # assumed
    (0.0, 400.0),
    (-95.0, 95.0),
    (-360.0, 360.0),
    (-970.0, 970.0),
    (0.0, 150.0),
)
PITCH_ROLL: Final = (90.0, 180.0)

RIGHTY, LEFTY = 0x01, 0x02
SINGLE: Final = 0x1000


def place_of(joints: Joints) -> tuple[float, ...]:
    """Return x, y, z, yaw, pitch and roll of the gripper."""
    first, second = LINKS_MM
    shoulder, elbow = radians(joints[1]), radians(joints[1] + joints[2])
    x = first * cos(shoulder) + second * cos(elbow)
    y = first * sin(shoulder) + second * sin(elbow)
    return (x, y, joints[0], joints[1] + joints[2] + joints[3], *PITCH_ROLL)


def configuration(joints: Joints) -> int:
    """Return the bits that say to which side the elbow bends."""
    return SINGLE | (RIGHTY if joints[2] >= 0.0 else LEFTY)


def joints_at(xyz: Sequence[float], config: int, *, fingers_mm: float) -> Joints:
    """Return the joints that reach a Cartesian location.

    Raises:
        TcsRefusedError: It is too far or too close, or a joint would leave its range.
    """
    first, second = LINKS_MM
    reach = hypot(xyz[0], xyz[1])
    if reach > first + second:
        raise TcsRefusedError(-1040)
    if reach < abs(first - second):
        raise TcsRefusedError(-1039)
    cosine = (reach * reach - first * first - second * second) / (2.0 * first * second)
    elbow = acos(max(-1.0, min(1.0, cosine)))
    if config & LEFTY:
        elbow = -elbow
    shoulder = atan2(xyz[1], xyz[0]) - atan2(second * sin(elbow), first + second * cos(elbow))
    wrist = xyz[3] - degrees(shoulder) - degrees(elbow)
    return in_range(
        (xyz[2], degrees(shoulder), degrees(elbow), wrist, fingers_mm),
    )


def between(start: Joints, to: Joints, share: float) -> Joints:
    """Return where a motion is once ``share`` of it has passed."""
    a, b, c, d, e = (p + (q - p) * share for p, q in zip(start, to, strict=True))
    return (a, b, c, d, e)


def raised(joints: Joints, by_mm: float) -> Joints:
    """Return ``joints`` at the height of the approach, at most at the column's end."""
    return (min(joints[0] + by_mm, JOINT_RANGES[0][1]), *joints[1:])


def in_range(joints: Joints) -> Joints:
    """Return ``joints`` if all lie in their ranges.

    Raises:
        TcsRefusedError: One doesn't.
    """
    for angle, (lowest, highest) in zip(joints, JOINT_RANGES, strict=True):
        if not lowest <= angle <= highest:
            raise TcsRefusedError(-1012)
    return joints
