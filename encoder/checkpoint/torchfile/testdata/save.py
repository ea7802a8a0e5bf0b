"""Writes a small model in the ways in which torch can write one, and its values, into the folder given."""

import argparse
import json
import sys

import torch

folder = sys.argv[1]


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1 = torch.nn.LayerNorm(6)
        self.fc = torch.nn.Linear(6, 6)

    def forward(self, x):
        return x + self.fc(self.ln_1(x))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))
        self.blocks = torch.nn.Sequential(Block(), Block())
        self.bn = torch.nn.BatchNorm1d(6)
        self.size: int = 224

    def forward(self, x):
        return self.bn(self.blocks(x)) * self.logit_scale.exp()


torch.manual_seed(1)
model = Model().eval()
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(4, 6)).sum().backward()
optimizer.step()
state = {k: v.detach().clone() for k, v in model.state_dict().items()}
with open(f"{folder}/want.json", "w") as f:
    json.dump({k: v.double().flatten().tolist() for k, v in state.items()}, f)

torch.save(state, f"{folder}/state.pt")
torch.save(state, f"{folder}/protocol4.pt", pickle_protocol=4)
torch.save(state, f"{folder}/legacy.pt", _use_new_zipfile_serialization=False)
torch.save(model, f"{folder}/module.pt")
training = {"epoch": 3, "name": "run", "state_dict": {"module." + k: v for k, v in state.items()}, "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=1e-4), "scaler": {"scale": 65536.0}}
torch.save(training, f"{folder}/training.pt")
for name, made in {"scripted": torch.jit.script(model), "traced": torch.jit.trace(model, torch.randn(2, 6))}.items():
    torch.jit.save(made, f"{folder}/{name}.pt")
