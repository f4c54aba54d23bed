"""Plays an exported policy in Gymnasium: python run_policy.py policy.onnx Pendulum-v1"""
import sys
import gymnasium
import onnxruntime

policy, env = onnxruntime.InferenceSession(sys.argv[1]), gymnasium.make(sys.argv[2])
for seed in range(3):
    observation, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        action = policy.run(["action"], {"observation": observation[None].astype("float32")})[0][0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    print(f"episode {seed}: return {total:.3f}")
