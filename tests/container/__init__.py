"""The image, built and run as its users run it, without a Docker engine: debootstrap, buildah, podman and runc.

`make container-test` (`python -m tests.container`) needs root and Debian's packages debootstrap, buildah, podman and runc.
"""
