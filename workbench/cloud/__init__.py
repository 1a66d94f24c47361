"""The real stack on an AWS emulator on loopback, with the exchange beside it.

`sam build` and `sam deploy` of template.yaml, the functions as built, in processes of their own,
and nothing of it simulated but AWS and the broker. `gateway` is the emulator's process and runs in
an environment of its own (.venv/cloud); `emulator` starts and ends it; `stack` calls SAM; `market`
and `clock` make the session that is played; `trading` puts them together; `screen` shows it.
"""
