"""The choice of kernels, and proof that each keeps within its instruction set."""

import hashlib
import platform
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchseal._native import cpu, digest
