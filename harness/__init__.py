"""What tests and benchmarks share. Nothing here imports either of them."""
