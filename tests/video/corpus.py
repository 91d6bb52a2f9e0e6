"""Odd clips, made by FFmpeg: `python -m tests.video.corpus FOLDER` writes them all.

Every clip but the still images shows 24 different frames at 10 per second unless its recipe says
otherwise.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.video.ffmpeg import ffmpeg

_PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=2.4"]
_UPRIGHT = ["-f", "lavfi", "-i", "testsrc2=s=64x96:r=10:d=2.4"]
_SOUND = ["-f", "lavfi", "-i", "sine=d=2.4"]
_H264 = ["-c:v", "libx264", "-qp", "12", "-g", "8", "-bf", "3", "-pix_fmt", "yuv420p"]
_HEVC = ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params"]
_QUIET_HEVC = "log-level=none:pools=none"


def _plain(folder: Path, *extra: object) -> Path:
    path = folder / "source.mp4"
    if not path.exists():
        ffmpeg(*_PICTURE, *_SOUND, *_H264, "-c:a", "aac", path)
    return path


def _turned(*flags: object) -> Callable[[Path], None]:
    """The plain clip with a display matrix."""
    return lambda path: ffmpeg(*flags, "-i", _plain(path.parent), "-an", "-c", "copy", path)


def _coded(*options: object, source: list[str] = _PICTURE) -> Callable[[Path], None]:
    return lambda path: ffmpeg(*source, *options, path)


def _cut(path: Path) -> None:
    ffmpeg("-ss", 0.5, "-i", _plain(path.parent), "-t", 1.5, "-c", "copy", path)


def _joined(path: Path) -> None:
    """The picture's size and the clock change in the middle."""
    parts = [path.with_name("wide.ts"), path.with_name("high.ts")]
    ffmpeg(*_PICTURE, *_H264, parts[0])
    ffmpeg(*_UPRIGHT, *_H264, parts[1])
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def _middle_of_group(path: Path) -> None:
    """A recording that starts between two keys, as of a broadcast."""
    whole = path.with_name("whole.ts")
    ffmpeg(*_PICTURE, *_H264, "-x264-params", "open-gop=1", whole)
    packets = len(whole.read_bytes()) // 188
    path.write_bytes(whole.read_bytes()[packets // 6 * 188 :])


def _with_cover(path: Path) -> None:
    cover = path.with_name("cover.png")
    ffmpeg(*_UPRIGHT, "-frames:v", 1, cover)
    inputs = ["-i", _plain(path.parent), "-i", cover, "-map", 1, "-map", 0]
    ffmpeg(*inputs, "-c", "copy", "-disposition:v:0", "attached_pic", path)


def _two_pass_vp8(path: Path) -> None:
    """Hidden reference frames lie between the shown ones."""
    log, options = path.with_suffix(""), ["-c:v", "libvpx", "-auto-alt-ref", 1, "-b:v", "100k"]
    options += ["-lag-in-frames", 16, "-passlogfile", log, "-pass"]
    ffmpeg(*_PICTURE, *options, 1, "-f", "null", "-")
    ffmpeg(*_PICTURE, *options, 2, path)


_LATE_PICTURE = [*_SOUND, "-itsoffset", "0.7", *_PICTURE, "-map", "0", "-map", "1"]

CLIPS: dict[str, Callable[[Path], None]] = {
    # Display: rotation, mirrors, pixels that are not square.
    "rotated-90.mp4": _turned("-display_rotation", 90),
    "rotated-180.mp4": _turned("-display_rotation", 180),
    "rotated-270.mkv": _turned("-display_rotation", 270),
    "mirrored.mp4": _turned("-display_hflip"),
    "rotated-mirrored.mp4": _turned("-display_rotation", 90, "-display_vflip"),
    "wide-pixels.mp4": _coded("-vf", "setsar=4/3", *_H264),
    "high-pixels.mkv": _coded("-vf", "setsar=1/2", *_H264),
    # Clock: variable rates, offsets, edit lists, cuts, wrong and missing time stamps.
    "variable-rate.mp4": _coded(
        "-vf",
        "settb=1/1000,setpts='if(lt(N,8),N*0.5,4+(N-8)*0.05)/TB'",
        *["-fps_mode", "vfr", "-enc_time_base", "1:1000"],
        *_H264,
    ),
    "ntsc.mkv": _coded("-r", "30000/1001", *_H264),
    "starts-late.ts": _coded("-output_ts_offset", 5, *_H264),
    "sound-first.mp4": _coded(*_H264, source=_LATE_PICTURE),
    "sound-first.mkv": _coded(*_H264, source=_LATE_PICTURE),
    "starts-before-zero.mp4": lambda path: ffmpeg(
        *["-itsoffset", "-1", "-i", _plain(path.parent), "-c", "copy"],
        *["-avoid_negative_ts", "disabled", path],
    ),
    "cut.mp4": _cut,
    "cut.mkv": _cut,
    "cut.ts": _cut,
    "middle-of-group.ts": _middle_of_group,
    "size-changes.ts": _joined,
    "raw.h264": _coded(*_H264),
    "raw.hevc": _coded(*_HEVC, _QUIET_HEVC),
    "raw.m2v": _coded("-c:v", "mpeg2video", "-q:v", 2, "-bf", 2),
    "no-time-stamps.avi": _coded(*_H264),
    "b-frames.avi": _coded("-c:v", "mpeg4", "-bf", 2, "-q:v", 2),
    "packed-b-frames.avi": _coded("-c:v", "libxvid", "-bf", 2, "-q:v", 2),
    # Coding: interlaced, odd sizes, depths, chroma, alpha, groups of frames, codecs.
    "interlaced.mp4": _coded(*_H264, "-x264-params", "interlaced=1"),
    "interlaced.mpg": _coded("-c:v", "mpeg2video", "-q:v", 2, "-flags", "+ilme+ildct", "-bf", 2),
    "odd-size.mkv": _coded("-vf", "format=bgr0,crop=95:63", "-c:v", "ffv1", "-pix_fmt", "bgr0"),
    "yuv444.mp4": _coded(*_H264[:-1], "yuv444p"),
    "ten-bit.mp4": _coded(*_HEVC, f"{_QUIET_HEVC}:bframes=4"),
    "open-groups.mp4": _coded(*_H264, "-x264-params", "open-gop=1"),
    "open-groups.mkv": _coded(*_HEVC, f"{_QUIET_HEVC}:open-gop=1:keyint=8"),
    "intra-refresh.mp4": _coded(*_H264, "-x264-params", "intra-refresh=1"),
    "full-range.mp4": _coded(
        *["-vf", "scale=out_range=pc", "-c:v", "libx264", "-pix_fmt", "yuvj420p"]
    ),
    "bt709.mp4": _coded("-vf", "scale=out_color_matrix=bt709", *_H264, "-colorspace", "bt709"),
    "alpha.mov": _coded("-vf", "format=rgba,colorchannelmixer=aa=0.5", "-c:v", "qtrle"),
    "grey-16.mkv": _coded("-pix_fmt", "gray16le", "-c:v", "ffv1"),
    "hidden-frames.webm": _two_pass_vp8,
    "vp9.webm": _coded("-c:v", "libvpx-vp9", "-crf", 20, "-b:v", 0, "-cpu-used", 8),
    "av1.mp4": _coded("-c:v", "libaom-av1", "-cpu-used", 8, "-crf", 20),
    "fragments.mp4": _coded(*_H264, "-movflags", "frag_keyframe+empty_moov"),
    "old.flv": _coded(*_H264),
    "old.wmv": _coded("-c:v", "wmv2", "-q:v", 2),
    "theora.ogv": _coded("-c:v", "libtheora", "-q:v", 8),
    "photographs.avi": _coded("-c:v", "mjpeg", "-q:v", 2),
    # Streams: more than one picture, one frame, images.
    "cover.mp4": _with_cover,
    "two-videos.mkv": _coded(*_H264, "-map", 0, "-map", 1, source=[*_PICTURE, *_UPRIGHT]),
    "one-frame.mp4": _coded("-frames:v", 1, *_H264),
    "moving.gif": _coded(),
    "moving.apng": _coded("-f", "apng", "-plays", 0),
    "photograph.jpg": _coded("-vf", "scale=640:480", "-frames:v", 1, "-q:v", 2),
    "drawing.png": _coded("-frames:v", 1),
    "still.webp": _coded("-frames:v", 1),
}
"""What makes each clip, by file name."""


def make(name: str, folder: Path) -> Path:
    """Make one of the clips."""
    CLIPS[name](folder / name)
    return folder / name


if __name__ == "__main__":
    for clip in CLIPS:
        make(clip, Path(sys.argv[1]))
