"""A process that has imported prune, and forks a process of its own for every command.

Each line of its input is a JSON object: `argv` of prune, files for `out` and `err`, and what is
done before: `limits` by name, `umask`, `env`, and Python source, `before`. For each it writes
`start PID`, and `exit PID STATUS` when that ends; STATUS is that of `waitpid`.
"""

import json
import os
import resource
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any


def child(asked: dict[str, Any]) -> None:
    os.setsid()
    for number, name in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        handle = os.open(name, os.O_RDONLY if number == 0 else flags, 0o644)
        os.dup2(handle, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(asked["env"])
    if asked["umask"] is not None:
        os.umask(asked["umask"])
    for name, value in asked["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    exec(asked["before"], {})
    from prune.cli import main

    sys.argv = ["prune", *asked["argv"]]
    main()


def serve() -> None:
    running: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.01)
        if ready:
            read = os.read(0, 2**20)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        child(json.loads(line))
                    except SystemExit as end:
                        code = end.code if isinstance(end.code, int) else 0
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        sys.stdout.flush()
                        sys.stderr.flush()
                        os._exit(code)
                running.add(pid)
                os.write(1, f"start {pid}\n".encode())
        for pid in list(running):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                running.remove(pid)
                os.write(1, f"exit {pid} {status}\n".encode())


if __name__ == "__main__":
    import importlib
    import pkgutil

    import torch

    torch.set_num_threads(1)
    import prune.cli

    for room in ("cli", "workflows"):
        package = importlib.import_module(f"prune.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"prune.{room}."):
            importlib.import_module(module.name)
    assert Path(prune.__file__).exists()
    os.write(1, b"ready\n")
    serve()
