"""Where the documents of an operation are stored between its request and its result."""
