"""vLLM and the processes it runs in: what it changes about ours, and how to put that back.

vLLM on CPU sets environment variables, replaces `torch.set_num_threads` by a stub, may bind the CPUs and reseeds every
generator. Training in the same process afterwards must not notice.
"""

import contextlib
import logging
import os
import queue
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any


class ProcessState:
    """A snapshot of the process, taken when made."""

    def __init__(self) -> None:
        import numpy
        import torch

        self._environment = dict(os.environ)
        self._cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        self._set_num_threads = torch.set_num_threads
        self._threads = torch.get_num_threads()
        self._matmul = torch.get_float32_matmul_precision()
        self._dtype = torch.get_default_dtype()
        self._generators: tuple[Any, Any, Any] = (random.getstate(), numpy.random.get_state(), torch.get_rng_state())

    def restore(self) -> None:
        """Put everything back as it was."""
        import numpy
        import torch

        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        if self._cpus is not None:
            os.sched_setaffinity(0, self._cpus)
        torch.set_num_threads = self._set_num_threads
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        torch.set_float32_matmul_precision(self._matmul)
        torch.set_default_dtype(self._dtype)
        random.setstate(self._generators[0])
        numpy.random.set_state(self._generators[1])
        torch.set_rng_state(self._generators[2])


def quieten_vllm() -> None:
    """Show errors only; vLLM applies its own level late, after much has been said."""
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    for name in ("torch._library.triton", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def memory_unbound() -> Iterator[None]:
    """Keep vLLM on a CPU from tying all memory of the process to one NUMA node, which nothing could undo."""
    import torch

    operators, name = torch.ops._C, "init_cpu_memory_env"
    original = getattr(operators, name, None)
    if original is None:
        yield
        return
    setattr(operators, name, lambda nodes: None)
    try:
        yield
    finally:
        setattr(operators, name, original)


def let_vllm_look_at_llvmlite() -> None:
    """Make llvmlite's library deny attributes that it does not have, where Numba has loaded it.

    It takes any name for a function of LLVM, `__dict__` too, and vLLM 0.32 looks into everything that is loaded.
    """
    ffi = sys.modules.get("llvmlite.binding.ffi")
    library = type(ffi.lib) if ffi else None
    if library is None or hasattr(library, "looked_at"):
        return
    function_named = library.__getattr__

    def denied(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return function_named(self, name)

    library.__getattr__ = denied
    library.looked_at = True


def fail_when_the_core_dies(client: Any) -> None:
    """Wake `step` when vLLM's core process was killed; vLLM 0.32 stops listening and lets it wait for ever."""

    def watch(listener: threading.Thread, outputs: "queue.Queue[Any]") -> None:
        listener.join()
        outputs.put(
            RuntimeError("its core process ended; see its last words above, or the kernel's log if it was killed")
        )

    arguments = (client.output_queue_thread, client.outputs_queue)
    threading.Thread(target=watch, args=arguments, name="VllmCoreWatch", daemon=True).start()
