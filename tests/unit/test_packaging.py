"""What a user installs: the packages of pyproject, the sdist and the wheel."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from prune.errors import DISTRIBUTION, install_extra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
LEFT_OUT = {
    "prune/tiny/model_ov/model.safetensors",
    "prune/recipes/README.md",
}
LARGEST_WHEEL = 24_000_000
FOLDERS = {"prune": "prune", "prune.kernels": "kernels", "prune.recipes": "recipes"}
TEXTS = [
    path
    for pattern in ("*.md", "docs/*.md", "prune/**/*.py", "benchmarks/*.py", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
]

ignore = shutil.ignore_patterns("__pycache__")


def files(folder: str) -> set[str]:
    """Paths of a folder's files, relative to the repository."""
    found = (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT).as_posix() for p in found}


def build(what: str, source: Path, out: Path) -> Path:
    """An sdist or a wheel of a source tree, without a network."""
    code = f"import sys; from setuptools import build_meta as b; b.build_{what}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, out], cwd=source, check=True, capture_output=True)
    (built,) = out.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return built


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist holds, unpacked; it is built of a copy, apart from old build folders."""
    work = tmp_path_factory.mktemp("source")
    tree = work / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
    for name in ("benchmarks", "docs", "kernels", "prune", "recipes", "tests", ".ci", ".github"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    with tarfile.open(build("sdist", tree, work)) as sdist:
        sdist.extractall(work, filter="data")
    shutil.rmtree(tree)
    (unpacked,) = (path for path in work.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds of the sdist."""
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_every_package_on_disk_is_declared_and_no_other() -> None:
    assert SETUPTOOLS["package-dir"] == FOLDERS
    on_disk = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    in_wheel = {name for name in on_disk if not name.startswith("prune.recipes.")}
    assert SETUPTOOLS["packages"] == sorted(in_wheel)


def test_badges_say_what_the_project_says() -> None:
    project = PROJECT["project"]
    versions = [
        name.rpartition(" ")[2] for name in project["classifiers"] if "Python :: 3." in name
    ]  # fmt: skip
    badges = re.findall(r"badge/(.+?)-3b6fb6\)\]\((\S+)\)", (ROOT / "README.md").read_text())
    assert badges == [
        (f"license-{project['license'].replace('-', '--')}", "LICENSE"),
        ("python-" + "%20%7C%20".join(versions), "pyproject.toml"),
    ]


@pytest.mark.parametrize("folder", ["benchmarks", "docs", "kernels", "prune", "recipes", "tests"])
def test_the_sdist_holds_the_sources(source: Path, folder: str) -> None:
    assert not {name for name in files(folder) if not (source / name).is_file()}


def test_the_wheel_holds_every_file_of_the_packages_but_two(wheel: Path) -> None:
    expected = files("prune")
    expected |= {f"prune/{name}" for name in files("kernels")}
    expected |= {f"prune/{name}" for name in files("recipes") if name.count("/") == 1}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected - LEFT_OUT
    assert wheel.stat().st_size <= LARGEST_WHEEL


def test_the_wheel_opens_tiny_and_says_where_tiny_ov_is(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import prune
assert prune.__file__.startswith({str(tmp_path)!r})
prune.load("tiny")
try:
    prune.load("tiny-ov")
except prune.BadInputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == (
        "tiny-ov: its weights ship with the source checkout, not with the wheel: "
        "give the folder prune/tiny/model_ov of a checkout\n"
    )


def test_extras_are_asked_for_by_this_distribution() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION
    extras = PROJECT["project"]["optional-dependencies"]
    names, asked = "|".join(extras), set()
    for path in TEXTS:
        text = path.read_text()
        asked |= set(re.findall(r"install_extra\(['\"](\w+)", text))
        for name, several in re.findall(rf"([\w.-]+)\[((?:{names})(?:,\w+)*)\]", text):
            assert name in (DISTRIBUTION, "."), f"{path.relative_to(ROOT)}: {name}[{several}]"
            asked |= set(several.split(","))
    assert asked and asked <= set(extras)
    assert install_extra("eval") == "pip install 'prune-videollm[eval]'"


def test_the_hook_runs_the_ruff_of_the_tests() -> None:
    (pinned,) = re.findall(r"^ruff==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"ruff==[\d.]+", hooks)) == {pinned}
