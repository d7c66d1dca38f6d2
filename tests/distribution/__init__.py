"""Tries a release where nothing of a developer's machine is: `make dist-test` (`python -m tests.distribution`).

Each wheel in `dist/` is installed in a container of a bare Debian, as a user without a compiler would do it, and seals documents
there. It needs root and Debian's packages debootstrap, buildah, podman and runc.
"""
