"""The policy that is trained: forward pass, micro-batches, ZeRO-3. Only `engine` knows DeepSpeed."""
