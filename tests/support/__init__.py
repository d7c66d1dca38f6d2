"""What tests share: parts of the service put together, doubles of what is outside, documents and requests."""
