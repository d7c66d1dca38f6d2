"""What the operator can set, how it is read, and what follows from the machine's size."""
