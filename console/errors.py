"""What an API may say instead of an answer, as the pages handle it."""

from runtime.errors import ReadsideError


class NotSignedIn(ReadsideError):
    """The token is not, or no longer, accepted: its owner has to sign in again."""


class Unreachable(ReadsideError):
    """An API does not answer now; it is asked again."""

    def __init__(self, api: str) -> None:
        super().__init__(f"the {api} API does not answer")
        self.api = api


class Refused(ReadsideError):
    """An API answered that it will not, with a sentence for people."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail = status, slug, detail
