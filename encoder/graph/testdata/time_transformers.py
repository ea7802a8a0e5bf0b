"""Runs transformers' ViT-B/32 image tower on the pixels of BenchmarkTransformers, by turns with the graphs there.

    TILESCOUT_TORCH_PYTHON=python go test ./encoder/graph -run - -bench Transformers

Reads lines "float32 8" (kind, pictures) and answers each with the processor time of one run in seconds.
Arguments: a file of pictures, uint8 [n, 224, 224, 3], and the number of threads.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
import transformers

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    raw = torch.from_numpy(np.fromfile(sys.argv[1], np.uint8).reshape(-1, 224, 224, 3))
    pixels = (raw.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD  # not timed
    config = transformers.CLIPVisionConfig(projection_dim=512)
    models = {
        name: transformers.CLIPVisionModelWithProjection(config).eval().to(kind)
        for name, kind in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items()
    }
    print(f"transformers {transformers.__version__}, torch {torch.__version__}", flush=True)
    for line in sys.stdin:
        kind, n = line.split()
        batch = pixels[: int(n)].to(getattr(torch, kind))
        began = time.process_time()
        with torch.inference_mode():
            models[kind](pixel_values=batch)
        print(time.process_time() - began, flush=True)


if __name__ == "__main__":
    main()
