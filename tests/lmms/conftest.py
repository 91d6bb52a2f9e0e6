"""Keeps these tests out of environments without lmms-eval; `make test-lmms` has one."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("lmms_eval") is None else []
