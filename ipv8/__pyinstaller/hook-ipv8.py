"""The hook of PyInstaller for the library. PyInstaller runs this file by itself, not as a part of the package."""

from __future__ import annotations

import runpy
from pathlib import Path

_known = runpy.run_path(str(Path(__file__).with_name("__init__.py")))
datas = _known["data_files"]()
hiddenimports = _known["hidden_imports"]()
