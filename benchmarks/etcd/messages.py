"""etcd's messages, compiled from etcd.proto when first needed: nothing generated is kept."""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import grpc_tools
from grpc_tools import protoc

from h9s.errors import InternalError

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
STATUS = "/etcdserverpb.Maintenance/Status"


@functools.cache
def etcd_pb2() -> ModuleType:
    """The module with the message classes. Raises InternalError if etcd.proto does not compile."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="h9s-etcd-proto-") as folder:
        includes = importlib.resources.files(grpc_tools) / "_proto"
        arguments = [
            "protoc",
            f"-I{here}",
            f"-I{includes}",
            f"--python_out={folder}",
            str(here / "etcd.proto"),
        ]
        if protoc.main(arguments) != 0:
            raise InternalError(f"{here / 'etcd.proto'} does not compile")
        name = "benchmarks.etcd.etcd_pb2"
        spec = importlib.util.spec_from_file_location(name, Path(folder) / "etcd_pb2.py")
        if spec is None or spec.loader is None:
            raise InternalError("the compiled etcd.proto cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
