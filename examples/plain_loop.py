"""A plain training loop: `p.steps` around its loader is all that perfkit needs."""

import torch
from torch.utils.data import DataLoader, TensorDataset

import perfkit


def main() -> None:
    """Train a small classifier on random data."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(640, 64), torch.randint(10, (640,)))
    loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=2, persistent_workers=True)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with perfkit.profile("perfkit-run", wait=5, warmup=2, active=10) as p:
        for _epoch in range(2):
            for inputs, labels in p.steps(loader):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
    print("Now run: perfkit analyze perfkit-run")


if __name__ == "__main__":
    main()
