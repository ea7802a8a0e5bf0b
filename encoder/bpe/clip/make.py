"""Cut CLIP's list of merges to the lines that the models were trained with, and pack it.

    python make.py bpe_simple_vocab_16e6.txt.gz

The argument is OpenAI's file, as the packages open_clip_torch (folder open_clip) and clip carry it. What is written has
the form of merges.txt in transformers, and is the same on every machine.
"""

import gzip
import hashlib
import io
import pathlib
import sys

SOURCE = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 49152 - 256 - 2  # the rest of the list is not used

raw = pathlib.Path(sys.argv[1]).read_bytes()
if hashlib.sha256(raw).hexdigest() != SOURCE:
    sys.exit(f"{sys.argv[1]} is not OpenAI's file: its SHA-256 is {hashlib.sha256(raw).hexdigest()}")
lines = gzip.decompress(raw).decode().split("\n")[1 : 1 + MERGES]
text = "\n".join(["#version: 0.2", *lines, ""]).encode()
out = io.BytesIO()
with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=9, mtime=0) as packed:
    packed.write(text)
here = pathlib.Path(__file__).parent
(here / "merges.txt.gz").write_bytes(out.getvalue())
print(f"{len(text)} bytes, SHA-256 {hashlib.sha256(text).hexdigest()}, {len(out.getvalue())} packed")
