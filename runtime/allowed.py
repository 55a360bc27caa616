"""Which methods a path takes, for 405's ``Allow``: RFC 9110 wants all of them, and where several routes share a path
the framework names only those of the first."""

from starlette.requests import Request

from runtime.head import has_head


def allowed_methods(request: Request, named: str) -> str:
    """``named`` by the framework, and what the document has for this path besides.

    By the path of the route, not by all that fit: ``/dead-letters/{letter_id}`` fits ``/dead-letters/retry`` too, and a
    letter of that name is nobody's.
    """
    methods = {method.strip() for method in named.split(",") if method.strip()}
    path = getattr(request.scope.get("route"), "path", None)
    methods |= {method.upper() for method in request.app.openapi()["paths"].get(path, ())}
    if "GET" in methods and has_head(request.scope):
        methods.add("HEAD")
    return ", ".join(sorted(methods))
