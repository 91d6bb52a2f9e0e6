"""Keeps these tests out of environments without kvpress; `make test-kvpress` has one."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("kvpress") is None else []
