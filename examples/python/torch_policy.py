"""An exported policy as a torch module: python torch_policy.py policy.safetensors"""
import json
import sys
import torch
from safetensors import safe_open


class Policy(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["ingle.policy"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        # The layers up to the means, in order: actor.latent_pi.0, .2, ..., actor.mu; or actor.mu.0, .2, ...
        names = sorted({name.rsplit(".", 1)[0] for name in tensors if name.startswith("actor.")} - {"actor.log_std"},
                       key=lambda name: (name == "actor.mu", int(name.split(".")[-1]) if name[-1].isdigit() else 0))
        self.layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names]
        self.low, self.high = torch.tensor(about["action_low"]), torch.tensor(about["action_high"])
        self.moments, self.normalisation = tensors, about["normalisation"]

    def forward(self, x):
        if self.normalisation:
            x = (x - self.moments["normalisation.mean"]) / self.moments["normalisation.deviation"]
            if clip := self.normalisation["clip"]:
                x = x.clamp(-clip, clip)
        for weight, bias in self.layers[:-1]:
            x = torch.relu(torch.nn.functional.linear(x, weight, bias))
        action = torch.tanh(torch.nn.functional.linear(x, *self.layers[-1]))
        return self.low + 0.5 * (action + 1.0) * (self.high - self.low)


if __name__ == "__main__":
    policy = Policy(sys.argv[1])
    print(policy(torch.zeros(1, policy.layers[0][0].shape[1])))
