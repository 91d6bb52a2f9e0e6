"""What can be given instead of a video file, and what is refused."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from prune.errors import BadInputError, UsageError
from prune.inputs.video import load_video


def _grey(value: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """frame2 comes before frame10."""
    for k in range(12):
        _grey(20 * k).save(tmp_path / f"frame{k}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_a_folder_of_images(folder: Path) -> None:
    frames, about = load_video(folder, 12, frame_rate=3)
    assert [int(f.mean()) for f in frames] == [20 * k for k in range(12)]
    assert (about["fps"], about["duration"], about["total_num_frames"]) == (3, 4, 12)
    frames, about = load_video(folder, 2, start=1, end=3, frame_rate=3)
    assert about["frames_indices"] == [4, 7]
    assert [int(f.mean()) for f in frames] == [80, 140]


def test_a_list_of_images_takes_the_size_of_the_first(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b.png", "a.jpg", "c.bmp")]
    for path, size in zip(paths, [(40, 30), (64, 64), (10, 20)], strict=True):
        _grey(100, size).save(path)
    frames, about = load_video([str(p) for p in paths], 3)
    assert frames.shape == (3, 30, 40, 3) and about["total_num_frames"] == 3
    assert np.abs(frames.astype(int) - 100).max() <= 2
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    with pytest.raises(BadInputError, match=r"3 images: a.jpg: "):
        load_video(paths, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "COCO_val2014_000000310196.jpg"
    picture = Image.fromarray(
        np.add.outer(np.arange(48) * 2, np.arange(64) * 2).astype(np.uint8)
    ).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        want = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    frames, about = load_video(path, 1)
    assert frames[0].shape == want.shape == (about["height"], about["width"], 3)
    assert np.abs(frames[0].astype(int) - want).max() <= 3


def test_names_do_not_matter(plain: Path, tmp_path: Path) -> None:
    want, _ = load_video(plain, 4)
    for name in ("clip.jpg", "concat:a.mp4", "frame%03d.png", "-i", "ü \n.mp4", "no-ending"):
        shutil.copy(plain, tmp_path / name)
        assert (load_video(tmp_path / name, 4)[0] == want).all()


def test_playlists_and_descriptions(plain: Path, tmp_path: Path) -> None:
    shutil.copy(plain, tmp_path / "secret.mp4")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        port = server.getsockname()[1]
        files = {
            "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x\n",
            "local.m3u8": "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
            "list.ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
            "list.txt": "# no header\nfile secret.mp4\n",
            "dash.mpd": '<?xml version="1.0"?><MPD><Period/></MPD>',
            "radio.pls": f"[playlist]\nFile1=http://127.0.0.1:{port}/x\n",
            "session.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video {port} RTP/AVP 96\n",
        }
        for name, text in files.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(BadInputError, match=f"{name}: (a playlist|not a video)"):
                load_video(tmp_path / name, 1)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "address", ["http://x/y.mp4", "file:///etc/passwd", "data:video/mp4;base64,AA", "concat:a|b"]
)
def test_addresses(address: str) -> None:
    with pytest.raises(BadInputError, match=r"an address|no such video file"):
        load_video(address, 1)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such video file"):
        load_video("/dev/zero", 1)
    with pytest.raises(BadInputError, match="the folder holds no images"):
        load_video(tmp_path, 1)
    with pytest.raises(BadInputError, match="list of images is empty"):
        load_video([], 1)


def test_arguments(plain: Path) -> None:
    for bad in (
        {"num_frames": 0},
        {"sampling": "every"},
        {"sampling": "fps"},
        {"fps": 2.0},
        {"fps": -1.0, "sampling": "fps"},
        {"frame_rate": 0.0},
        {"backend": "opencv"},
    ):
        with pytest.raises(UsageError):
            load_video(plain, **{"num_frames": 4, **bad})
    for start, end in ((float("nan"), 1.0), (0.0, float("inf")), (1.0, 0.5), (2.0, None)):
        with pytest.raises(BadInputError, match=r"plain.mp4"):
            load_video(plain, 4, start, end)
