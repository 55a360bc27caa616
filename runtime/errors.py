"""The one root of everything the runtime refuses."""


class ReadsideError(Exception):
    """Something Readside refuses. The first line is written for the person who reads it on a terminal."""


class SettingsError(ReadsideError):
    """A setting that cannot work. The process ends at start with this line and exit status 2."""
