"""The operator's page: what the people who run the service see of it, and what they may do.

The workers serve it on a listener of its own (`--operator-port`). A request takes this way:

    listener.py      takes it; nothing else of this folder is loaded before the first one
    application.py   refuses what a browser sent for another site, finds the session and the route, answers for errors
    signing_in/      who is there: accounts with a password and a one-time code, OpenID Connect, or the header of a proxy
    pages/           one module for each page: what it asks of the database, and what it shows
    rendering.py     the templates (Jinja2), in the language of the browser

Everything works without JavaScript: links, forms, and replies that are whole pages. With it, htmx refreshes parts of a page and uPlot
draws the plots. No state changes by GET, and a change is always a form with a token of the session.
"""
