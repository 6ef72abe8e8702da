"""What Podium's pages over HTTP have in common: headers, token, errors, static files, and how a server starts and ends."""
