"""The views, one file each; a new file with a ``view`` in it is a new view, found by itself."""

import pkgutil
from importlib import import_module

from views.kit import View


def all_views() -> dict[str, View]:
    """Every view by name."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    views = [module.view for module in modules if hasattr(module, "view")]
    return {view.name: view for view in sorted(views, key=lambda view: view.name)}
