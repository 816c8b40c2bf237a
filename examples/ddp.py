"""DistributedDataParallel: every rank writes a folder of its own into the same Capture.

torchrun --standalone --nproc-per-node 2 examples/ddp.py
"""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import perfkit


def main() -> None:
    """Train a small classifier on random data, on CPUs (with GPUs: nccl, and the model on one)."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(1280, 64), torch.randint(10, (1280,)))
    loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
    layers = torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    model = DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with perfkit.profile("perfkit-run", wait=5, warmup=2, active=10) as p:
        for inputs, labels in p.steps(loader):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    if dist.get_rank() == 0:
        print("Now run: perfkit analyze perfkit-run, or of the other rank: --rank 1")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
