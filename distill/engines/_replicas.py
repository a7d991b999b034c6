"""Several replicas of a model in vLLM, behind the few calls that its engine of one replica has.

vLLM balances replicas (`data_parallel_size`) in its asynchronous engine only. It runs here on a thread with an event
loop of its own, and each request is a task there.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any


class Replicas:
    """What `distill.engines.vllm` needs of vLLM's LLMEngine, made of an AsyncLLM, which `open_engine` makes.

    All of it is called from one thread. What goes wrong with a request is raised by `step`.
    """

    def __init__(self, open_engine: Callable[[], Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._outputs: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="VllmReplicas", daemon=True)
        self._thread.start()
        try:
            self._engine = self._call(open_engine)
        except BaseException:
            self._stop()
            raise
        self.vllm_config = self._engine.vllm_config
        self.model_config = self._engine.model_config

    def add_request(self, request_id: str, *args: Any, **named: Any) -> None:
        """Begin a request; ids are used once."""

        def begin() -> asyncio.Task[None]:
            return self._loop.create_task(self._listen(request_id, self._engine.generate(*args, request_id, **named)))

        self._tasks[request_id] = self._call(begin)

    def step(self) -> list[Any]:
        """Wait until something came of the requests, and return all that has: as many outputs of one as there were."""
        outputs = []
        waiting = True
        while waiting or not self._outputs.empty():
            request_id, output = self._outputs.get()
            if request_id not in self._tasks:  # ended since
                continue
            if isinstance(output, BaseException):
                raise output
            if output.finished:
                del self._tasks[request_id]
            outputs.append(output)
            waiting = False
        return outputs

    def abort_request(self, request_ids: Iterable[str]) -> None:
        """End requests; one that has finished is none."""
        tasks = [task for name in request_ids if (task := self._tasks.pop(name, None)) is not None]
        self._call(lambda: [task.cancel() for task in tasks])

    def close(self) -> None:
        """End the replicas' processes and the thread."""
        try:
            self.abort_request(list(self._tasks))
            self._call(self._engine.shutdown)
        finally:
            self._stop()

    async def _listen(self, request_id: str, outputs: Any) -> None:
        try:
            async for output in outputs:
                self._outputs.put((request_id, output))
        except Exception as error:
            self._outputs.put((request_id, error))

    def _call(self, function: Callable[[], Any]) -> Any:
        """Call a function on the loop's thread, and return what it returns."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    def _stop(self) -> None:
        async def finish() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
