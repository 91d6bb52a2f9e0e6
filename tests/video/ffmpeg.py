"""FFmpeg's own program: it makes the clips, and shows what a player shows."""

import re
import subprocess
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

# Square pixels, never fewer than coded; the time of each frame goes to the log.
_SHOWN = (
    "scale='if(gt(sar,1),round(iw*sar),iw)':'if(gt(sar,0)*lt(sar,1),round(ih/sar),ih)',"
    "setsar=1,showinfo"
)


@cache
def _program() -> str:
    return imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(*arguments: object, data: bytes | None = None) -> None:
    """Run FFmpeg, the output last; a failure shows what it said.

    Encoders write the same bytes on every machine, whatever its number of processors.
    """
    *options, output = map(str, arguments)
    command = [_program(), "-y", "-v", "error", *options, "-threads", "1", "-bitexact", output]
    done = subprocess.run(command, input=data or b"", capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def errors(path: Path) -> str:
    """What FFmpeg reports while it decodes the picture."""
    command = [_program(), "-nostdin", "-v", "error", "-i", str(path), "-map", "0:V:0"]
    done = subprocess.run([*command, "-f", "null", "-"], capture_output=True)
    return done.stderr.decode(errors="replace")


def shown(path: Path, stream: str = "0:V:0") -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Seconds at which frames appear `[T]`, and the frames `[T, H, W, 3]`, as FFmpeg shows them."""
    # The sound is read too: the clock starts with what starts first.
    command = [_program(), "-nostdin", "-hide_banner", "-i", str(path)]
    command += ["-map", "0:a?", "-f", "null", "-", "-map", stream, "-vf", _SHOWN]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True)
    log = done.stderr.decode(errors="replace")
    size = re.search(r" s:(\d+)x(\d+) ", log)
    assert size, log
    width, height = map(int, size.groups())
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    times = [float(t) for t in re.findall(r"pts_time:\s*(-?[\d.]+)", log)]
    return np.array(times[: len(frames)]), frames
