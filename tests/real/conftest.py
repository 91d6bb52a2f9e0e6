"""Keeps these tests out of environments without torchvision; `make test-real` has one."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("torchvision") is None else []
