"""The settings: what the operator can set, how it is read, and how the sizes of the service follow from the machine."""
