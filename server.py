"""Starts the server from a checkout: `python server.py` is `reasoning-bank`, `mcp run server.py` finds `server`."""

if __name__ == "__main__":
    from reasoning_bank.cli import main

    main()
else:
    from reasoning_bank.mcp.server import create_server

    server = create_server()
