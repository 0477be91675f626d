"""Puts off an import that nearly no process needs.

`import taskiq` imports all its middlewares, of which the one for its admin page imports aiohttp: nearly half of the
time that the import takes, and 8 MB. Its package of middlewares therefore runs here only when something else is asked
of it than what `import taskiq` itself takes. Names and classes are the same either way, and nothing changes where
taskiq was imported first. Only processes that kiqstart's own command starts do it: no program that imports kiqstart.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.abc import Loader

_PACKAGE: Final = "taskiq.middlewares"
_TAKEN_BY_TASKIQ: Final = MappingProxyType(
    {
        "PrometheusMiddleware": "prometheus_middleware",
        "SimpleRetryMiddleware": "simple_retry_middleware",
        "SmartRetryMiddleware": "smart_retry_middleware",
    }
)


def put_off_admin_middleware() -> None:
    """Let aiohttp be imported when taskiq's admin middleware is."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader)  # type: ignore[assignment]  # by shape; to inherit is to import more
        return spec


class _LateLoader:
    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def find(name: str) -> object:
            if name in _TAKEN_BY_TASKIQ:
                return getattr(import_module(f"{_PACKAGE}.{_TAKEN_BY_TASKIQ[name]}"), name)
            names = vars(module)
            if names.pop("__getattr__", None) is not None:
                self._loader.exec_module(module)
            if name not in names:
                raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
            return names[name]

        vars(module)["__getattr__"] = find
