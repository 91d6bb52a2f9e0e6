"""What a caller asks of a decoder process."""

from dataclasses import asdict, dataclass
from typing import Any

from prune.inputs.decoding.limits import Limits


@dataclass(frozen=True)
class Request:
    """One call of `load_video`.

    Attributes:
        paths: a video, an image or a folder; or several images.
        num_frames: T.
        start, end: bounds of the clip in seconds.
        sampling: the name of a policy.
        fps: frames per second of the `fps` policy.
        frame_rate: frames per second of images.
        backend: "pyav" or "torchcodec".
        limits: what reading it may cost.
    """

    paths: list[str]
    num_frames: int
    start: float | None
    end: float | None
    sampling: str
    fps: float | None
    frame_rate: float
    backend: str
    limits: Limits

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Request":
        """The request from what `to_dict` gave."""
        return cls(**{**data, "limits": Limits(**data["limits"])})
