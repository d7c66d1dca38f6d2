"""Makes those parts of the documentation that the code knows: settings, errors, metrics and the files of client services.

Nothing here needs more than Python and the sources of the service.
"""
