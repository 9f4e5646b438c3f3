"""llama-cpp-python's own server, which takes OpenAI's completions, as a process."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(file: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Its address and its process id, with the model of a GGUF file on one thread."""
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--host", "127.0.0.1", "--port", "0",
        "--n_threads", "1", "--n_threads_batch", "1", "--n_ctx", "1024", "--verbose", "false", *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    lines, url = [], None
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            url = found[1]
            break
    assert url, "it did not start: " + "".join(lines)
    rest = threading.Thread(target=process.stderr.read, daemon=True)
    rest.start()
    try:
        yield url, process.pid
    finally:
        process.kill()
        process.wait()
        rest.join()
        process.stderr.close()
