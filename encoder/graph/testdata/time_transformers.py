"""Prints images per second of processor time of transformers' ViT-B/32 image tower, to set beside go test -bench ImageTower.

    python time_transformers.py [threads]
"""

from __future__ import annotations

import sys
import time

import torch
import transformers


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(projection_dim=512)).eval()
    pixels = torch.randn(8, 3, 224, 224)
    for kind in (torch.float32, torch.bfloat16):
        model.to(kind)
        times = []
        with torch.inference_mode():
            for _ in range(7):
                began = time.process_time()
                model(pixel_values=pixels.to(kind))
                times.append(time.process_time() - began)
        print(f"transformers {transformers.__version__}, {kind}, batch 8: {8 / sorted(times)[3]:.1f} images/cpu-s")


if __name__ == "__main__":
    main()
