"""Ask vLLM of several processes, and print what it answered. A process of its own: vLLM leaves sockets and memory open.

Usage: vllm_in_parts.py FOLDER ARGS (a JSON object). Prints a JSON object: `answers`, texts by request id, asked after
another iterator was abandoned; `ended`, how requests finish of which every one is doomed.
"""

import json
import sys

from test_engines import ask

from distill.engines.vllm import VllmEngine


def main(folder, args):
    requests = ask(12, max_tokens=80)
    with VllmEngine(folder, revision=None, args=args) as engine:
        next(engine.complete(requests))
        answers = {c.request_id: c.text for c in engine.complete(requests)}
        ended = {c.request_id: c.finish_reason for c in engine.complete(requests, lambda seen: ["loop"] * len(seen))}
    print(json.dumps({"answers": answers, "ended": ended}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
