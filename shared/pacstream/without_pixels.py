"""pydicom for processes that never look at pixels.

pydicom imports whatever is installed that could decode pixels or download test files. That is more
than half of the time in which `pacstream submit` starts, and 30 MB of each service that only talks
to a PACS. None of it is needed to read and write data sets, and pydicom works without it.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

OPTIONAL = (
    "numpy", "PIL", "gdcm", "jpeg_ls", "pylibjpeg", "libjpeg", "openjpeg", "rle",
    "requests", "tqdm",
)  # fmt: skip
"""What pydicom tries to import and does without."""


def load_pydicom() -> None:
    """Import pydicom as if `OPTIONAL` was not installed. Others import these as ever.

    To be called before pydicom is imported; later it does nothing. In this process `pixel_array`
    raises from now on.
    """
    if "pydicom" in sys.modules:
        return
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    # None makes an import of that name raise ModuleNotFoundError: sys.modules in Python's reference
    modules = cast(dict[str, Any], sys.modules)
    modules.update(dict.fromkeys(hidden))
    try:
        importlib.import_module("pydicom")
    finally:
        for name in hidden:
            del modules[name]
