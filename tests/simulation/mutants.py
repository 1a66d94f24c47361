"""Mistakes that somebody could make, as changes of the code that ships; each has to be found.

Every old text stands in its file exactly once: a change of the code that leaves a mutant behind
fails the tests.
"""

from typing import NamedTuple


class Edit(NamedTuple):
    """A change of one file under functions/scalper."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A mistake."""

    name: str
    what: str
    edits: tuple[Edit, ...]


LIMITS = "core/limits.py"
MACHINE = "core/machine.py"
ORDER_ACTIONS = "core/order_actions.py"
ORDER = "core/order.py"
POSITIONS = "core/positions.py"
RECOVERY = "core/recovery.py"
WORKING_ORDER = "core/working_order.py"
ENGINE = "shell/trading/engine.py"
PORTS = "shell/ports.py"
OWN_ORDERS = "shell/trading/own_orders.py"
RECONCILIATION = "shell/trading/reconciliation.py"
STORE = "shell/aws/state_table.py"
PRE_TRADE = "shell/trading/pre_trade.py"
TICKS = "shell/trading/tick.py"
CLOSE = "shell/trading/liquidate.py"

MUTANTS = (
    # The order path: one effect, whatever crashes.
    Mutant(
        "submit-before-intent",
        "An order is sent before its intent is stored.",
        (
            Edit(
                ENGINE,
                "                    stored = self.store.save(stored, step.state)\n",
                "                    for command in step.commands:\n"
                "                        if isinstance(command, SubmitOrder):\n"
                "                            self._submit(step.state, command.order, event.at)\n"
                "                    stored = self.store.save(stored, step.state)\n"
                "                    others = [\n"
                "                        c for c in step.commands if isinstance(c, CancelOrder)\n"
                "                    ]\n"
                "                    step = replace(step, commands=tuple(others))\n",
            ),
        ),
    ),
    Mutant(
        "time-out-taken-as-reject",
        "A submit without an answer counts as refused.",
        (
            Edit(
                ENGINE,
                "            return []\n"
                "        return [OrderSeen(symbol=symbol, at=at, report=report)]",
                "            report = OrderReport("
                "client_order_id=order.client_order_id, status=REFUSED)\n"
                "        return [OrderSeen(symbol=symbol, at=at, report=report)]",
            ),
        ),
    ),
    Mutant(
        "new-id-on-retry",
        "An order that the broker does not show is sent again under a new id.",
        (
            Edit(
                WORKING_ORDER,
                "    sells_more_than_held,\n)",
                "    sells_more_than_held,\n    submit,\n)",
            ),
            Edit(
                WORKING_ORDER,
                "return Step(replace(seen, order=again), (SubmitOrder(again),), Reason.RESENT)",
                "return submit(\n"
                "            replace(seen, order=None, settled=(*seen.settled, 0)),\n"
                "            rules,\n"
                "            again.purpose,\n"
                "            again.qty,\n"
                "            again.limit,\n"
                "            event.at,\n"
                "            Reason.RESENT,\n"
                "        )",
            ),
        ),
    ),
    Mutant(
        "abandon-on-first-404",
        "The first 404 is taken for a no, and the order is forgotten.",
        (
            Edit(
                WORKING_ORDER,
                "    if _wants_resend(state, order, event, rules):\n",
                "    if _wants_resend(state, order, event, rules) and order.absences < 1:\n",
            ),
            Edit(
                WORKING_ORDER,
                "    if age >= ABANDON_AFTER and order.absences >= ABSENCES_TO_ABANDON"
                " and not may_be_open:",
                "    if order.absences >= 1:",
            ),
            Edit(
                WORKING_ORDER,
                "replace(retire(seen, order), phase=phase), (), Reason.ABANDONED)",
                "replace(retire(seen, order), phase=phase, abandoned=()), (), Reason.ABANDONED)",
            ),
        ),
    ),
    Mutant(
        "write-failed-sent-anyway",
        "A write that failed is taken for done, and its order is sent.",
        (
            Edit(
                ENGINE,
                "                # The report is older than this state,"
                " so it confirms nothing about it.\n"
                "                event = _unconfirmed(event)\n",
                "                event = _unconfirmed(event)\n"
                "            except ScalperError:\n"
                "                return replace(stored, state=step.state), step\n",
            ),
        ),
    ),
    Mutant(
        "not-unique-taken-as-refusal",
        '"must be unique" counts as a refusal, though it means that the order exists.',
        (
            Edit(
                ENGINE,
                "                return self.ask(state, order.client_order_id, at)\n"
                "            count(Metric.ORDERS_REFUSED)",
                "                report = OrderReport(\n"
                "                    client_order_id=order.client_order_id,\n"
                '                    status="rejected",\n'
                "                    confirmed=True,\n"
                "                )\n"
                "                return [OrderSeen(symbol=symbol, at=at, report=report)]\n"
                "            count(Metric.ORDERS_REFUSED)",
            ),
        ),
    ),
    Mutant(
        "refusal-of-repeat-believed",
        "An order sent again and refused is over and forgotten, though an earlier send may land.",
        (
            Edit(
                ORDER_ACTIONS,
                " or (order.status == REFUSED and order.sends > 1)",
                " and order.status != REFUSED",
            ),
            Edit(
                WORKING_ORDER,
                "    if report.status == REFUSED and order.sends > 1:",
                "    if report.status == REFUSED and order.sends > 99:",
            ),
        ),
    ),
    Mutant(
        "abandoned-not-watched",
        "An order given up is forgotten.",
        (
            Edit(
                ORDER_ACTIONS,
                "    return watch(retired, order.client_order_id) if unseen else retired",
                "    return watch(retired, order.client_order_id) if not retired else retired",
            ),
        ),
    ),
    Mutant(
        "entry-beside-doubt",
        "A symbol enters while an order given up may still land.",
        (Edit(LIMITS, "    symbol_halted,\n    order_in_doubt,\n)", "    symbol_halted,\n)"),),
    ),
    Mutant(
        "buy-sent-again-for-ever",
        "A buy that the broker does not know is sent again however old its signal is.",
        (
            Edit(
                WORKING_ORDER,
                "RESEND_WITHIN = timedelta(seconds=60)",
                "RESEND_WITHIN = timedelta(hours=8)",
            ),
        ),
    ),
    # Joining what the broker says.
    Mutant(
        "fills-added-up",
        "Filled quantities are added up, though each report gives the sum.",
        (
            Edit(
                ORDER,
                "max((order.filled_qty, order.filled_value), fills(order, report))",
                "(\n"
                "        order.filled_qty + report.filled_qty,\n"
                "        order.filled_value + report.filled_value,\n"
                "    )",
            ),
        ),
    ),
    Mutant(
        "latest-report-wins",
        "Fills are those of the report that comes last, not the most that any told.",
        (
            Edit(
                ORDER,
                "max((order.filled_qty, order.filled_value), fills(order, report))",
                "fills(order, report)",
            ),
        ),
    ),
    Mutant(
        "cancel-answer-final",
        "The answer to a cancel is taken for its effect; the order is not asked for.",
        (
            Edit(
                ENGINE,
                "                    _log_unknown(state.symbol, client_order_id, error)\n"
                "                return self.ask(state, client_order_id, at)",
                "                    _log_unknown(state.symbol, client_order_id, error)\n"
                "                    return self.ask(state, client_order_id, at)\n"
                "                order = state.order\n"
                "                if order is None or order.client_order_id != client_order_id:\n"
                "                    return self.ask(state, client_order_id, at)\n"
                "                report = OrderReport(\n"
                "                    client_order_id=client_order_id,\n"
                '                    status="canceled",\n'
                "                    filled_qty=order.filled_qty,\n"
                "                    filled_value=order.filled_value,\n"
                "                    confirmed=True,\n"
                "                )\n"
                "                return [OrderSeen(symbol=state.symbol, at=at, report=report)]",
            ),
        ),
    ),
    Mutant(
        "partial-fill-taken-as-done",
        "An order is over with its first fill.",
        (
            Edit(
                ORDER,
                "        return self.filled_qty >= self.qty or (\n",
                "        return self.filled_qty > 0 or (\n",
            ),
        ),
    ),
    Mutant(
        "cancel-asked-taken-as-done",
        "A buy that filled in part is over once its cancel is asked for, and what filled is sold.",
        (
            Edit(
                ORDER,
                "        return self.filled_qty >= self.qty or (\n",
                "        asked = self.cancel_at is not None and self.is_buy\n"
                "        asked = asked and self.filled_qty > 0\n"
                "        return asked or self.filled_qty >= self.qty or (\n",
            ),
        ),
    ),
    Mutant(
        "pending-cancel-taken-as-over",
        "pending_cancel counts as an end.",
        (
            Edit(
                ORDER,
                'TERMINAL_STATUSES = frozenset({"filled", "canceled",',
                'TERMINAL_STATUSES = frozenset({"filled", "canceled", "pending_cancel",',
            ),
        ),
    ),
    Mutant(
        "event-believed-without-request",
        "An event that calls an order over is believed without asking for the order.",
        (
            Edit(
                ORDER,
                "            self.progress is Progress.TERMINAL and self.confirmed\n",
                "            self.progress is Progress.TERMINAL\n",
            ),
        ),
    ),
    Mutant(
        "late-news-ignored",
        "What is said of an order that is over changes nothing.",
        (
            Edit(
                MACHINE,
                "    return on_other_order(state, event, rules)",
                "    return Step(state, (), Reason.UNKNOWN_ORDER)",
            ),
        ),
    ),
    Mutant(
        "settled-quantity-forgotten",
        "What an order filled is not remembered once it is over.",
        (
            Edit(
                ORDER_ACTIONS,
                "settled=(*state.settled, order.filled_qty))\n    unseen",
                "settled=(*state.settled, 0))\n    unseen",
            ),
        ),
    ),
    Mutant(
        "exit-of-the-ordered-quantity",
        "The exit is of what was ordered, not of what filled.",
        (
            Edit(
                WORKING_ORDER,
                "            qty=order.filled_qty,\n            cost=order.filled_value,",
                "            qty=order.qty,\n            cost=order.filled_value,",
            ),
        ),
    ),
    Mutant(
        "replaced-order-taken-as-over",
        "An order that the broker replaced is over; the one in its place is not followed.",
        (
            Edit(
                WORKING_ORDER,
                "            joined = follow(joined, report.replaced_by)\n",
                "            joined = replace(joined, confirmed=True)\n",
            ),
        ),
    ),
    # Two writers.
    Mutant(
        "last-writer-wins",
        "On a conflict the own step is written over the other's.",
        (
            Edit(
                ENGINE,
                "                stored = present\n",
                "                return self.store.save(present, step.state), step\n",
            ),
        ),
    ),
    Mutant(
        "conflict-retried-stale",
        "After a conflict the step is decided again on the state that was read before.",
        (
            Edit(
                ENGINE,
                "                stored = present\n",
                "                stored = replace(stored, version=present.version)\n",
            ),
        ),
    ),
    Mutant(
        "no-nonce",
        "A write that fails by its own success is not recognised: the nonce is not looked at.",
        (Edit(STORE, "        return nonce_there() == nonce\n", "        return False\n"),),
    ),
    Mutant(
        "nonce-not-compared",
        "Any item that is there is taken for the own write.",
        (
            Edit(
                STORE,
                "        return nonce_there() == nonce\n",
                "        return nonce_there() is not None\n",
            ),
        ),
    ),
    Mutant(
        "unknown-fields-dropped",
        "Fields that a newer version wrote are lost.",
        (
            Edit(
                ENGINE,
                "                    stored = self.store.save(stored, step.state)\n",
                "                    bare = replace(stored, unknown={})\n"
                "                    stored = self.store.save(bare, step.state)\n",
            ),
        ),
    ),
    Mutant(
        "newer-schema-entered",
        "A symbol whose state a newer version wrote is entered all the same.",
        (
            Edit(
                ENGINE,
                "    if stored.schema > SCHEMA:\n",
                "    if stored.schema > SCHEMA + 1:\n",
            ),
        ),
    ),
    Mutant(
        "minute-decided-twice",
        "A tick delivered twice decides twice: its claim of the minute is not asked for.",
        (
            Edit(
                TICKS,
                "    return _Inputs(now, account, mine, states, claimed)",
                "    return _Inputs(now, account, mine, states, True)",
            ),
        ),
    ),
    Mutant(
        "symbol-decided-twice",
        "A symbol whose stale buy or filled exit was driven at once is a candidate again.",
        (
            Edit(
                TICKS,
                "for symbol, (stored, is_driven) in done.items() if not is_driven}",
                "for symbol, (stored, _) in done.items() if self._may_enter(stored)}",
            ),
        ),
    ),
    # Entries.
    Mutant(
        "lot-rounded-up",
        "Shares are rounded up to the lot.",
        (Edit("core/pricing.py", "    return lot // limit\n", "    return -(-lot // limit)\n"),),
    ),
    Mutant(
        "stale-buy-never-canceled",
        "A buy that does not fill works on.",
        (
            Edit(
                MACHINE,
                "BUY_TIMEOUT = timedelta(seconds=120)",
                "BUY_TIMEOUT = timedelta(hours=8)",
            ),
        ),
    ),
    Mutant(
        "cool-down-ignored",
        "A symbol whose buy was refused enters again at once.",
        (
            Edit(
                LIMITS,
                "cool_until is not None and facts.at < cool_until else None",
                "cool_until is not None and facts.at < facts.rules.session.open else None",
            ),
        ),
    ),
    Mutant(
        "halt-of-the-symbol-ignored",
        "A halted symbol enters.",
        (
            Edit(
                LIMITS,
                "    symbol_halted,\n    order_in_doubt,\n)",
                "    order_in_doubt,\n)",
            ),
        ),
    ),
    Mutant(
        "halt-of-the-account-ignored",
        "The account is entered although somebody halted it.",
        (Edit(LIMITS, "    account_halted,\n    account_blocked,", "    account_blocked,"),),
    ),
    Mutant(
        "pause-ignored",
        "A paused symbol enters.",
        (
            Edit(
                PORTS,
                "            symbol=SymbolFacts(enabled=self.enabled),\n",
                "            symbol=SymbolFacts(enabled=self.lot > 0),\n",
            ),
        ),
    ),
    Mutant(
        "other-hands-ignored",
        "A symbol is entered beside somebody else's order or shares.",
        (
            Edit(
                LIMITS,
                "    broker_unread,\n    external_order,\n    external_position,\n)",
                "    broker_unread,\n)",
            ),
        ),
    ),
    Mutant(
        "external-position-ignored",
        "A symbol is entered beside shares that are not this system's and that nobody offers.",
        (Edit(LIMITS, "    external_order,\n    external_position,\n)", "    external_order,\n)"),),
    ),
    Mutant(
        "limit-left-out",
        "A limit is written and has no place in the order: a paused symbol enters.",
        (Edit(LIMITS, "    account,\n    paused,\n", "    account,\n"),),
    ),
    Mutant(
        "admission-forgets-the-account",
        "Whoever is admitted in turn sees the open positions, and no other fact of the account.",
        (
            Edit(
                LIMITS,
                "        account = replace(one.rules.account, open_positions=open_positions)\n",
                "        account = AccountFacts(open_positions=open_positions)\n",
            ),
        ),
    ),
    Mutant(
        "admission-without-the-broker",
        "The gate is not told what others have at the broker.",
        (
            Edit(
                TICKS,
                "        rules = self.at_broker.add_to(self._rules(stored), symbol)\n",
                "        rules = self._rules(stored)\n",
            ),
        ),
    ),
    Mutant(
        "late-tick-enters",
        "A tick that starts late in its minute, or after it, enters.",
        (
            Edit(
                TICKS,
                "        late=now - at > LATE_AFTER,\n",
                "        late=now - at > LATE_AFTER * 9,\n",
            ),
        ),
    ),
    Mutant(
        "old-bar-enters",
        "A minute without a bar is decided on an older one.",
        (
            Edit(
                PRE_TRADE,
                "    return bars[-1] if bars and bars[-1].start == at - MINUTE else None",
                "    return bars[-1] if bars else None",
            ),
        ),
    ),
    Mutant(
        "entry-after-cut-off",
        "Entries go on until the close.",
        (
            Edit(
                MACHINE,
                "    if event.at >= rules.session.liquidate_at and state.phase",
                "    if event.at >= rules.session.close and state.phase",
            ),
            Edit(
                TICKS,
                "    if inputs.claimed and at < session.liquidate_at:",
                "    if inputs.claimed and at < session.close:",
            ),
        ),
    ),
    # Exits.
    Mutant(
        "refused-exit-taken-as-sold",
        "A refused sell ends the position.",
        (
            Edit(
                WORKING_ORDER,
                "        rests = replace(left, phase=Phase.TO_SELL, exit_attempts=attempts)\n",
                "        idle = idle_phase(left, event.at, rules)\n"
                "        rests = replace(left, phase=idle, qty=0, cost=0)\n",
            ),
        ),
    ),
    Mutant(
        "refused-exit-gives-up",
        "A sell that was refused is not tried again.",
        (
            Edit(
                ORDER_ACTIONS,
                "    allowed = MAX_LIQUIDATION_ATTEMPTS if liquidating else MAX_EXIT_ATTEMPTS\n",
                "    allowed = 2 if liquidating else 1\n",
            ),
        ),
    ),
    Mutant(
        "sold-by-hand-overlooked",
        "A sell that somebody canceled is sent again without a look at the shares held.",
        (
            Edit(
                WORKING_ORDER,
                "    if order.cancel_at is None:\n        # Somebody",
                "    if order.cancel_at is None and order.qty == 0:\n        # Somebody",
            ),
        ),
    ),
    Mutant(
        "sold-without-knowing-the-position",
        "A checkup that does not know what the broker holds sells resting shares all the same.",
        (
            Edit(
                MACHINE,
                "    if position is None and isinstance(event, CheckupDue):",
                "    if position is None and state.qty == 0:",
            ),
        ),
    ),
    Mutant(
        "others-trades-overlooked",
        "A position is believed right after somebody else's trade, which it may not show yet.",
        (
            Edit(
                OWN_ORDERS,
                " for symbol in symbols if symbol not in traded}",
                " for symbol in symbols}",
            ),
        ),
    ),
    Mutant(
        "position-not-looked-at",
        "Resting shares are sold without a look at what the broker holds.",
        (
            Edit(
                MACHINE,
                "    if position is not None and position < state.qty and current:",
                "    if position is not None and position < 0 and current:",
            ),
        ),
    ),
    Mutant(
        "stale-position-believed",
        "Shares just bought are given up for sold, though positions lag behind orders.",
        (
            Edit(
                MACHINE,
                "    current = state.entered_at is None or"
                " event.at - state.entered_at >= POSITION_LAG\n",
                "    current = True\n",
            ),
        ),
    ),
    Mutant(
        "own-sale-taken-for-anothers",
        "Before shares are sold again, the own orders are not asked who may have sold them.",
        (
            Edit(
                ENGINE,
                "            if not has_asked and may_already_be_sold(event, stored.state, rules):",
                "            if has_asked and may_already_be_sold(event, stored.state, rules):",
            ),
        ),
    ),
    Mutant(
        "profit-of-a-part-at-the-cost-of-all",
        "A sale in parts is set against the cost of all shares.",
        (
            Edit(
                POSITIONS,
                "    cost = state.cost - left.cost\n",
                "    cost = state.cost\n",
            ),
        ),
    ),
    # The end of the day, and a lost table.
    Mutant(
        "liquidation-without-cancel",
        "At 15:55 the shares are sold while the target still works.",
        (
            Edit(MACHINE, "    sell,\n    submit,\n", "    retire,\n    sell,\n    submit,\n"),
            Edit(
                MACHINE,
                "        case Phase.SELL_SUBMITTED:\n"
                "            return _cancel_to_liquidate(state, event.at, rules)",
                "        case Phase.SELL_SUBMITTED:\n"
                "            held = retire(state, working(state))\n"
                "            return sell(held, event.at, rules, None, Reason.LIQUIDATING)",
            ),
        ),
    ),
    Mutant(
        "liquidation-done-without-selling",
        "The liquidation calls a symbol done without selling what is held.",
        (
            Edit(
                ORDER_ACTIONS,
                "    liquidating = must_liquidate(held, at, rules)\n",
                "    liquidating = must_liquidate(held, at, rules)\n"
                "    if liquidating:\n"
                "        done = replace(held, phase=Phase.DONE, qty=0, cost=0)\n"
                "        return Step(done, (), Reason.LIQUIDATED)\n",
            ),
        ),
    ),
    Mutant(
        "liquidation-skips-lost-items",
        "The liquidation looks after the symbols of the table alone.",
        (
            Edit(
                CLOSE,
                "    states |= recover(engine, set(own) - set(states), session, at, own)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "recovery-ignores-live-orders",
        "A state is rebuilt without the order that works.",
        (
            Edit(
                RECOVERY,
                "            state = _take_up(state, name, report, at)",
                "            state = replace(state, settled=(*state.settled, 0))",
            ),
        ),
    ),
    Mutant(
        "recovery-without-sells",
        "A state is rebuilt from the buys alone.",
        (
            Edit(
                RECOVERY,
                "        qty=report.filled_qty,\n",
                "        qty=0,\n",
            ),
        ),
    ),
    Mutant(
        "recovery-begins-anew",
        "A lost state is begun anew, without a look at the broker's orders.",
        (
            Edit(
                RECONCILIATION,
                "        reports = own.get(symbol, [])\n",
                "        reports: list[OrderReport] = []\n",
            ),
        ),
    ),
)
