"""The real stack on an AWS emulator on loopback, with the exchange beside it.

SAM builds and deploys template.yaml. The functions run as built, in processes of their own. Only
AWS and the broker are simulated. `gateway` is the emulator's process and runs under the Python of
.venv/cloud. `emulator` starts and ends it. `sam_stack` calls SAM. `trading_session` makes the bars
and moves the clock. `emulated_stack` puts them together, and `screen` shows the trading.
"""
