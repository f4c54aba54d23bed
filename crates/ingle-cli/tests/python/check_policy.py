"""Compares an exported policy with recorded actions: check_policy.py policy.onnx policy.safetensors actions.json [torch]

The ONNX model passes the checker and runs in onnxruntime, for one row and for many; the safetensors file is computed with
NumPy, or with `torch` as `examples/python/torch_policy.py` does. Prints the largest difference of each.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors import safe_open
from safetensors.numpy import load_file

model, weights, recorded = sys.argv[1:4]
recorded = json.loads(Path(recorded).read_text())
observation = np.array(recorded["observation"], np.float32)
expected = np.array(recorded["action"], np.float32)

onnx.checker.check_model(onnx.load(model), full_check=True)
assert onnx.load(model).opset_import[0].version == 17
session = onnxruntime.InferenceSession(model)
(entry,), (result,) = session.get_inputs(), session.get_outputs()
assert (entry.name, entry.shape) == ("observation", ["batch", observation.shape[1]]), (entry.name, entry.shape)
assert (result.name, result.shape) == ("action", ["batch", expected.shape[1]]), (result.name, result.shape)
about = json.loads(session.get_modelmeta().custom_metadata_map["ingle.policy"])
with safe_open(weights, "np") as file:
    assert file.metadata()["format"] == "pt" and json.loads(file.metadata()["ingle.policy"]) == about


def run(rows):
    return session.run(["action"], {"observation": rows})[0]


def numpy():
    tensors, x = load_file(weights), observation
    if about["normalisation"]:
        x = (x - tensors["normalisation.mean"]) / tensors["normalisation.deviation"]
        if clip := about["normalisation"]["clip"]:
            x = np.clip(x, -clip, clip)
    trunk = "actor.latent_pi" if about["kind"] == "gaussian" else "actor.mu"
    index = 0
    while f"{trunk}.{index}.weight" in tensors:
        name = f"{trunk}.{index}"
        x = x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]
        index += 2
        if about["kind"] == "gaussian" or f"{trunk}.{index}.weight" in tensors:
            x = np.maximum(x, 0)
    if about["kind"] == "gaussian":
        x = x @ tensors["actor.mu.weight"].T + tensors["actor.mu.bias"]
    low, high = np.array(about["action_low"]), np.array(about["action_high"])
    return low + 0.5 * (np.tanh(x) + 1.0) * (high - low)


differences = {
    "onnxruntime": np.abs(run(observation) - expected).max(),
    "onnxruntime, one row": max(np.abs(run(observation[i : i + 1])[0] - expected[i]).max() for i in range(4)),
    "numpy": np.abs(numpy() - expected).max(),
}
if "torch" in sys.argv[4:]:
    sys.path.append(str(Path(__file__).resolve().parents[4] / "examples/python"))
    import torch
    from torch_policy import Policy

    differences["torch"] = np.abs(Policy(weights)(torch.from_numpy(observation)).detach().numpy() - expected).max()
for name, difference in differences.items():
    print(f"{name}: {difference:.2e}")
    assert difference < 1e-5, name
