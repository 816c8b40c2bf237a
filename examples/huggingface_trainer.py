"""Hugging Face transformers: a callback that collects every `train`."""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from perfkit.collectors.integrations.transformers import PerfkitCallback


def main() -> None:
    """Train a tiny BERT, made from its config, on random tokens; nothing is downloaded."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    texts = torch.randint(100, (320, 16))
    data = [{"input_ids": text, "labels": int(text[0]) % 2} for text in texts]
    arguments = TrainingArguments(
        output_dir="trainer-output",
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,  # a step is one optimizer step, of two batches here
        num_train_epochs=1,
        save_strategy="no",
        report_to=[],
    )
    Trainer(
        model=BertForSequenceClassification(config),
        args=arguments,
        train_dataset=data,
        callbacks=[PerfkitCallback("perfkit-run", wait=3, warmup=2, active=10)],
    ).train()
    print("Now run: perfkit analyze perfkit-run")


if __name__ == "__main__":
    main()
