"""The thin LoRA trainer on the frozen LTX-2 backbone."""
