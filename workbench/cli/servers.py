"""`scalper exchange` and `scalper aws`: servers on loopback, in a process of their own."""

from typing import Annotated

import typer

from workbench.cli.shared.exit_codes import fail
from workbench.cli.shared.options import SeedOption, UntilEofOption
from workbench.servers.keys import KEY_ID, SECRET_KEY


def exchange(
    bars: Annotated[
        list[str] | None,
        typer.Option(
            help="CSV or Parquet file of minute bars. Give it once for each file. "
            "Default: a synthetic market."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on. 0 takes a free one.")
    ] = 9000,
    seed: SeedOption = 7,
    start: Annotated[
        str,
        typer.Option(help="Simulated time to start at, in ISO 8601. Default: the first open."),
    ] = "",
    pace: Annotated[
        float,
        typer.Option(
            min=0,
            help="Simulated seconds that pass in one second. "
            "0: time stands until POST /exchange/advance moves it.",
        ),
    ] = 0.0,
    cash: Annotated[str, typer.Option(help="Buying power in dollars. Default: unlimited.")] = "",
    key_id: Annotated[str, typer.Option(help="API key that opens the account.")] = KEY_ID,
    secret_key: Annotated[str, typer.Option(help="Secret of that key.")] = SECRET_KEY,
    until_eof: UntilEofOption = False,
) -> None:
    """Serve a simulated Alpaca on this machine, driven by minute bars.

    It answers the trading API, the market data API and the order stream under one address, and
    prints that address when it is ready. It listens on 127.0.0.1 alone and runs until Ctrl-C.

    Exit code 0 after Ctrl-C, 2 if an option or a bars file cannot be used.
    """
    from workbench.cli.shared.inputs import dollars, read_market
    from workbench.exchange.server import serve
    from workbench.exchange.wire import parse_wire_time

    _end_with_stdin(until_eof)
    market = read_market(bars, seed)
    try:
        serve(
            market,
            port=port,
            key_id=key_id,
            secret_key=secret_key,
            cash=dollars(cash, "--cash") if cash else None,
            pace=pace,
            start=parse_wire_time(start) if start else None,
        )
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"--port {port}: {error.strerror}")


def aws(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on. 0 takes a free one.")
    ] = 9001,
    until_eof: UntilEofOption = False,
) -> None:
    """Serve on this machine the AWS services that a local day needs.

    These are DynamoDB, SQS, Secrets Manager and SNS. The server keeps everything in memory, prints
    its address when it is ready, listens on 127.0.0.1 alone and runs until Ctrl-C.

    Exit code 0 after Ctrl-C, 2 if the port cannot be used.
    """
    from workbench.servers.aws import serve

    _end_with_stdin(until_eof)
    try:
        serve(port)
    except OSError as error:
        fail(f"--port {port}: {error.strerror}")


def _end_with_stdin(until_eof: bool) -> None:
    if until_eof:
        from workbench.servers.loopback import end_with_stdin

        end_with_stdin()
