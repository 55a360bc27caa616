"""TCP ports: taken ones are refused in one sentence, before anything has been started."""

import socket

from readside.errors import InUseError


def claim(host: str, port: int, option: str) -> int:
    """The port itself if it can be listened on, a free one for 0. Raises `InUseError` naming the option."""
    with hold(host, port, option) as held:
        return port_of(held)


def hold(host: str, port: int, option: str) -> socket.socket:
    """As `claim`, but held until the socket is closed: bound, and not yet listened on.

    A port that is only known to be free can be given to any outgoing connection of this machine a moment later, and
    stay taken for as long as that lives. A process that sets SO_REUSEADDR, as servers do, can listen on a held one.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InUseError(f"{option}: cannot listen on {host}:{port} ({reason}); give another port, or 0") from None


def is_free(host: str, port: int) -> bool:
    """Whether this port could be listened on now."""
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


def port_of(held: socket.socket) -> int:
    """The port that a socket is bound to."""
    port: int = held.getsockname()[1]
    return port


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # As the servers do it: a port whose last connections are still closing is free.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
