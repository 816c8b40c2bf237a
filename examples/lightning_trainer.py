"""Lightning: a callback that collects every `fit`."""

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from perfkit.collectors.integrations.lightning import PerfkitCallback


class Classifier(pl.LightningModule):
    """A small classifier."""

    def __init__(self) -> None:
        super().__init__()
        layers = torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
        self.layers = torch.nn.Sequential(*layers)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The loss of a batch."""
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(self.layers(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    """Train it on random data; a step is one optimizer step, of two batches here."""
    pl.seed_everything(0, verbose=False)
    data = TensorDataset(torch.randn(1280, 64), torch.randint(10, (1280,)))
    trainer = pl.Trainer(
        max_epochs=1,
        accumulate_grad_batches=2,
        callbacks=[PerfkitCallback("perfkit-run", wait=3, warmup=2, active=10)],
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(Classifier(), DataLoader(data, batch_size=32, shuffle=True))
    print("Now run: perfkit analyze perfkit-run")


if __name__ == "__main__":
    main()
