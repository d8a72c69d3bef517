"""What the whole directory needs before its modules are imported."""

from __future__ import annotations

import importlib
import warnings

from hypothesis import settings

# A property test may take as long as a busy machine makes it.
settings.register_profile("ottla", deadline=None)
settings.load_profile("ottla")

# On import, kafka-python 3.0 uses a function of the standard library that Python 3.11 deprecates.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("kafka")
